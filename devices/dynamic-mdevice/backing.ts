import type { Log } from '../core/device.js';
import { HostError } from '../core/host-memory.js';
import type { HostFile, HostMapping, HostMemory } from '../core/host-memory.js';
import type { OwnMemories } from '../core/own-memory.js';

/** Where in the host object attachments may lie, in bytes. */
export interface BackingLimits {
  readonly first: bigint;
  /** 0 for no limit. */
  readonly length: bigint;
  /** Attachments begin at multiples of this and have multiples of it as size. */
  readonly align: bigint;
}

export interface BackingOptions {
  readonly file: HostFile;
  readonly limits: BackingLimits;
  readonly memories: OwnMemories;
  readonly log: Log;
}

/** Host memory of one attachment. */
export interface Piece {
  readonly memory: HostMemory;
  /** Of its first byte in `memory`. */
  readonly offset: bigint;
  /** Writes it back to the host object. @throws HostError */
  flush(): Promise<void>;
  close(): void;
}

interface Range {
  readonly offset: bigint;
  readonly size: bigint;
}
interface Window extends Range {
  readonly mapping: HostMapping;
  /** The mapping as the device's own memory. */
  readonly memory: HostMemory;
}

const OWN_MEMORY = 'window';

/**
 * The host object behind a device. Of a regular file all that can be attached when the device is
 * realized is the device's own memory, in one mapping, of which attachments are pieces. A character
 * device, and what a file grows by later, is mapped attachment by attachment and is nobody's own.
 */
export class Backing {
  readonly #file: HostFile;
  readonly #limits: BackingLimits;
  readonly #memories: OwnMemories;
  readonly #window: Window | undefined;

  constructor({ file, limits, memories, log }: BackingOptions) {
    this.#file = file;
    this.#limits = limits;
    this.#memories = memories;
    this.#window = this.#mapWindow(log);
  }

  /** Whether it reaches as far as the range does, now. Defects 13, 14 */
  holds({ offset, size }: Range): boolean {
    const end = offset + size;
    if (offset < this.#limits.first || end > this.#end(end)) return false;
    const length = this.#file.length();
    return length === undefined || end <= length;
  }

  /** @throws HostError when the host refuses to map it */
  piece({ offset, size }: Range): Piece {
    const window = this.#window;
    const end = offset + size;
    if (window !== undefined && offset >= window.offset && end <= window.offset + window.size)
      return {
        memory: window.memory,
        offset: offset - window.offset,
        flush: () => window.mapping.flush(),
        close: () => undefined,
      };
    const mapping = this.#file.map(offset, size, { share: true, readonly: false });
    return {
      memory: mapping,
      offset: 0n,
      flush: () => mapping.flush(),
      close: () => mapping.close(),
    };
  }

  close(): void {
    this.#memories.remove(OWN_MEMORY);
    this.#window?.mapping.close();
    this.#file.close();
  }

  /** Where the window ends; `most` when it has no end before. */
  #end(most: bigint): bigint {
    const { first, length } = this.#limits;
    return length === 0n || first + length > most ? most : first + length;
  }

  #mapWindow(log: Log): Window | undefined {
    const length = this.#file.length();
    if (length === undefined) return undefined;
    const { first, align } = this.#limits;
    const offset = ((first + align - 1n) / align) * align;
    const end = this.#end(length);
    const size = end - (end % align) - offset;
    if (size <= 0n) return undefined;
    const mapping = this.#tryMap({ offset, size }, log);
    if (mapping === undefined) return undefined;
    return { offset, size, mapping, memory: this.#memories.add(OWN_MEMORY, mapping) };
  }
  /** Sparse files can be larger than an address space. */
  #tryMap({ offset, size }: Range, log: Log): HostMapping | undefined {
    try {
      return this.#file.map(offset, size, { share: true, readonly: false });
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      log.warn({ reason: error.message }, 'window cannot be mapped, its memory is not saved');
      return undefined;
    }
  }
}

import type { HostFile, HostMemory } from '../core/host-memory.js';
import type { OwnMemories } from '../core/own-memory.js';
import { WindowMemory } from './window-memory.js';

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
  /** Of the host, in bytes. */
  readonly pageSize: bigint;
}

/** Host memory of one attachment. */
export interface Piece {
  readonly memory: HostMemory;
  /** Writes it back to the host object. @throws HostError */
  flush(): Promise<void>;
  close(): void;
}

interface Range {
  readonly offset: bigint;
  readonly size: bigint;
}

const OWN_MEMORY = 'window';

/**
 * The host object behind a device, mapped attachment by attachment. Of a regular file all that can
 * be attached when the device is realized is the device's own memory; a character device, and what a
 * file grows by later, is nobody's own.
 */
export class Backing {
  readonly #file: HostFile;
  readonly #limits: BackingLimits;
  readonly #memories: OwnMemories;
  readonly #window: WindowMemory | undefined;

  constructor({ file, limits, memories, pageSize }: BackingOptions) {
    this.#file = file;
    this.#limits = limits;
    this.#memories = memories;
    this.#window = this.#makeWindow(pageSize);
    if (this.#window !== undefined) memories.add(OWN_MEMORY, this.#window);
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
    const mapping = this.#file.map(offset, size, { share: true, readonly: false });
    const isOwn =
      window !== undefined &&
      offset >= window.offset &&
      offset + size <= window.offset + window.size;
    if (isOwn) window.follow(mapping, offset - window.offset);
    return {
      memory: mapping,
      flush: () => mapping.flush(),
      close: () => mapping.close(),
    };
  }

  close(): void {
    this.#memories.remove(OWN_MEMORY);
    this.#file.close();
  }

  /** Where the window ends; `most` when it has no end before. */
  #end(most: bigint): bigint {
    const { first, length } = this.#limits;
    return length === 0n || first + length > most ? most : first + length;
  }

  #makeWindow(pageSize: bigint): WindowMemory | undefined {
    const length = this.#file.length();
    if (length === undefined) return undefined;
    const { first, align } = this.#limits;
    const offset = ((first + align - 1n) / align) * align;
    const end = this.#end(length);
    const size = end - (end % align) - offset;
    return size > 0n ? new WindowMemory(this.#file, { offset, size }, pageSize) : undefined;
  }
}

import type { Activity } from './activity.js';
import type { AccessSize, HostMemory } from './host-memory.js';

/** A piece of memory that belongs to a device's state. */
export interface OwnMemory {
  /** Unique within the device: `memdev`, `volatile`, ... */
  readonly name: string;
  /** The bytes themselves: saved from here, loaded to here, whether the device is stopped or not. */
  readonly memory: HostMemory;
}

/**
 * The memory of a device's own: what goes along when the device is saved. A device adds its memory
 * when it is realized, uses the view that it gets for it, and removes it when it is unrealized.
 */
export class OwnMemories {
  readonly #activity: Activity;
  readonly #memories = new Map<string, HostMemory>();
  readonly #borrowed = new Map<string, HostMemory>();

  constructor(activity: Activity) {
    this.#activity = activity;
  }

  /** In the order in which they were added, which is that of the saved bytes. */
  get list(): readonly OwnMemory[] {
    return [...this.#memories].map(([name, memory]) => ({ name, memory }));
  }
  /** What the device uses, and others too: it is part of no saved state and stays where it is. */
  get borrowed(): readonly OwnMemory[] {
    return [...this.#borrowed].map(([name, memory]) => ({ name, memory }));
  }
  /** Bytes in all. */
  get size(): bigint {
    return this.list.reduce((sum, { memory }) => sum + memory.size, 0n);
  }

  /** @returns the same bytes, as the device and its software may use them: they do not change in STOP */
  add(name: string, memory: HostMemory): HostMemory {
    return this.#use(this.#memories, name, memory);
  }
  /** The same view of memory that belongs to others as well; it has a descriptor. */
  borrow(name: string, memory: HostMemory): HostMemory {
    return this.#use(this.#borrowed, name, memory);
  }
  /** Safe when there is none of that name. */
  remove(name: string): void {
    this.#memories.delete(name);
    this.#borrowed.delete(name);
  }

  #use(memories: Map<string, HostMemory>, name: string, memory: HostMemory): HostMemory {
    if (this.#memories.has(name) || this.#borrowed.has(name))
      throw new RangeError(`there is memory ${name} already`);
    memories.set(name, memory);
    return new StoppableMemory(memory, this.#activity);
  }
}

/** Memory that drops writes while its device is stopped. */
class StoppableMemory implements HostMemory {
  readonly #memory: HostMemory;
  readonly #activity: Activity;
  readonly clear?: (offset: bigint, size: bigint) => boolean;

  constructor(memory: HostMemory, activity: Activity) {
    this.#memory = memory;
    this.#activity = activity;
    if (memory.clear !== undefined)
      this.clear = (offset, size) => activity.stopped || memory.clear?.(offset, size) === true;
  }

  get size(): bigint {
    return this.#memory.size;
  }
  get readonly(): boolean {
    return this.#memory.readonly;
  }
  get descriptor(): HostMemory['descriptor'] {
    return this.#memory.descriptor;
  }
  read(offset: bigint, into: Uint8Array): boolean {
    return this.#memory.read(offset, into);
  }
  write(offset: bigint, from: Uint8Array): boolean {
    return this.#activity.stopped || this.#memory.write(offset, from);
  }
  readInt(offset: bigint, size: AccessSize): bigint {
    return this.#memory.readInt(offset, size);
  }
  writeInt(offset: bigint, size: AccessSize, value: bigint): void {
    if (!this.#activity.stopped) this.#memory.writeInt(offset, size, value);
  }
  onWrite(hook: (offset: bigint, len: number) => void): () => void {
    return this.#memory.onWrite(hook);
  }
}

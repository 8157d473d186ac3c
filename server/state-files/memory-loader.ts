import type { HostMemory } from '../../devices/core/host-memory.js';
import type { OwnMemory } from '../../devices/core/own-memory.js';
import { clearMemory } from '../machine/clear-memory.js';
import { MemoryGone } from './block-writer.js';
import type { Piece } from './block-reader.js';

/** Puts the pieces of a saved state into memory; what lies between them becomes zero. */
export class MemoryLoader {
  readonly #memories: readonly OwnMemory[];
  readonly #check: () => void;
  #memory = 0;
  #end = 0n;

  /** @param check throws when the memory may not be touched any more */
  constructor(memories: readonly OwnMemory[], check: () => void) {
    this.#memories = memories;
    this.#check = check;
  }

  /** The next piece. @throws MemoryGone, what `check` throws */
  async put({ memory: index, offset, bytes }: Piece): Promise<void> {
    while (this.#memory < index) await this.#finish();
    await this.#zero(offset);
    this.#check();
    if (!this.#current.write(offset, bytes)) throw new MemoryGone();
    this.#end = offset + BigInt(bytes.length);
  }
  /** After the last piece. */
  async end(): Promise<void> {
    while (this.#memory < this.#memories.length) await this.#finish();
  }

  get #current(): HostMemory {
    const own = this.#memories[this.#memory];
    if (own === undefined) throw new RangeError(`no memory ${String(this.#memory)}`);
    return own.memory;
  }
  async #finish(): Promise<void> {
    await this.#zero(this.#current.size);
    this.#memory++;
    this.#end = 0n;
  }

  /** Everything from the last piece up to `end`; what has no storage is left alone. */
  async #zero(end: bigint): Promise<void> {
    const isThere = (): boolean => {
      this.#check();
      return true;
    };
    const range = { memory: this.#current, start: this.#end, end, isThere };
    if (!(await clearMemory(range))) throw new MemoryGone();
    this.#end = end;
  }
}

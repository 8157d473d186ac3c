import { setImmediate } from 'node:timers/promises';
import type { HostMemory } from '../../devices/core/host-memory.js';
import type { OwnMemory } from '../../devices/core/own-memory.js';
import { MemoryGone } from './block-writer.js';
import type { Piece } from './block-reader.js';

const PIECE = 1 << 20;
/** Bytes that are cleared at a time. */
const CLEARED = 1n << 30n;
const ZEROS = new Uint8Array(PIECE);

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
    const memory = this.#current;
    while (this.#end < end) {
      this.#check();
      const range = memory.stored === undefined ? WHOLE(memory) : memory.stored(this.#end);
      if (range === undefined || range.start >= end) break;
      const start = range.start > this.#end ? range.start : this.#end;
      const stop = least(range.end, end, start + CLEARED);
      if (stop > start && memory.clear?.(start, stop - start) !== true)
        await this.#write(start, stop);
      this.#end = stop;
      // Others are served.
      await setImmediate();
    }
    this.#end = end;
  }
  async #write(start: bigint, end: bigint): Promise<void> {
    for (let at = start; at < end; at += BigInt(PIECE)) {
      this.#check();
      const left = end - at;
      const zeros = left < BigInt(PIECE) ? ZEROS.subarray(0, Number(left)) : ZEROS;
      if (!this.#current.write(at, zeros)) throw new MemoryGone();
      await setImmediate();
    }
  }
}

const least = (...values: [bigint, bigint, bigint]): bigint =>
  values.reduce((a, b) => (a < b ? a : b));

const WHOLE = ({ size }: HostMemory): { start: bigint; end: bigint } => ({ start: 0n, end: size });

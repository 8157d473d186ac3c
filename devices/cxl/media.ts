import type { HostMemory } from '../core/host-memory.js';
import type { Interval } from '../core/interval-set.js';
import type { DynamicCapacity } from './dynamic-capacity.js';
import type { MemoryFault } from './memory-target.js';

/** Bytes written at a time while a range is filled. */
const CHUNK = 1 << 20;

/** What holds the bytes of a device's capacity; a missing one is of size 0. */
export interface MediaMemory {
  readonly volatile: HostMemory | undefined;
  readonly persistent: HostMemory | undefined;
  readonly dynamic: HostMemory | undefined;
}

/** A piece of one backend. */
interface Piece {
  readonly memory: HostMemory;
  /** From the start of the backend. */
  readonly offset: bigint;
  /** From the start of the access. */
  readonly start: number;
  readonly length: number;
}

const sizeOf = (memory: HostMemory | undefined): bigint => memory?.size ?? 0n;

/** Gives every byte of a range of one backend the same value. */
export const fillMemory = (memory: HostMemory, { base, len }: Interval, value: number): void => {
  if (value === 0 && memory.clear?.(base, len) === true) return;
  const chunk = new Uint8Array(Number(len < CHUNK ? len : CHUNK)).fill(value);
  const before = new Uint8Array(chunk.length);
  for (let done = 0n; done < len; done += BigInt(chunk.length)) {
    const left = Number(len - done < chunk.length ? len - done : chunk.length);
    const now = before.subarray(0, left);
    memory.read(base + done, now);
    // Memory that was never touched takes no storage; writing the same bytes again would.
    if (Buffer.compare(now, chunk.subarray(0, left)) !== 0)
      memory.write(base + done, chunk.subarray(0, left));
  }
};

/**
 * The capacity of a memory device in the order of its addresses: volatile, persistent, dynamic.
 *
 * @see reference/cxl.md §1.2, §3.3
 */
export class Media {
  readonly memory: MediaMemory;
  readonly volatileSize: bigint;
  readonly persistentSize: bigint;
  readonly dynamicSize: bigint;
  readonly staticSize: bigint;
  readonly size: bigint;

  constructor(memory: MediaMemory) {
    this.memory = memory;
    this.volatileSize = sizeOf(memory.volatile);
    this.persistentSize = sizeOf(memory.persistent);
    this.dynamicSize = sizeOf(memory.dynamic);
    this.staticSize = this.volatileSize + this.persistentSize;
    this.size = this.staticSize + this.dynamicSize;
  }

  /** Why the host may not reach a range; undefined when it may. */
  fault({ base, len }: Interval, capacity: DynamicCapacity | undefined): MemoryFault | undefined {
    if (base + len > this.size) return 'out-of-range';
    if (base + len <= this.staticSize) return undefined;
    const from = base > this.staticSize ? base : this.staticSize;
    const range = { base: from, len: base + len - from };
    if (capacity?.isBacked(range) !== true) return 'unbacked';
    return capacity.isOwn(range) ? undefined : 'not-owner';
  }

  /** Reads bytes that lie inside the capacity. */
  read(base: bigint, into: Uint8Array): void {
    const { dynamic } = this.memory;
    if (dynamic !== undefined && base >= this.staticSize) {
      dynamic.read(base - this.staticSize, into);
      return;
    }
    for (const { memory, offset, start, length } of this.#pieces(base, into.length))
      memory.read(offset, into.subarray(start, start + length));
  }
  write(base: bigint, from: Uint8Array): void {
    const { dynamic } = this.memory;
    if (dynamic !== undefined && base >= this.staticSize) {
      dynamic.write(base - this.staticSize, from);
      return;
    }
    for (const { memory, offset, start, length } of this.#pieces(base, from.length))
      memory.write(offset, from.subarray(start, start + length));
  }

  /** Gives every byte of a range the same value. */
  fill({ base, len }: Interval, value: number): void {
    for (const { memory, offset, length } of this.#pieces(base, Number(len)))
      fillMemory(memory, { base: offset, len: BigInt(length) }, value);
  }

  *#pieces(base: bigint, length: number): Generator<Piece> {
    let first = 0n;
    const { volatile, persistent, dynamic } = this.memory;
    for (const memory of [volatile, persistent, dynamic]) {
      if (memory === undefined) continue;
      const from = base > first ? base : first;
      const end = first + memory.size;
      const stop = base + BigInt(length) < end ? base + BigInt(length) : end;
      if (from < stop)
        yield {
          memory,
          offset: from - first,
          start: Number(from - base),
          length: Number(stop - from),
        };
      first = end;
    }
  }
}

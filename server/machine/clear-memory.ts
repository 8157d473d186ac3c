import { setImmediate } from 'node:timers/promises';
import type { HostMemory } from '../../devices/core/host-memory.js';

/** Bytes whose storage is taken away at a time: some milliseconds. */
const CLEARED = 64n << 20n;
/** Bytes that are overwritten at a time, where storage stays. */
const WRITTEN = 1 << 20;
const ZEROS = Buffer.alloc(WRITTEN);

export interface Cleared {
  readonly memory: HostMemory;
  readonly start: bigint;
  readonly end: bigint;
  /** Asked before each piece: false ends it; what it throws is passed on. */
  readonly isThere: () => boolean;
}

/**
 * Makes a range read 0, piece by piece while others are served. What has no storage is left alone, and
 * what has some loses it where the host can do that.
 *
 * @returns false when the memory was gone before the end
 */
export const clearMemory = async ({ memory, start, end, isThere }: Cleared): Promise<boolean> => {
  for (let at = start; at < end;) {
    if (!isThere()) return false;
    const range = memory.stored === undefined ? { start: at, end } : memory.stored(at);
    if (range === undefined || range.start >= end) return true;
    const stop = least(range.end, end);
    for (at = range.start > at ? range.start : at; at < stop;) {
      if (!isThere()) return false;
      const next = least(stop, at + CLEARED);
      if (memory.clear?.(at, next - at) === true) at = next;
      else {
        const length = Number(least(stop - at, BigInt(WRITTEN)));
        if (!overwrite(memory, at, length)) return false;
        at += BigInt(length);
      }
      await setImmediate();
    }
    at = stop;
  }
  return true;
};

/** What is zero already is not touched, so that it gets no storage. */
const overwrite = (memory: HostMemory, at: bigint, length: number): boolean => {
  const old = Buffer.allocUnsafe(length);
  const zeros = ZEROS.subarray(0, length);
  if (!memory.read(at, old)) return false;
  return old.equals(zeros) || memory.write(at, zeros);
};

const least = (a: bigint, b: bigint): bigint => (a < b ? a : b);

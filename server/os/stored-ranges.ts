import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { StoredRange } from '../../devices/core/host-memory.js';
import { HostError } from '../../devices/core/host-memory.js';
import { fromNodeError } from './libc.js';
import type { MemoryCalls } from './memory-calls.js';

/** Bytes of memory whose pages are looked up at first, and at most. */
const FIRST_LOOK = 1n << 20n;
const LAST_LOOK = 1n << 29n;
const ENTRY = 8;
// Bits 62 and 63 of an entry of /proc/PID/pagemap: swapped, present.
const HAS_STORAGE = 0xc0;

/**
 * The next piece of a file that has storage, at or after `from`.
 *
 * @param from first byte, in the file
 * @param end  end of the bytes that matter, in the file
 * @returns undefined when only holes follow
 */
export const storedInFile = (
  calls: MemoryCalls,
  fd: number,
  from: bigint,
  end: bigint,
): StoredRange | undefined => {
  const stats = fstatSync(fd, { bigint: true });
  // Devices answer a seek with anything; bytes behind the end of a file are gone, not zero.
  if (!stats.isFile() || stats.size < end) return { start: from, end };
  try {
    const start = calls.seekStorage(fd, from, 'data');
    if (start === undefined || start >= end) return undefined;
    const hole = calls.seekStorage(fd, start, 'hole') ?? end;
    return { start, end: hole < end ? hole : end };
  } catch (error) {
    if (error instanceof HostError) return { start: from, end };
    throw error;
  }
};

/**
 * The next piece of private memory of this process that was ever touched, at or after `from`; it may
 * be told in parts, and is empty when the search was given up for now.
 *
 * @param base address of the memory
 * @param size bytes of it
 * @returns undefined when the rest was never touched
 */
export const storedInProcess = (
  pageSize: number,
  base: bigint,
  from: bigint,
  size: bigint,
): StoredRange | undefined => {
  let at = from - (from % BigInt(pageSize));
  for (let look = FIRST_LOOK; look <= LAST_LOOK; look *= 2n) {
    const end = at + look < size ? at + look : size;
    const found = lookUp(pageSize, base, at, end);
    if (found !== undefined)
      return { start: found.start < from ? from : found.start, end: found.end };
    if (end === size) return undefined;
    at = end;
  }
  return { start: at, end: at };
};

/** The first touched piece of `begin` to `end`; all of it where the host does not tell. */
const lookUp = (
  pageSize: number,
  base: bigint,
  begin: bigint,
  end: bigint,
): StoredRange | undefined => {
  const page = BigInt(pageSize);
  const map = readPageMap((base + begin) / page, Number((end - begin + page - 1n) / page));
  if (map === undefined) return { start: begin, end };
  const first = nextPage(map, 0, true);
  if (first === undefined) return undefined;
  const behind = nextPage(map, first, false);
  const stop = behind === undefined ? end : begin + BigInt(behind) * page;
  return { start: begin + BigInt(first) * page, end: stop < end ? stop : end };
};

/** The first page from `from` on that is stored, or is not; undefined when none is. */
const nextPage = (map: Buffer, from: number, stored: boolean): number | undefined => {
  for (let at = from * ENTRY + ENTRY - 1; at < map.length; at += ENTRY)
    if ((((map[at] ?? 0) & HAS_STORAGE) !== 0) === stored) return (at - ENTRY + 1) / ENTRY;
  return undefined;
};

/** One entry for each page; undefined where the host does not tell. */
const readPageMap = (page: bigint, count: number): Buffer | undefined => {
  const map = Buffer.alloc(count * ENTRY);
  let fd: number | undefined;
  try {
    fd = openSync('/proc/self/pagemap', 'r');
    for (let done = 0; done < map.length;) {
      const place = Number(page) * ENTRY + done;
      const n = readSync(fd, map, done, map.length - done, place);
      if (n === 0) return undefined;
      done += n;
    }
    return map;
  } catch (error) {
    if (fromNodeError(error) instanceof HostError) return undefined;
    throw error;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
};

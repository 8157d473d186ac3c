import { DIRTY_PAGE } from '../core/dirty-log.js';
import type { HostMemory } from '../core/host-memory.js';
import type { OwnMemories } from '../core/own-memory.js';

interface Part {
  readonly base: number;
  readonly end: number;
  readonly memory: HostMemory;
}

/**
 * The memories of a device end to end, in the order in which it added them; without those that cannot
 * be written. What is zero and has no storage gets none, neither by reading nor by writing zeros.
 */
export class StateMemory {
  /** Length in bytes. */
  readonly size: bigint;
  readonly #parts: readonly Part[];

  constructor(memories: OwnMemories) {
    let base = 0;
    this.#parts = writable(memories).map((memory) => {
      const part = { base, end: base + Number(memory.size), memory };
      base = part.end;
      return part;
    });
    this.size = BigInt(base);
  }

  /** Whether the device still has the same memories. */
  isOf(memories: OwnMemories): boolean {
    const parts = this.#parts;
    const now = writable(memories);
    return now.length === parts.length && now.every((memory, i) => memory === parts[i]?.memory);
  }

  /** False when some of the bytes are gone; they read 0. */
  read(offset: number, into: Uint8Array): boolean {
    let whole = true;
    this.#each(offset, into, (memory, at, piece) => {
      whole = readPiece(memory, at, piece) && whole;
    });
    return whole;
  }
  /** False when some of the bytes are gone. */
  write(offset: number, from: Uint8Array): boolean {
    let whole = true;
    this.#each(offset, from, (memory, at, piece) => {
      whole = writePiece(memory, at, piece) && whole;
    });
    return whole;
  }
  /** Calls `hook` after every write, whoever wrote; returns the unsubscribe. */
  onWrite(hook: (offset: bigint, len: number) => void): () => void {
    const ends = this.#parts.map(({ base, memory }) =>
      memory.onWrite((offset, len) => hook(offset + BigInt(base), len)),
    );
    return () => {
      for (const end of ends) end();
    };
  }

  #each(
    offset: number,
    bytes: Uint8Array,
    run: (memory: HostMemory, at: bigint, piece: Uint8Array) => void,
  ): void {
    const last = offset + bytes.length;
    for (const { base, end, memory } of this.#parts) {
      const from = Math.max(offset, base);
      const to = Math.min(last, end);
      if (from < to) run(memory, BigInt(from - base), bytes.subarray(from - offset, to - offset));
    }
  }
}

const writable = ({ list }: OwnMemories): HostMemory[] =>
  list.map(({ memory }) => memory).filter(({ readonly }) => !readonly);

/** Shorter pieces are not searched for what has no storage. */
const LONG = 64 * 1024;
const ZEROS = Buffer.alloc(DIRTY_PAGE);

/** A part of a piece of memory; offsets are relative to the piece. */
interface Stretch {
  readonly start: number;
  readonly end: number;
  /** False when nobody has written there: all zeros. */
  readonly isStored: boolean;
}

/** The parts of `length` bytes from `from` on, in their order. */
function* stretches(memory: HostMemory, from: bigint, length: number): Generator<Stretch> {
  if (memory.stored === undefined || length < LONG) {
    yield { start: 0, end: length, isStored: true };
    return;
  }
  for (let at = 0; at < length;) {
    const found = memory.stored(from + BigInt(at));
    const within = (offset: bigint): number => Math.min(Number(offset - from), length);
    const start = found === undefined ? length : Math.max(at, within(found.start));
    const end = found === undefined ? length : Math.max(start, within(found.end));
    if (start > at) yield { start: at, end: start, isStored: false };
    // A search that did not get on is not repeated.
    const stop = end === at ? length : end;
    if (stop > start) yield { start, end: stop, isStored: true };
    at = stop;
  }
}

const readPiece = (memory: HostMemory, from: bigint, into: Uint8Array): boolean => {
  let whole = true;
  for (const { start, end, isStored } of stretches(memory, from, into.length)) {
    const piece = into.subarray(start, end);
    if (isStored) whole = memory.read(from + BigInt(start), piece) && whole;
    else piece.fill(0);
  }
  return whole;
};

const writePiece = (memory: HostMemory, from: bigint, bytes: Uint8Array): boolean => {
  let whole = true;
  for (const stretch of stretches(memory, from, bytes.length))
    for (const { start, end } of stretch.isStored ? [stretch] : filled(bytes, stretch))
      whole = memory.write(from + BigInt(start), bytes.subarray(start, end)) && whole;
  return whole;
};

/** The pages of a stretch that are not all zeros; adjacent ones are one range. */
function* filled(bytes: Uint8Array, { start, end }: Stretch): Generator<Omit<Stretch, 'isStored'>> {
  let from = start;
  for (let at = start; at < end; at += DIRTY_PAGE) {
    const stop = Math.min(at + DIRTY_PAGE, end);
    if (ZEROS.compare(bytes, at, stop, 0, stop - at) !== 0) continue;
    if (at > from) yield { start: from, end: at };
    from = stop;
  }
  if (end > from) yield { start: from, end };
}

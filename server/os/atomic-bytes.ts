import type { AtomicBytes } from '../../devices/core/shared-object.js';

const WORD = 4;
const inEachByte = (mask: number): number => Math.imul(mask & 0xff, 0x01010101);

/** Whole words lie from `body` to `tail`; what is before and after them takes single steps. */
const split = (at: number, length: number): { body: number; tail: number } => {
  const end = at + length;
  const body = Math.min(Math.ceil(at / WORD) * WORD, end);
  return { body, tail: Math.max(body, Math.floor(end / WORD) * WORD) };
};

/** Atomic operations on memory that other processes map too; four bytes at a time where it can. */
export class MappedBytes implements AtomicBytes {
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;

  /** @param buffer begins at a page */
  constructor(buffer: ArrayBuffer) {
    this.#bytes = new Uint8Array(buffer);
    this.#words = new Int32Array(buffer, 0, Math.floor(buffer.byteLength / WORD));
  }

  load(at: number): number {
    this.#check(at, 1);
    return Atomics.load(this.#bytes, at);
  }

  store(at: number, value: number): void {
    this.#check(at, 1);
    Atomics.store(this.#bytes, at, value);
  }

  copy(at: number, length: number): Uint8Array {
    this.#check(at, length);
    return this.#bytes.slice(at, at + length);
  }

  claim(at: number, length: number, value: number): number {
    this.#check(at, length);
    const { body, tail } = split(at, length);
    const head = this.#claimBytes(at, body, value);
    if (at + head < body) return head;
    const wide = inEachByte(value);
    for (let i = body / WORD; i * WORD < tail; i++) {
      if (Atomics.compareExchange(this.#words, i, 0, wide) === 0) continue;
      const within = this.#claimBytes(i * WORD, (i + 1) * WORD, value);
      // Whoever was in the way may have left: then the word is complete and the claim goes on.
      if (within < WORD) return i * WORD - at + within;
    }
    return tail - at + this.#claimBytes(tail, at + length, value);
  }

  setBits(at: number, length: number, mask: number): void {
    this.#each(at, length, {
      byte: (i) => void Atomics.or(this.#bytes, i, mask),
      word: (i) => void Atomics.or(this.#words, i, inEachByte(mask)),
    });
  }

  clearBits(at: number, length: number, mask: number): void {
    this.#each(at, length, {
      byte: (i) => void Atomics.and(this.#bytes, i, ~mask),
      word: (i) => void Atomics.and(this.#words, i, ~inEachByte(mask)),
    });
  }

  exchangeBits(at: number, length: number, from: number, to: number): void {
    const inByte = (value: number): number => ((value & from) === 0 ? value : (value & ~from) | to);
    const inWord = (value: number): number =>
      inByte(value & 0xff) |
      (inByte((value >>> 8) & 0xff) << 8) |
      (inByte((value >>> 16) & 0xff) << 16) |
      (inByte(value >>> 24) << 24);
    this.#each(at, length, {
      byte: (i) => replace(this.#bytes, i, inByte),
      word: (i) => replace(this.#words, i, inWord),
    });
  }

  findSet(at: number, length: number, mask: number): number {
    const wide = inEachByte(mask);
    return this.#find(at, length, {
      byte: (value) => (value & mask) !== 0,
      word: (value) => (value & wide) !== 0,
    });
  }

  findClear(at: number, length: number, mask: number): number {
    const wide = inEachByte(mask);
    return this.#find(at, length, {
      byte: (value) => (value & mask) !== mask,
      word: (value) => (value & wide) !== wide,
    });
  }

  #check(at: number, length: number): void {
    if (at < 0 || length < 0 || at + length > this.#bytes.length)
      throw new RangeError(
        `${String(length)} bytes at ${String(at)} are outside a shared object of ${String(this.#bytes.length)} bytes`,
      );
  }

  #claimBytes(from: number, to: number, value: number): number {
    let i = from;
    while (i < to && Atomics.compareExchange(this.#bytes, i, 0, value) === 0) i++;
    return i - from;
  }

  #each(
    at: number,
    length: number,
    step: { byte: (i: number) => void; word: (i: number) => void },
  ): void {
    this.#check(at, length);
    const { body, tail } = split(at, length);
    for (let i = at; i < body; i++) step.byte(i);
    for (let i = body / WORD; i * WORD < tail; i++) step.word(i);
    for (let i = tail; i < at + length; i++) step.byte(i);
  }

  #find(
    at: number,
    length: number,
    test: { byte: (value: number) => boolean; word: (value: number) => boolean },
  ): number {
    this.#check(at, length);
    const { body, tail } = split(at, length);
    const inBytes = (from: number, to: number): number => {
      for (let i = from; i < to; i++) if (test.byte(Atomics.load(this.#bytes, i))) return i;
      return -1;
    };
    const head = inBytes(at, body);
    if (head >= 0) return head;
    for (let i = body / WORD; i * WORD < tail; i++) {
      if (!test.word(Atomics.load(this.#words, i))) continue;
      // Somebody may have changed it since: then the search goes on.
      const found = inBytes(i * WORD, (i + 1) * WORD);
      if (found >= 0) return found;
    }
    return inBytes(tail, at + length);
  }
}

/** Replaces a value by what `next` makes of it, in one step, whoever else changes it meanwhile. */
const replace = (
  values: Uint8Array | Int32Array,
  i: number,
  next: (value: number) => number,
): void => {
  for (let old = Atomics.load(values, i); ;) {
    const wanted = next(old);
    if (wanted === old) return;
    const seen = Atomics.compareExchange(values, i, old, wanted);
    if (seen === old) return;
    old = seen;
  }
};

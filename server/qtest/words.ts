import type { Line } from './line-reader.js';

/** A request that cannot be run; the message is what follows `FAIL`. */
export class BadRequest extends Error {}

const SPACE = 0x20;
const PLUS = 0x2b;
const MINUS = 0x2d;
const ZERO = 0x30;
const X = 0x78;
const LOWER = 0x20;

/** Words that a command can have; further ones are ignored. */
const MAX_WORDS = 5;
/** Digits of which any number is exact as a double. */
const EXACT_HEX = 13;
const EXACT_DECIMAL = 15;
/** Characters of a word that an error text repeats. */
const SHOWN = 40;

const digitOf = (byte: number): number => {
  if (byte < 0x3a) return byte >= ZERO ? byte - ZERO : 99;
  const letter = (byte | LOWER) - 0x61;
  return letter >= 0 && letter < 6 ? letter + 10 : 99;
};

/** Bytes of a word that its key tells of. */
const KEY_BYTES = 16;

/** A small integer by which the bytes from `start` to `end` are looked up. */
export const keyOf = (bytes: Buffer, start: number, end: number): number => {
  const last = Math.min(end, start + KEY_BYTES);
  let key = 0;
  for (let at = start; at < last; at++) key = (key * 31 + (bytes[at] ?? 0)) | 0;
  return key;
};

/** Bulk data is searched by the host's means, which cost more to start than a short word. */
const SHORT = 64;

const endOfWord = (bytes: Buffer, from: number, end: number): number => {
  const near = Math.min(end, from + SHORT);
  let at = from;
  while (at < near && bytes[at] !== SPACE) at++;
  if (at < near || near === end) return at;
  const found = bytes.subarray(at, end).indexOf(SPACE);
  return found < 0 ? end : at + found;
};

/**
 * The words of one request: what stands between single spaces, so that two spaces make an empty
 * word.
 *
 * @see reference/pci-and-memory-devices.md §10.1
 */
export class Words {
  #bytes: Buffer = Buffer.alloc(0);
  readonly #starts = new Int32Array(MAX_WORDS);
  readonly #ends = new Int32Array(MAX_WORDS);
  #count = 0;

  /** Takes the words of another line. */
  read({ bytes, start, end }: Line): void {
    this.#bytes = bytes;
    this.#count = 0;
    for (let from = start; this.#count < MAX_WORDS;) {
      const at = endOfWord(bytes, from, end);
      this.#starts[this.#count] = from;
      this.#ends[this.#count] = at;
      this.#count++;
      if (at === end) return;
      from = at + 1;
    }
  }

  has(index: number): boolean {
    return index < this.#count;
  }
  length(index: number): number {
    return (this.#ends[index] ?? 0) - (this.#starts[index] ?? 0);
  }
  /** The bytes of a word, as they are: a view. */
  bytes(index: number): Buffer {
    return this.#bytes.subarray(this.#starts[index], this.#ends[index]);
  }
  text(index: number): string {
    return this.#bytes.toString('latin1', this.#starts[index], this.#ends[index]);
  }
  /** Number of the first word; words that differ may have the same. */
  get key(): number {
    return keyOf(this.#bytes, this.#starts[0] ?? 0, this.#ends[0] ?? 0);
  }
  /** Whether the first word is `name`. */
  startsWith(name: Buffer): boolean {
    const start = this.#starts[0] ?? 0;
    if (this.length(0) !== name.length) return false;
    for (let i = 0; i < name.length; i++) if (this.#bytes[start + i] !== name[i]) return false;
    return true;
  }

  /**
   * A number as C reads it: hexadecimal, octal or decimal, with a sign; 64 bits, -1 wraps.
   *
   * @param what name of the word in error texts
   * @throws BadRequest
   */
  unsigned(index: number, what: string): bigint {
    const small = this.small(index);
    if (small >= 0) return BigInt(small);
    const { magnitude, isNegative } = this.#number(index, what);
    if (magnitude >= 1n << 64n) throw this.#notANumber(index, what, 'a number of 64 bits');
    return isNegative ? BigInt.asUintN(64, -magnitude) : magnitude;
  }
  /** A signed number. @throws BadRequest */
  signed(index: number, what: string): bigint {
    const { magnitude, isNegative } = this.#number(index, what);
    const value = isNegative ? -magnitude : magnitude;
    if (BigInt.asIntN(64, value) !== value)
      throw this.#notANumber(index, what, 'a signed number of 64 bits');
    return value;
  }

  /** @throws BadRequest */
  require(index: number, what: string): void {
    if (!this.has(index)) throw new BadRequest(`${this.text(0)}: ${what} is missing`);
  }

  /** A short number without a sign, as most are, below 2^53; -1 for anything else. */
  small(index: number): number {
    if (index >= this.#count) return -1;
    const bytes = this.#bytes;
    const end = this.#ends[index] ?? 0;
    const start = this.#starts[index] ?? 0;
    const isHex = bytes[start] === ZERO && bytes[start + 1] === X;
    const digits = isHex ? start + 2 : start;
    if (end === digits || end - digits > EXACT_HEX) return -1;
    // A leading zero means octal.
    if (!isHex && bytes[start] === ZERO && end - start > 1) return -1;
    const base = isHex ? 16 : 10;
    let value = 0;
    for (let at = digits; at < end; at++) {
      const digit = digitOf(bytes[at] ?? 0);
      if (digit >= base) return -1;
      value = value * base + digit;
    }
    return value;
  }

  #number(index: number, what: string): { magnitude: bigint; isNegative: boolean } {
    this.require(index, what);
    const bytes = this.#bytes;
    const end = this.#ends[index] ?? 0;
    let at = this.#starts[index] ?? 0;
    const isNegative = bytes[at] === MINUS;
    if (isNegative || bytes[at] === PLUS) at++;
    let base = 10;
    if (bytes[at] === ZERO && end - at > 1) {
      base = ((bytes[at + 1] ?? 0) | LOWER) === X ? 16 : 8;
      at += base === 16 ? 2 : 1;
    }
    const digits = at;
    let value = 0;
    for (; at < end; at++) {
      const digit = digitOf(bytes[at] ?? 0);
      if (digit >= base) break;
      value = value * base + digit;
    }
    if (at < end || at === digits) throw this.#notANumber(index, what, 'a number');
    const isExact = end - digits <= (base === 16 ? EXACT_HEX : EXACT_DECIMAL);
    const magnitude = isExact ? BigInt(value) : exact(bytes.toString('latin1', digits, end), base);
    return { magnitude, isNegative };
  }

  #notANumber(index: number, what: string, wanted: string): BadRequest {
    return new BadRequest(`${this.text(0)}: ${what} ${quoted(this.bytes(index))} is not ${wanted}`);
  }
}

const PREFIX: Readonly<Record<number, string>> = { 16: '0x', 8: '0o', 10: '' };

/** Numbers of more digits than any of 64 bits has are not worth reading. */
const exact = (digits: string, base: number): bigint => {
  const significant = digits.replace(/^0+/, '');
  if (significant.length > 22) return 1n << 64n;
  return BigInt(`${PREFIX[base] ?? ''}${significant === '' ? '0' : significant}`);
};

/** A word for an error text: short, printable. */
export const quoted = (word: Buffer): string => {
  const text = word.toString('latin1', 0, SHOWN).replace(/[^\x20-\x7e]/g, '?');
  return word.length > SHOWN ? `'${text}...'` : `'${text}'`;
};

/**
 * Text of QMP strings: modified UTF-8 (U+0000 also as C0 80, no surrogates, no noncharacters) and
 * JSON escapes.
 *
 * @see reference/qmp-protocol.md §1.2, §1.4
 */

/** Smallest code point that needs 1, 2, 3, 4 or 5 continuation bytes. */
const SMALLEST = [0x80, 0x800, 0x10000, 0x200000, 0x4000000];

const isCharacter = (code: number): boolean =>
  code <= 0x10ffff &&
  !(code >= 0xd800 && code <= 0xdfff) &&
  !(code >= 0xfdd0 && code <= 0xfdef) &&
  (code & 0xfffe) !== 0xfffe;

/** Walks over modified UTF-8, one code point at a time. */
export class Utf8Reader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  /** Index of the next byte. */
  at: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.at = start;
    this.#end = end;
  }

  /** The next code point; -1 for an invalid sequence, which is skipped as a whole. */
  next(): number {
    const lead = this.#bytes[this.at++] ?? 0;
    if (lead < 0x80) return lead;
    if (lead < 0xc0 || lead >= 0xfe) return -1;
    const more = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf8 ? 3 : lead < 0xfc ? 4 : 5;
    let code = lead & (0x3f >> more);
    for (let i = 0; i < more; i++) {
      const byte = this.at < this.#end ? (this.#bytes[this.at] ?? 0) : 0;
      if ((byte & 0xc0) !== 0x80) return -1;
      this.at++;
      code = code * 64 + (byte & 0x3f);
    }
    if (more === 1 && code === 0) return 0;
    return code >= (SMALLEST[more - 1] ?? 0) && isCharacter(code) ? code : -1;
  }
}

/** UTF-16 text under construction, flat from the start. */
class TextBuffer {
  readonly #units: Uint16Array;
  #len = 0;

  /** @param capacity bytes of source; no source byte makes more than one unit */
  constructor(capacity: number) {
    this.#units = new Uint16Array(capacity);
  }

  push(code: number): void {
    if (code > 0xffff) {
      this.#units[this.#len++] = 0xd7c0 + (code >> 10);
      this.#units[this.#len++] = 0xdc00 + (code & 0x3ff);
    } else this.#units[this.#len++] = code;
  }

  toString(): string {
    return Buffer.from(this.#units.buffer, 0, this.#len * 2).toString('utf16le');
  }
}

/** Rejected input as an error text shows it: U+FFFD for each undecodable sequence. */
export const showBytes = (bytes: Uint8Array): string => {
  const reader = new Utf8Reader(bytes, 0, bytes.length);
  const text = new TextBuffer(bytes.length);
  while (reader.at < bytes.length) {
    const code = reader.next();
    text.push(code < 0 ? 0xfffd : code);
  }
  return text.toString();
};

/** What is wrong with a string, as the parse error says it. */
export class BadText {
  readonly problem: string;
  constructor(problem: string) {
    this.problem = problem;
  }
}

const SIMPLE_ESCAPES: ReadonlyMap<number, number> = new Map([
  [0x22, 0x22],
  [0x27, 0x27],
  [0x5c, 0x5c],
  [0x2f, 0x2f],
  [0x62, 0x08],
  [0x66, 0x0c],
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09],
]);

const hexDigit = (byte: number | undefined): number => {
  if (byte === undefined) return NaN;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte & 0xdf;
  return letter >= 0x41 && letter <= 0x46 ? letter - 0x37 : NaN;
};

/** Value of four hex digits at `at`; NaN when they are not. */
const hex4 = (raw: Uint8Array, at: number): number => {
  let value = 0;
  for (let i = 0; i < 4; i++) value = value * 16 + hexDigit(raw[at + i]);
  return value;
};

/** Reads `\uXXXX` (and the trailing surrogate after it) at `at`, the index of the backslash. */
const unicodeEscape = (raw: Uint8Array, at: number): { code: number; len: number } | BadText => {
  const bad = (len: number): BadText =>
    new BadText(`${showBytes(raw.subarray(at, at + len))} is not a valid Unicode character`);
  let code = hex4(raw, at + 2);
  let len = 6;
  if (code >= 0xd800 && code <= 0xdbff && raw[at + 6] === 0x5c && raw[at + 7] === 0x75) {
    const trail = hex4(raw, at + 8);
    if (!(trail >= 0xdc00 && trail <= 0xdfff)) return bad(6);
    code = 0x10000 + (code - 0xd800) * 0x400 + (trail - 0xdc00);
    len = 12;
  }
  return isCharacter(code) ? { code, len } : bad(len);
};

/**
 * Decodes a string token.
 *
 * @param raw the token with its quotes
 */
export const decodeString = (raw: Uint8Array): string | BadText => {
  const end = raw.length - 1;
  const reader = new Utf8Reader(raw, 1, end);
  const text = new TextBuffer(raw.length);
  while (reader.at < end) {
    if (raw[reader.at] !== 0x5c) {
      const code = reader.next();
      if (code < 0) return new BadText('invalid UTF-8 sequence in string');
      text.push(code);
      continue;
    }
    const letter = raw[reader.at + 1] ?? 0;
    if (letter === 0x75) {
      const escape = unicodeEscape(raw, reader.at);
      if (escape instanceof BadText) return escape;
      text.push(escape.code);
      reader.at += escape.len;
      continue;
    }
    const simple = SIMPLE_ESCAPES.get(letter);
    if (simple === undefined) return new BadText('invalid escape sequence in string');
    text.push(simple);
    reader.at += 2;
  }
  return text.toString();
};

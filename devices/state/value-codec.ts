import { refused } from '../../schema/error.js';
import type { StateValue } from '../core/device.js';

/*
 * Values of a saved state as bytes: a tag, then what the tag says; numbers little-endian.
 *
 *   00 false      01 true
 *   02 number     8 bytes, IEEE 754
 *   03 integer    (bigint, from 0 on) length byte, magnitude without zeros at its high end
 *   04 integer    (bigint, below 0) the same, magnitude of -1 - value
 *   05 text       u32 length, UTF-8
 *   06 bytes      u32 length, bytes
 *   07 list       u32 count, values
 *   08 map        u32 count, pairs of u16 length, UTF-8 key, value; keys ascending by their bytes
 */
const TAG = {
  FALSE: 0,
  TRUE: 1,
  NUMBER: 2,
  POSITIVE: 3,
  NEGATIVE: 4,
  TEXT: 5,
  BYTES: 6,
  LIST: 7,
  MAP: 8,
} as const;

/** What a state may be at most, whoever wrote it. */
export const STATE_LIMITS = {
  /** Lists and maps inside each other. */
  depth: 32,
  /** Values in all, lists and maps counted as well. */
  values: 1 << 20,
  /** Bytes of one integer. */
  integer: 255,
  /** Bytes of a key. */
  key: 0xffff,
} as const;

/** The only pattern of "not a number" that is written and read. */
const NAN_PATTERN = 0x7ff8000000000000n;

const TEXT = new TextEncoder();

/**
 * The bytes of a value. Equal values have equal bytes, in whatever order their fields were set.
 *
 * @throws QmpError when it is more than STATE_LIMITS allows, or has a text that is no Unicode
 */
export const encodeValue = (value: StateValue): Uint8Array => {
  const encoder = new Encoder();
  encoder.value(value, 0);
  return encoder.bytes;
};

/**
 * The value that fills `bytes` from `start` to their end.
 *
 * @throws QmpError naming the place, counted from the start of `bytes`
 */
export const decodeValue = (bytes: Uint8Array, start = 0): StateValue => {
  const decoder = new Decoder(bytes, start);
  const value = decoder.value(0);
  decoder.end();
  return value;
};

const FIRST_BYTES = 1024;

class Encoder {
  #buffer = new Uint8Array(FIRST_BYTES);
  #view = new DataView(this.#buffer.buffer);
  #length = 0;
  #values = 0;

  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  value(value: StateValue, depth: number): void {
    if (++this.#values > STATE_LIMITS.values)
      throw refused(`a state has at most ${String(STATE_LIMITS.values)} values`);
    if (typeof value === 'boolean') this.#byte(value ? TAG.TRUE : TAG.FALSE);
    else if (typeof value === 'number') this.#number(value);
    else if (typeof value === 'bigint') this.#integer(value);
    else if (typeof value === 'string') this.#blob(TAG.TEXT, utf8(value));
    else if (value instanceof Uint8Array) this.#blob(TAG.BYTES, value);
    else this.#nested(value, depth);
  }

  #nested(value: StateValue[] | { [field: string]: StateValue }, depth: number): void {
    if (depth >= STATE_LIMITS.depth)
      throw refused(`a state is at most ${String(STATE_LIMITS.depth)} levels deep`);
    if (Array.isArray(value)) {
      this.#header(TAG.LIST, value.length);
      for (const item of value) this.value(item, depth + 1);
      return;
    }
    const fields = Object.entries(value).map(([key, item]) => ({ key: utf8(key), item }));
    fields.sort((a, b) => compare(a.key, b.key));
    this.#header(TAG.MAP, fields.length);
    for (const { key, item } of fields) {
      if (key.length > STATE_LIMITS.key)
        throw refused(`a key of a state has at most ${String(STATE_LIMITS.key)} bytes`);
      const at = this.#take(2);
      this.#view.setUint16(at, key.length, true);
      this.#append(key);
      this.value(item, depth + 1);
    }
  }
  #number(value: number): void {
    this.#byte(TAG.NUMBER);
    const at = this.#take(8);
    if (Number.isNaN(value)) this.#view.setBigUint64(at, NAN_PATTERN, true);
    else this.#view.setFloat64(at, value, true);
  }
  #integer(value: bigint): void {
    const magnitude = [];
    for (let rest = value < 0n ? -1n - value : value; rest > 0n; rest >>= 8n)
      magnitude.push(Number(rest & 0xffn));
    if (magnitude.length > STATE_LIMITS.integer)
      throw refused(`an integer of a state has at most ${String(STATE_LIMITS.integer)} bytes`);
    this.#byte(value < 0n ? TAG.NEGATIVE : TAG.POSITIVE);
    this.#byte(magnitude.length);
    this.#append(Uint8Array.from(magnitude));
  }
  #blob(tag: number, bytes: Uint8Array): void {
    this.#header(tag, bytes.length);
    this.#append(bytes);
  }
  #header(tag: number, count: number): void {
    this.#byte(tag);
    const at = this.#take(4);
    this.#view.setUint32(at, count, true);
  }
  #byte(value: number): void {
    const at = this.#take(1);
    this.#buffer[at] = value;
  }
  #append(bytes: Uint8Array): void {
    const at = this.#take(bytes.length);
    this.#buffer.set(bytes, at);
  }
  /** Makes room, maybe in another buffer. @returns where it begins */
  #take(length: number): number {
    const at = this.#length;
    this.#length += length;
    if (this.#length > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(this.#length, 2 * this.#buffer.length));
      grown.set(this.#buffer);
      this.#buffer = grown;
      this.#view = new DataView(grown.buffer);
    }
    return at;
  }
}

const utf8 = (text: string): Uint8Array => {
  if (/\p{Surrogate}/u.test(text)) throw refused('a text of a state is no Unicode');
  return TEXT.encode(text);
};

const compare = (a: Uint8Array, b: Uint8Array): number => {
  const shared = Math.min(a.length, b.length);
  for (let at = 0; at < shared; at++) if (a[at] !== b[at]) return (a[at] ?? 0) - (b[at] ?? 0);
  return a.length - b.length;
};

class Decoder {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  #at: number;
  #values = 0;

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = start;
  }

  value(depth: number): StateValue {
    const at = this.#at;
    if (++this.#values > STATE_LIMITS.values)
      throw refused(`at byte ${String(at)}: more than ${String(STATE_LIMITS.values)} values`);
    const tag = this.#view.getUint8(this.#take(1, 'a tag'));
    switch (tag) {
      case TAG.FALSE:
      case TAG.TRUE:
        return tag === TAG.TRUE;
      case TAG.NUMBER:
        return this.#number();
      case TAG.POSITIVE:
        return this.#magnitude();
      case TAG.NEGATIVE:
        return -1n - this.#magnitude();
      case TAG.TEXT:
        return this.#decoded(this.#blob('a text'));
      case TAG.BYTES:
        return this.#blob('bytes').slice();
      case TAG.LIST:
      case TAG.MAP:
        if (depth >= STATE_LIMITS.depth)
          throw refused(`at byte ${String(at)}: deeper than ${String(STATE_LIMITS.depth)} levels`);
        return tag === TAG.LIST ? this.#list(depth + 1) : this.#map(depth + 1);
      default:
        throw refused(`at byte ${String(at)}: unknown tag ${String(tag)}`);
    }
  }
  /** @throws QmpError when bytes are left */
  end(): void {
    const left = this.#bytes.length - this.#at;
    if (left > 0) throw refused(`at byte ${String(this.#at)}: ${String(left)} bytes too many`);
  }

  #number(): number {
    const at = this.#take(8, 'a number');
    const value = this.#view.getFloat64(at, true);
    if (Number.isNaN(value) && this.#view.getBigUint64(at, true) !== NAN_PATTERN)
      throw refused(`at byte ${String(at)}: a number that is never written`);
    return value;
  }
  #magnitude(): bigint {
    const length = this.#view.getUint8(this.#take(1, 'the length of an integer'));
    const at = this.#take(length, 'an integer');
    let value = 0n;
    for (let i = length - 1; i >= 0; i--)
      value = (value << 8n) | BigInt(this.#view.getUint8(at + i));
    if (length > 0 && this.#view.getUint8(at + length - 1) === 0)
      throw refused(`at byte ${String(at)}: an integer with zeros before it`);
    return value;
  }
  #list(depth: number): StateValue[] {
    const count = this.#count(1);
    const items: StateValue[] = [];
    for (let i = 0; i < count; i++) items.push(this.value(depth));
    return items;
  }
  #map(depth: number): { [field: string]: StateValue } {
    const count = this.#count(3);
    const fields: [string, StateValue][] = [];
    let last: Uint8Array | undefined;
    for (let i = 0; i < count; i++) {
      const length = this.#view.getUint16(this.#take(2, 'the length of a key'), true);
      const at = this.#take(length, 'a key');
      const key = this.#bytes.subarray(at, at + length);
      if (last !== undefined && compare(last, key) >= 0)
        throw refused(`at byte ${String(at)}: a key out of order`);
      last = key;
      fields.push([this.#decoded(key), this.value(depth)]);
    }
    return Object.fromEntries(fields);
  }
  /** Of values that follow, of at least `smallest` bytes each. */
  #count(smallest: number): number {
    const at = this.#take(4, 'a count');
    const count = this.#view.getUint32(at, true);
    if (count * smallest > this.#bytes.length - this.#at)
      throw refused(`at byte ${String(at)}: ${String(count)} values do not fit what follows`);
    return count;
  }
  #blob(what: string): Uint8Array {
    const length = this.#view.getUint32(this.#take(4, `the length of ${what}`), true);
    const at = this.#take(length, what);
    return this.#bytes.subarray(at, at + length);
  }
  #decoded(bytes: Uint8Array): string {
    try {
      return this.#text.decode(bytes);
    } catch (error) {
      const at = bytes.byteOffset - this.#bytes.byteOffset;
      throw refused(`at byte ${String(at)}: a text that is no UTF-8`, error);
    }
  }
  /** Passes over bytes. @returns where they begin */
  #take(length: number, what: string): number {
    const at = this.#at;
    if (length > this.#bytes.length - at)
      throw refused(`at byte ${String(at)}: ends inside ${what}`);
    this.#at += length;
    return at;
  }
}

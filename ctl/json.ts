import type { JsonObject, JsonValue } from '../schema/json.js';

/** Strict JSON with exact integers: every integer is a `bigint`, anything else numeric a `number`. */

const MAX_DEPTH = 2048;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const BLANK = /[ \t\r\n]*/y;
const LITERALS: Readonly<Record<string, JsonValue>> = { t: true, f: false, n: null };

class Reader {
  readonly #text: string;
  #at = 0;
  constructor(text: string) {
    this.#text = text;
  }

  whole(): JsonValue {
    const value = this.#value(0);
    this.#skipBlank();
    if (this.#at < this.#text.length) throw this.#unexpected();
    return value;
  }

  #value(depth: number): JsonValue {
    if (depth > MAX_DEPTH) throw new SyntaxError(`JSON is nested deeper than ${String(MAX_DEPTH)}`);
    this.#skipBlank();
    const first = this.#text[this.#at] ?? '';
    if (first === '{') return this.#object(depth);
    if (first === '[') return this.#array(depth);
    if (first === '"') return this.#string();
    return first in LITERALS ? this.#literal(first) : this.#number();
  }

  #object(depth: number): JsonObject {
    const object = Object.create(null) as JsonObject;
    this.#list('}', () => {
      this.#skipBlank();
      const key = this.#string();
      this.#expect(':');
      object[key] = this.#value(depth + 1);
    });
    return object;
  }

  #array(depth: number): JsonValue[] {
    const items: JsonValue[] = [];
    this.#list(']', () => items.push(this.#value(depth + 1)));
    return items;
  }

  /** What stands between brackets, separated by commas. */
  #list(end: string, item: () => void): void {
    this.#at++;
    this.#skipBlank();
    if (this.#text[this.#at] === end) {
      this.#at++;
      return;
    }
    for (;;) {
      item();
      this.#skipBlank();
      const next = this.#text[this.#at];
      if (next !== ',' && next !== end) throw this.#unexpected();
      this.#at++;
      if (next === end) return;
    }
  }

  #string(): string {
    const start = this.#at;
    if (this.#text[start] !== '"') throw this.#unexpected();
    let end = start + 1;
    while (this.#text[end] !== '"') {
      if (end >= this.#text.length) throw new SyntaxError('JSON ends inside a string');
      end += this.#text[end] === '\\' ? 2 : 1;
    }
    this.#at = end + 1;
    return JSON.parse(this.#text.slice(start, end + 1)) as string;
  }

  #number(): JsonValue {
    NUMBER.lastIndex = this.#at;
    const match = NUMBER.exec(this.#text);
    if (match === null) throw this.#unexpected();
    this.#at = NUMBER.lastIndex;
    const isInteger = match[1] === undefined && match[2] === undefined;
    return isInteger ? BigInt(match[0]) : Number(match[0]);
  }

  #literal(first: string): JsonValue {
    const value = LITERALS[first] ?? null;
    const word = String(value);
    if (!this.#text.startsWith(word, this.#at)) throw this.#unexpected();
    this.#at += word.length;
    return value;
  }

  #expect(char: string): void {
    this.#skipBlank();
    if (this.#text[this.#at] !== char) throw this.#unexpected();
    this.#at++;
  }

  #skipBlank(): void {
    BLANK.lastIndex = this.#at;
    BLANK.exec(this.#text);
    this.#at = BLANK.lastIndex;
  }

  #unexpected(): SyntaxError {
    const found = this.#text.slice(this.#at, this.#at + 20);
    return new SyntaxError(found === '' ? 'JSON ends too early' : `JSON goes wrong at '${found}'`);
  }
}

/** Reads one JSON value. @throws SyntaxError */
export const parseJson = (text: string): JsonValue => new Reader(text).whole();

const numberText = (value: number): string => {
  const text = String(value);
  return Number.isInteger(value) && !text.includes('e') ? `${text}.0` : text;
};

/** Writes a value; on one line, or with `indent` spaces for each level. Doubles keep their point. */
export const writeJson = (value: JsonValue, indent = 0, margin = ''): string => {
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') return numberText(value);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const inner = margin + ' '.repeat(indent);
  const items = Array.isArray(value)
    ? value.map((item) => writeJson(item, indent, inner))
    : Object.entries(value).map(
        ([key, item]) => `${JSON.stringify(key)}: ${writeJson(item, indent, inner)}`,
      );
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}'];
  if (items.length === 0) return open + close;
  if (indent === 0) return open + items.join(', ') + close;
  return `${open}\n${inner}${items.join(`,\n${inner}`)}\n${margin}${close}`;
};

/**
 * Cuts a stream of text into its top-level objects, wherever lines and chunks begin and end, so that
 * pretty-printed servers can be read too.
 */
export class ObjectSplitter {
  #text = '';
  #at = 0;
  #depth = 0;
  #inString = false;

  /** Adds a chunk; returns the texts of the objects that it completes. */
  push(chunk: string): string[] {
    this.#text += chunk;
    const found: string[] = [];
    let start = 0;
    for (; this.#at < this.#text.length; this.#at++) {
      const char = this.#text[this.#at];
      if (this.#inString) {
        if (char === '\\') this.#at++;
        else if (char === '"') this.#inString = false;
      } else if (char === '"') this.#inString = true;
      else if (char === '{' || char === '[') this.#depth++;
      else if ((char === '}' || char === ']') && --this.#depth === 0) {
        found.push(this.#text.slice(start, this.#at + 1));
        start = this.#at + 1;
      }
    }
    this.#text = this.#text.slice(start);
    this.#at -= start;
    return found;
  }
}

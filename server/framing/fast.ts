import type { JsonObject, JsonValue } from '../../schema/json.js';
import { Members } from './parser.js';

const MAX_DEPTH = 32;

/**
 * Reads the common kind of message in one pass: plain ASCII strings in double quotes, integers of
 * at most 15 digits, whole within one text. It gives up on anything else, right or wrong, and the
 * byte lexer then reads the same bytes from the start; so it decides nothing about the dialect.
 */
export class FastReader {
  #text = '';
  #at = 0;

  /** Index after the value that `read` returned. */
  get end(): number {
    return this.#at;
  }

  /** The object that starts at `at`, or undefined when the byte lexer has to look at it. */
  read(text: string, at: number): JsonValue | undefined {
    this.#text = text;
    this.#at = at;
    return this.#value(0);
  }

  /** The next byte that is not blank; NaN at the end. */
  #peek(): number {
    let code = this.#text.charCodeAt(this.#at);
    while (code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09)
      code = this.#text.charCodeAt(++this.#at);
    return code;
  }

  #value(depth: number): JsonValue | undefined {
    const code = this.#peek();
    if (code === 0x22) return this.#string();
    if (code === 0x7b) return depth < MAX_DEPTH ? this.#object(depth + 1) : undefined;
    if (code === 0x5b) return depth < MAX_DEPTH ? this.#array(depth + 1) : undefined;
    if (code === 0x2d || (code >= 0x30 && code <= 0x39)) return this.#integer();
    return this.#keyword();
  }

  #string(): string | undefined {
    const text = this.#text;
    const start = this.#at + 1;
    for (let i = start; ; i++) {
      const code = text.charCodeAt(i);
      if (code === 0x22) {
        this.#at = i + 1;
        return text.substring(start, i);
      }
      if (!(code >= 0x20 && code <= 0x7e) || code === 0x5c) return undefined;
    }
  }

  #integer(): bigint | undefined {
    const text = this.#text;
    const start = this.#at;
    let i = text.charCodeAt(start) === 0x2d ? start + 1 : start;
    const first = text.charCodeAt(i);
    let value = 0;
    let code = first;
    const digits = i;
    for (; code >= 0x30 && code <= 0x39; code = text.charCodeAt(++i))
      value = value * 10 + code - 48;
    const count = i - digits;
    if (count === 0 || count > 15 || (first === 0x30 && count > 1)) return undefined;
    if (code !== 0x2c && code !== 0x7d && code !== 0x5d && code !== 0x20) return undefined;
    this.#at = i;
    return BigInt(digits > start ? -value : value);
  }

  #keyword(): boolean | null | undefined {
    const text = this.#text;
    const word = text.startsWith('true', this.#at)
      ? 'true'
      : text.startsWith('false', this.#at)
        ? 'false'
        : text.startsWith('null', this.#at)
          ? 'null'
          : '';
    const code = text.charCodeAt(this.#at + word.length);
    if (word === '' || (code !== 0x2c && code !== 0x7d && code !== 0x5d)) return undefined;
    this.#at += word.length;
    return word === 'null' ? null : word === 'true';
  }

  #object(depth: number): JsonObject | undefined {
    const object: JsonObject = new Members();
    this.#at++;
    if (this.#peek() === 0x7d) {
      this.#at++;
      return object;
    }
    for (;;) {
      const key = this.#peek() === 0x22 ? this.#string() : undefined;
      if (key === undefined || key in object || this.#peek() !== 0x3a) return undefined;
      this.#at++;
      const value = this.#value(depth);
      if (value === undefined) return undefined;
      object[key] = value;
      const code = this.#peek();
      this.#at++;
      if (code === 0x7d) return object;
      if (code !== 0x2c) return undefined;
    }
  }

  #array(depth: number): JsonValue[] | undefined {
    const array: JsonValue[] = [];
    this.#at++;
    if (this.#peek() === 0x5d) {
      this.#at++;
      return array;
    }
    for (;;) {
      const value = this.#value(depth);
      if (value === undefined) return undefined;
      array.push(value);
      const code = this.#peek();
      this.#at++;
      if (code === 0x5d) return array;
      if (code !== 0x2c) return undefined;
    }
  }
}

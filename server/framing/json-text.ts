import type { JsonObject, JsonValue } from '../../schema/json.js';
import { parseNumber } from './number.js';
import { BadText } from './text.js';

/**
 * A whole text as a JSON value with exact integers. JSON as RFC 8259 has it, not
 * QMP's dialect, so that other programs read the same; every mistake has a line and
 * a column.
 */

/** Open brackets and braces, as QMP takes them. */
const MAX_DEPTH = 1024;

const BLANK = /[ \t\r\n]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y;
const WORD = /[A-Za-z0-9_$+.-]+/y;
/** What may stand in a string as it is. */
const PLAIN = /[\u{20}\u{21}\u{23}-\u{5b}\u{5d}-\u{10ffff}]*/uy;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})/y;
const WORDS: Readonly<Record<string, JsonValue>> = { true: true, false: false, null: null };

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  read(): JsonValue {
    const value = this.#value(0);
    if (this.#peek() !== '') throw this.#expected('the end of the file');
    return value;
  }

  #value(depth: number): JsonValue {
    const next = this.#peek();
    if (next === '{' || next === '[') {
      if (depth === MAX_DEPTH) throw this.#problem(`more than ${String(MAX_DEPTH)} levels`);
      return next === '{' ? this.#object(depth) : this.#array(depth);
    }
    if (next === '"') return this.#string();
    return this.#number() ?? this.#word();
  }

  #object(depth: number): JsonObject {
    const object = Object.create(null) as JsonObject;
    this.#list('}', () => {
      if (this.#peek() !== '"') throw this.#expected('a name in double quotes');
      const start = this.#at;
      const key = this.#string();
      if (key in object) throw this.#problem(`'${key}' is here for the second time`, start);
      if (this.#peek() !== ':') throw this.#expected("':'");
      this.#at++;
      object[key] = this.#value(depth + 1);
    });
    return object;
  }

  #array(depth: number): JsonValue[] {
    const array: JsonValue[] = [];
    this.#list(']', () => array.push(this.#value(depth + 1)));
    return array;
  }

  /** What stands between the bracket at hand and `end`, separated by commas. */
  #list(end: string, readItem: () => void): void {
    this.#at++;
    if (this.#peek() !== end) {
      readItem();
      while (this.#peek() === ',') {
        this.#at++;
        readItem();
      }
    }
    if (this.#peek() !== end) throw this.#expected(`',' or '${end}'`);
    this.#at++;
  }

  #string(): string {
    const start = this.#at++;
    this.#take(PLAIN);
    while (this.#text[this.#at] !== '"') {
      if (this.#text[this.#at] !== '\\') throw this.#expected('the end of the string');
      if (this.#take(ESCAPE) === '') throw this.#expected('an escape of JSON');
      this.#take(PLAIN);
    }
    this.#at++;
    const value = JSON.parse(this.#text.slice(start, this.#at)) as string;
    if (/\p{Cs}/u.test(value)) throw this.#problem('half a surrogate pair in a string', start);
    return value;
  }

  #number(): JsonValue | undefined {
    const start = this.#at;
    const text = this.#take(NUMBER);
    if (text === '') return undefined;
    const value = parseNumber(text);
    if (value instanceof BadText) throw this.#problem(value.problem, start);
    return value;
  }

  #word(): JsonValue {
    const start = this.#at;
    const word = this.#take(WORD);
    if (Object.hasOwn(WORDS, word)) return WORDS[word] ?? null;
    this.#at = start;
    throw this.#expected('a value');
  }

  /** The next character that is no blank; empty at the end. */
  #peek(): string {
    this.#take(BLANK);
    return this.#text[this.#at] ?? '';
  }

  /** Moves behind what `pattern` matches here. */
  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? '';
    this.#at += found.length;
    return found;
  }

  #expected(what: string): Error {
    WORD.lastIndex = this.#at;
    const word = WORD.exec(this.#text)?.[0].slice(0, 20);
    const found = word ?? String.fromCodePoint(this.#text.codePointAt(this.#at) ?? 0);
    const isEnd = this.#at >= this.#text.length;
    const shown = /^\p{Cc}$/u.test(found) ? 'a control character' : `'${found}'`;
    return this.#problem(`${what} is expected, not ${isEnd ? 'the end of the file' : shown}`);
  }

  #problem(text: string, at = this.#at): Error {
    const lines = this.#text.slice(0, at).split('\n');
    const column = [...(lines.at(-1) ?? '')].length + 1;
    return new Error(`line ${String(lines.length)}, column ${String(column)}: ${text}`);
  }
}

/** @throws Error with line and column of a mistake, both from 1, and what was expected there */
export const readJson = (text: string): JsonValue => new Reader(text).read();

import type { JsonObject, JsonValue } from '../../schema/json.js';

/**
 * A JSON object under construction: inherits nothing, so that any key is ordinary data. Engines
 * read and write it faster than what `Object.create(null)` makes.
 */
export class Members {
  [key: string]: JsonValue;

  static {
    Object.setPrototypeOf(this.prototype, null);
    Reflect.deleteProperty(this.prototype, 'constructor');
  }
}

/** Kinds of tokens; structural ones are their character. */
export type TokenKind = '{' | '}' | '[' | ']' | ':' | ',' | 'value' | 'bad';

/** The tokens of one message, collected until its brackets balance. */
export class Tokens {
  readonly #kinds: TokenKind[] = [];
  readonly #values: (JsonValue | undefined)[] = [];
  #at = 0;

  get count(): number {
    return this.#kinds.length;
  }

  /** Adds a token: `value` carries its value, `bad` its problem as text. */
  add(kind: TokenKind, value?: JsonValue): void {
    this.#kinds.push(kind);
    this.#values.push(value);
  }

  clear(): void {
    this.#kinds.length = 0;
    this.#values.length = 0;
    this.#at = 0;
  }

  /**
   * The value of the collected message.
   *
   * @throws SyntaxProblem for the first thing that is wrong
   */
  parse(): JsonValue {
    this.#at = 0;
    return this.#value();
  }

  #next(): TokenKind {
    const kind = this.#kinds[this.#at++];
    if (kind === undefined) throw new SyntaxProblem('premature EOI');
    return kind;
  }

  #value(): JsonValue {
    switch (this.#next()) {
      case '{':
        return this.#object();
      case '[':
        return this.#array();
      case 'value':
        return this.#values[this.#at - 1] ?? null;
      case 'bad':
        throw new SyntaxProblem(String(this.#values[this.#at - 1]));
      case '}':
      case ']':
      case ':':
      case ',':
        throw new SyntaxProblem('expecting value');
    }
  }

  #object(): JsonObject {
    const object: JsonObject = new Members();
    if (this.#kinds[this.#at] === '}') {
      this.#at++;
      return object;
    }
    for (;;) {
      const key = this.#value();
      if (typeof key !== 'string') throw new SyntaxProblem('key is not a string in object');
      if (this.#next() !== ':') throw new SyntaxProblem('missing : in object pair');
      const value = this.#value();
      if (key in object) throw new SyntaxProblem('duplicate key');
      object[key] = value;
      const separator = this.#next();
      if (separator === '}') return object;
      if (separator !== ',') throw new SyntaxProblem('expected separator in dict');
    }
  }

  #array(): JsonValue[] {
    const array: JsonValue[] = [];
    if (this.#kinds[this.#at] === ']') {
      this.#at++;
      return array;
    }
    for (;;) {
      array.push(this.#value());
      const separator = this.#next();
      if (separator === ']') return array;
      if (separator !== ',') throw new SyntaxProblem('expected separator in list');
    }
  }
}

/** The first problem of a message, in the words of the parse error. */
export class SyntaxProblem extends Error {}

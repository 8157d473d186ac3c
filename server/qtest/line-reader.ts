const LF = 10;

/** One line, without its end: `bytes` from `start` to `end`. Valid until more input is pushed. */
export interface Line {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
}

/** Cuts a stream of bytes into lines; a line that is too long is skipped, and told. */
export class LineReader {
  readonly #limit: number;
  /** Input that is not cut yet. */
  readonly #input: Buffer[] = [];
  /** Where the next line begins in the first of them. */
  #at = 0;
  /** What came of a line whose end has not come. */
  #partial: Buffer[] = [];
  #partialLength = 0;
  #isSkipping = false;

  /** @param limit bytes of the longest line */
  constructor(limit: number) {
    this.#limit = limit;
  }

  push(bytes: Buffer): void {
    if (bytes.length > 0) this.#input.push(bytes);
  }

  /** The next complete line; `overlong` in place of one that was skipped; undefined: more must come. */
  next(): Line | 'overlong' | undefined {
    for (let bytes = this.#input[0]; bytes !== undefined; bytes = this.#input[0]) {
      const start = this.#at;
      const end = bytes.indexOf(LF, start);
      if (end >= 0) {
        this.#at = end + 1;
        if (this.#at === bytes.length) this.#drop();
        return this.#finish(bytes, start, end);
      }
      this.#keep(bytes, start);
      this.#drop();
    }
    return undefined;
  }

  #drop(): void {
    this.#input.shift();
    this.#at = 0;
  }

  #keep(bytes: Buffer, start: number): void {
    if (this.#isSkipping) return;
    this.#partialLength += bytes.length - start;
    this.#isSkipping = this.#partialLength > this.#limit;
    if (this.#isSkipping) this.#partial = [];
    else this.#partial.push(start === 0 ? bytes : bytes.subarray(start));
  }

  #finish(bytes: Buffer, start: number, end: number): Line | 'overlong' {
    const isOverlong = this.#isSkipping || this.#partialLength + end - start > this.#limit;
    const parts = this.#partial;
    this.#isSkipping = false;
    if (this.#partialLength > 0) {
      this.#partial = [];
      this.#partialLength = 0;
    }
    if (isOverlong) return 'overlong';
    if (parts.length === 0) return { bytes, start, end };
    const whole = Buffer.concat([...parts, bytes.subarray(start, end)]);
    return { bytes: whole, start: 0, end: whole.length };
  }
}

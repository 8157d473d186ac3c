import type { JsonValue } from '../../schema/json.js';
import { FastReader } from './fast.js';
import { parseNumber } from './number.js';
import { SyntaxProblem, Tokens } from './parser.js';
import { BadText, decodeString, showBytes } from './text.js';

/** One message of the input: its value, or the text of the error that answers it. */
export type JsonItem =
  | { readonly kind: 'value'; readonly value: JsonValue }
  | { readonly kind: 'error'; readonly desc: string };

export interface JsonLimits {
  /** Open brackets and braces. */
  readonly depth: number;
  /** Tokens of one message. */
  readonly tokens: number;
  /** Bytes of the tokens of one message, plus one. */
  readonly bytes: number;
}
const DEFAULT_LIMITS: JsonLimits = { depth: 1024, tokens: 2_097_152, bytes: 67_108_864 };

/** States of the lexer; the byte that ends `KEYWORD`, `ZERO` and the digit states is not theirs. */
const STATE = {
  START: 0,
  STRING: 1,
  ESCAPE: 2,
  KEYWORD: 3,
  MINUS: 4,
  ZERO: 5,
  INTEGER: 6,
  POINT: 7,
  FRACTION: 8,
  EXPONENT: 9,
  EXPONENT_SIGN: 10,
  EXPONENT_DIGITS: 11,
  SKIP: 12,
} as const;
type State = (typeof STATE)[keyof typeof STATE];

const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39;
const isLower = (byte: number): boolean => byte >= 0x61 && byte <= 0x7a;
const isBlank = (byte: number): boolean =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
/** Ends the skipping after a lexical error. */
const isRestart = (byte: number): boolean =>
  byte === 0x7b ||
  byte === 0x7d ||
  byte === 0x5b ||
  byte === 0x5d ||
  byte === 0x3a ||
  byte === 0x2c ||
  (byte < 0x20 && byte !== 0x09) ||
  byte >= 0xfe;

const mayEndNumber = (state: State): boolean =>
  state === STATE.ZERO ||
  state === STATE.INTEGER ||
  state === STATE.FRACTION ||
  state === STATE.EXPONENT_DIGITS;
/** State after a byte of a number; undefined when the byte does not continue it. */
const afterNumberByte = (state: State, byte: number): State | undefined => {
  if (isDigit(byte)) {
    if (state === STATE.ZERO) return undefined;
    if (state === STATE.MINUS) return byte === 0x30 ? STATE.ZERO : STATE.INTEGER;
    if (state === STATE.POINT) return STATE.FRACTION;
    return state === STATE.INTEGER || state === STATE.FRACTION ? state : STATE.EXPONENT_DIGITS;
  }
  const isWhole = state === STATE.ZERO || state === STATE.INTEGER;
  if (byte === 0x2e && isWhole) return STATE.POINT;
  const isPower = byte === 0x65 || byte === 0x45;
  if (isPower && (state === STATE.INTEGER || state === STATE.FRACTION)) return STATE.EXPONENT;
  const isSign = byte === 0x2b || byte === 0x2d;
  return isSign && state === STATE.EXPONENT ? STATE.EXPONENT_SIGN : undefined;
};

/** Text of an error that is a syntax error, cut as QEMU cuts it. */
const MAX_PROBLEM = 1023;
/** Texts longer than this are left to the byte lexer, so that values keep no large chunk alive. */
const WINDOW = 4096;

/**
 * A stream of JSON values in QMP's dialect, pulled one by one: a value may span chunks, and two may
 * share one. Nothing is looked at before it is asked for, so that a reader can stop in between.
 *
 * @see reference/qmp-protocol.md §1
 */
export class JsonStream {
  readonly #limits: JsonLimits;
  readonly #fast: FastReader | undefined;
  readonly #tokens = new Tokens();
  #chunks: Buffer[] = [];
  #buf: Buffer = Buffer.alloc(0);
  #pos = 0;
  /** Latin-1 text of a part of the chunk, for the fast reader, and where it starts. */
  #window = '';
  #windowAt = 0;
  /** False while the message at hand has been seen to need the byte lexer. */
  #mayBeFast = true;

  #state: State = STATE.START;
  #quote = 0;
  #isPlain = true;
  /** Where the token at hand starts in the chunk; what earlier chunks had of it is carried. */
  #begin = 0;
  #carried = Buffer.alloc(0);
  #carriedLen = 0;

  #braces = 0;
  #brackets = 0;
  #tokenBytes = 0;

  constructor(limits: JsonLimits = DEFAULT_LIMITS) {
    this.#limits = limits;
    const windowFits = limits.tokens > WINDOW && limits.bytes > WINDOW && limits.depth >= 32;
    this.#fast = windowFits ? new FastReader() : undefined;
  }

  /** Bytes that were pushed and not looked at yet. */
  get pending(): number {
    let count = this.#buf.length - this.#pos;
    for (const chunk of this.#chunks) count += chunk.length;
    return count;
  }

  /** Adds input; the stream keeps `bytes`, the caller must not change them. */
  push(bytes: Buffer): void {
    if (this.#pos < this.#buf.length) this.#chunks.push(bytes);
    else this.#enter(bytes);
  }

  /** The next message, or undefined when the input so far holds no complete one. */
  next(): JsonItem | undefined {
    for (;;) {
      if (this.#pos >= this.#buf.length) {
        const chunk = this.#chunks.shift();
        if (chunk === undefined) return undefined;
        this.#enter(chunk);
      }
      const item = this.#readFast() ?? this.#lex();
      if (item !== undefined) return item;
    }
  }

  #enter(chunk: Buffer): void {
    this.#buf = chunk;
    this.#pos = 0;
    this.#begin = 0;
    this.#window = '';
    this.#windowAt = 0;
    this.#mayBeFast = true;
  }

  #readFast(): JsonItem | undefined {
    if (!this.#mayBeFast || this.#fast === undefined) return undefined;
    if (this.#state !== STATE.START || this.#tokens.count > 0) return undefined;
    const buf = this.#buf;
    let pos = this.#pos;
    while (pos < buf.length && isBlank(buf[pos] ?? 0)) pos++;
    this.#pos = pos;
    if (buf[pos] !== 0x7b) return undefined;
    const value = this.#readWindow(this.#fast, pos);
    this.#mayBeFast = value !== undefined;
    return value === undefined ? undefined : { kind: 'value', value };
  }

  #readWindow(fast: FastReader, pos: number): JsonValue | undefined {
    let value = this.#window === '' ? undefined : fast.read(this.#window, pos - this.#windowAt);
    if (value === undefined && (this.#window === '' || pos > this.#windowAt)) {
      this.#window = this.#buf.toString('latin1', pos, Math.min(this.#buf.length, pos + WINDOW));
      this.#windowAt = pos;
      value = fast.read(this.#window, 0);
    }
    if (value !== undefined) this.#pos = this.#windowAt + fast.end;
    return value;
  }

  /** Reads bytes until a message ends or the chunk does. */
  #lex(): JsonItem | undefined {
    const buf = this.#buf;
    while (this.#pos < buf.length) {
      const item =
        this.#state === STATE.STRING ? this.#inString() : this.#byte(buf[this.#pos] ?? 0);
      if (item !== undefined) return item;
    }
    if (this.#state !== STATE.START && this.#state !== STATE.SKIP) this.#carry();
    return undefined;
  }

  #byte(byte: number): JsonItem | undefined {
    if (this.#state === STATE.START) return this.#start(byte);
    if (this.#state === STATE.SKIP) {
      if (isRestart(byte)) this.#state = STATE.START;
      else this.#pos++;
      return undefined;
    }
    if (this.#state === STATE.ESCAPE) {
      if (byte < 0x20 || byte >= 0xfe) return this.#stray();
      return this.#consume(STATE.STRING);
    }
    if (this.#state === STATE.KEYWORD)
      return isLower(byte) ? this.#consume(STATE.KEYWORD) : this.#endKeyword();
    return this.#inNumber(byte);
  }

  #start(byte: number): JsonItem | undefined {
    this.#begin = this.#pos;
    if (isBlank(byte)) {
      this.#pos++;
      return undefined;
    }
    switch (byte) {
      case 0x7b:
        return this.#structural('{', 1, 0);
      case 0x7d:
        return this.#structural('}', -1, 0);
      case 0x5b:
        return this.#structural('[', 0, 1);
      case 0x5d:
        return this.#structural(']', 0, -1);
      case 0x3a:
        return this.#structural(':', 0, 0);
      case 0x2c:
        return this.#structural(',', 0, 0);
      case 0x22:
      case 0x27:
        this.#quote = byte;
        this.#isPlain = true;
        return this.#consume(STATE.STRING);
      case 0x2d:
        return this.#consume(STATE.MINUS);
      case 0x30:
        return this.#consume(STATE.ZERO);
      default:
        if (isDigit(byte)) return this.#consume(STATE.INTEGER);
        if (isLower(byte)) return this.#consume(STATE.KEYWORD);
        return this.#stray();
    }
  }

  #structural(kind: '{' | '}' | '[' | ']' | ':' | ',', braces: number, brackets: number) {
    this.#pos++;
    this.#braces += braces;
    this.#brackets += brackets;
    return this.#token(kind, 1);
  }

  #inString(): JsonItem | undefined {
    const buf = this.#buf;
    const room = this.#limits.bytes + 1 - this.#carriedLen + this.#begin;
    const end = Math.min(buf.length, room);
    let pos = this.#pos;
    for (; pos < end; pos++) {
      const byte = buf[pos] ?? 0;
      if (byte === this.#quote) {
        this.#pos = pos + 1;
        return this.#endString();
      }
      if (byte === 0x5c) {
        this.#pos = pos;
        this.#isPlain = false;
        return this.#consume(STATE.ESCAPE);
      }
      if (byte < 0x20 || byte >= 0xfe) {
        this.#pos = pos;
        return this.#stray();
      }
      if (byte >= 0x80) this.#isPlain = false;
    }
    this.#pos = pos;
    return this.#checkLength();
  }

  #endString(): JsonItem | undefined {
    const raw = this.#take();
    const text = this.#isPlain ? raw.toString('latin1', 1, raw.length - 1) : decodeString(raw);
    if (text instanceof BadText) return this.#token('bad', raw.length, text.problem);
    return this.#token('value', raw.length, text);
  }

  #endKeyword(): JsonItem | undefined {
    const word = this.#take().toString('latin1');
    if (word === 'null') return this.#token('value', 4, null);
    if (word === 'true' || word === 'false')
      return this.#token('value', word.length, word === 'true');
    return this.#token('bad', word.length, `invalid keyword '${word}'`);
  }

  #inNumber(byte: number): JsonItem | undefined {
    const next = afterNumberByte(this.#state, byte);
    if (next !== undefined) return this.#consume(next);
    const isZeroDigit = this.#state === STATE.ZERO && isDigit(byte);
    return mayEndNumber(this.#state) && !isZeroDigit ? this.#endNumber() : this.#stray();
  }

  #endNumber(): JsonItem | undefined {
    const text = this.#take().toString('latin1');
    const value = parseNumber(text);
    if (value instanceof BadText) return this.#token('bad', text.length, value.problem);
    return this.#token('value', text.length, value);
  }

  /** Takes the byte at hand into the token. */
  #consume(state: State): JsonItem | undefined {
    this.#state = state;
    this.#pos++;
    return this.#checkLength();
  }

  /** A token that is too long is refused in its middle; what follows is read as fresh input. */
  #checkLength(): JsonItem | undefined {
    if (this.#carriedLen + this.#pos - this.#begin <= this.#limits.bytes) return undefined;
    this.#state = STATE.START;
    this.#carriedLen = 0;
    return this.#fail('JSON token size limit exceeded');
  }

  /** The bytes of the finished token; the lexer is at its start again. */
  #take(): Buffer {
    const part = this.#buf.subarray(this.#begin, this.#pos);
    this.#state = STATE.START;
    if (this.#carriedLen === 0) return part;
    const whole = Buffer.concat([this.#carried.subarray(0, this.#carriedLen), part]);
    this.#carriedLen = 0;
    this.#carried = Buffer.alloc(0);
    return whole;
  }

  /** Keeps the chunk's part of an unfinished token. */
  #carry(): void {
    const part = this.#buf.subarray(this.#begin, this.#pos);
    const needed = this.#carriedLen + part.length;
    if (needed > this.#carried.length) {
      const larger = Buffer.alloc(Math.max(64, needed * 2));
      this.#carried.copy(larger, 0, 0, this.#carriedLen);
      this.#carried = larger;
    }
    part.copy(this.#carried, this.#carriedLen);
    this.#carriedLen = needed;
  }

  /** The byte at hand fits nothing: it is used up, and what follows is skipped. */
  #stray(): JsonItem {
    this.#pos++;
    const raw = this.#take();
    this.#state = STATE.SKIP;
    const nul = raw.indexOf(0);
    const shown = showBytes(nul < 0 ? raw : raw.subarray(0, nul));
    return this.#fail(`JSON parse error, stray '${shown}'`);
  }

  #token(kind: Parameters<Tokens['add']>[0], len: number, value?: JsonValue): JsonItem | undefined {
    const { bytes, tokens, depth } = this.#limits;
    if (this.#tokenBytes + len + 1 > bytes) return this.#fail('JSON token size limit exceeded');
    if (this.#tokens.count >= tokens) return this.#fail('JSON token count limit exceeded');
    if (this.#braces + this.#brackets > depth)
      return this.#fail('JSON nesting depth limit exceeded');
    this.#tokenBytes += len;
    this.#tokens.add(kind, value);
    const isOpen = this.#braces > 0 || this.#brackets > 0;
    if (isOpen && this.#braces >= 0 && this.#brackets >= 0) return undefined;
    return this.#finish();
  }

  #finish(): JsonItem {
    try {
      const value = this.#tokens.parse();
      this.#clear();
      return { kind: 'value', value };
    } catch (error) {
      if (!(error instanceof SyntaxProblem)) throw error;
      return this.#fail(`JSON parse error, ${error.message.slice(0, MAX_PROBLEM)}`);
    }
  }

  #fail(desc: string): JsonItem {
    this.#clear();
    return { kind: 'error', desc };
  }

  #clear(): void {
    this.#tokens.clear();
    this.#braces = 0;
    this.#brackets = 0;
    this.#tokenBytes = 0;
    this.#mayBeFast = true;
  }
}

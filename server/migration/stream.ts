import { crc32 } from '../../devices/core/crc32.js';
import type { JsonValue } from '../../schema/json.js';
import { readJson } from '../framing/json-text.js';
import { writeJson } from '../framing/writer.js';

/**
 * The stream of a migration: a preamble, then frames, each numbered and checked. Both directions of
 * a socket carry such a stream; a file carries one.
 *
 * | offset | size | preamble |
 * | --- | --- | --- |
 * | 0 | 8 | `QMEMDMIG` |
 * | 8 | 4 | version, 1 |
 * | 12 | 4 | 0 |
 *
 * | offset | size | frame |
 * | --- | --- | --- |
 * | 0 | 2 | type |
 * | 2 | 2 | 0 |
 * | 4 | 4 | number: 0, 1, 2, ... |
 * | 8 | 4 | bytes of payload |
 * | 12 | 4 | CRC-32 of the 12 bytes before it and of the payload |
 * | 16 | | payload |
 *
 * Numbers are little-endian.
 */
export const MAGIC = Buffer.from('QMEMDMIG');
export const VERSION = 1;
export const PREAMBLE_BYTES = 16;
export const HEADER_BYTES = 16;
const CHECKED_BYTES = 12;

/** From the source: 1 to 15; from the destination: from 16 on. */
export const FRAME = {
  HELLO: 1,
  PAGES: 2,
  ZEROS: 3,
  PASS: 4,
  DEVICE: 5,
  PLATFORM: 6,
  END: 7,
  COMMIT: 8,
  ACCEPT: 16,
  REFUSE: 17,
  LOADED: 18,
  RUNS: 19,
} as const;
export type FrameType = (typeof FRAME)[keyof typeof FRAME];

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(FRAME).map(([name, type]) => [type, name]),
);
export const frameName = (type: number): string => NAMES.get(type) ?? `type ${String(type)}`;

/** Most pages in one frame, in bytes. */
export const MAX_PAGES = 256 * 1024;
/** Index of the memory, 0, offset in it. */
export const PLACE_BYTES = 16;
/** Most bytes of zeros that one frame stands for. */
export const MAX_ZEROS = 64 * 1024 * 1024;

export interface Frame {
  readonly type: number;
  /** Number of the frame. */
  readonly sequence: number;
  /** Valid during the call that delivers it. */
  readonly payload: Buffer;
}

/** A stream that is not as it must be; the text says where. */
export class StreamError extends Error {
  constructor(at: number, sequence: number, what: string, cause?: unknown) {
    super(`migration stream: byte ${String(at)}, frame ${String(sequence)}: ${what}`, { cause });
    this.name = 'StreamError';
  }
}

export const preamble = (): Buffer => {
  const bytes = Buffer.alloc(PREAMBLE_BYTES);
  MAGIC.copy(bytes);
  bytes.writeUInt32LE(VERSION, MAGIC.length);
  return bytes;
};

/** Writes frames, one after the other. */
export class FrameWriter {
  #sequence = 0;
  #digest = 0;

  /** CRC-32 of the headers of all frames so far. */
  get digest(): number {
    return this.#digest;
  }

  /** A frame around `payload`. */
  frame(type: FrameType, payload: Uint8Array = Buffer.alloc(0)): Buffer {
    const bytes = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
    bytes.set(payload, HEADER_BYTES);
    return this.seal(type, bytes);
  }
  /** Makes a frame of `bytes`, which have the payload behind room for the header. */
  seal(type: FrameType, bytes: Buffer): Buffer {
    bytes.writeUInt16LE(type, 0);
    bytes.writeUInt16LE(0, 2);
    bytes.writeUInt32LE(this.#sequence++, 4);
    bytes.writeUInt32LE(bytes.length - HEADER_BYTES, 8);
    bytes.writeUInt32LE(
      checksum(bytes.subarray(0, CHECKED_BYTES), bytes.subarray(HEADER_BYTES)),
      12,
    );
    this.#digest = crc32(bytes.subarray(0, HEADER_BYTES), this.#digest);
    return bytes;
  }
  json(type: FrameType, value: unknown): Buffer {
    return this.frame(type, Buffer.from(writeJson(value)));
  }
}

const checksum = (header: Uint8Array, payload: Uint8Array): number => crc32(payload, crc32(header));

export interface FrameReaderOptions {
  /** Most bytes of payload of a frame of that type; undefined for types that must not come. */
  readonly limit: (type: number) => number | undefined;
  /** What must come instead, for texts. */
  readonly expected?: () => string;
  readonly onFrame: (frame: Frame) => void;
}

/** Takes a stream apart. Holds at most one frame. */
export class FrameReader {
  readonly #options: FrameReaderOptions;
  /** What is being collected: the preamble, a header, a payload. */
  #into: Buffer = Buffer.allocUnsafe(PREAMBLE_BYTES);
  #have = 0;
  #stage: 'preamble' | 'header' | 'payload' = 'preamble';
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #pages: Buffer = Buffer.alloc(0);
  /** Place of the present frame in the stream. */
  #at = 0;
  #sequence = 0;
  #digest = 0;

  constructor(options: FrameReaderOptions) {
    this.#options = options;
  }

  /** Bytes of the stream before the frame at hand. */
  get offset(): number {
    return this.#at;
  }
  /** CRC-32 of the headers of all frames before the one at hand. */
  get digest(): number {
    return this.#digest;
  }
  /** Whether the stream may end here. */
  get atBoundary(): boolean {
    return this.#stage === 'header' && this.#have === 0;
  }

  /** @throws StreamError at the first thing that is wrong, or what `onFrame` throws */
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const count = Math.min(this.#into.length - this.#have, bytes.length - at);
      this.#into.set(bytes.subarray(at, at + count), this.#have);
      this.#have += count;
      at += count;
      while (this.#have === this.#into.length) this.#complete();
    }
  }
  /** A refusal of the frame at hand. */
  error(what: string, cause?: unknown): StreamError {
    return new StreamError(this.#at, this.#sequence, what, cause);
  }
  /** The stream is over. @throws StreamError in the middle of something */
  end(): void {
    if (!this.atBoundary) throw this.error('the stream ends in the middle of it');
  }

  #complete(): void {
    this.#have = 0;
    if (this.#stage === 'preamble') {
      this.#checkPreamble(this.#into);
      this.#at = PREAMBLE_BYTES;
      this.#expectHeader();
    } else if (this.#stage === 'header') this.#checkHeader();
    else this.#deliver();
  }
  #checkPreamble(bytes: Buffer): void {
    if (!bytes.subarray(0, MAGIC.length).equals(MAGIC))
      throw this.error('this is no migration stream of qmemd');
    const version = bytes.readUInt32LE(8);
    if (version !== VERSION)
      throw this.error(`stream version ${String(version)} is not ${String(VERSION)}`);
    if (bytes.readUInt32LE(12) !== 0) throw this.error('the reserved bytes are not zero');
  }
  #checkHeader(): void {
    const header = this.#header;
    const type = header.readUInt16LE(0);
    const length = header.readUInt32LE(8);
    const limit = this.#options.limit(type);
    if (limit === undefined) throw this.error(this.#outOfTurn(type));
    if (header.readUInt16LE(2) !== 0) throw this.error('the reserved bytes are not zero');
    const sequence = header.readUInt32LE(4);
    if (sequence !== this.#sequence) throw this.error(`its number is ${String(sequence)}`);
    if (length > limit)
      throw this.error(
        `${frameName(type)} of ${String(length)} bytes is above the limit of ${String(limit)}`,
      );
    this.#stage = 'payload';
    this.#into = type === FRAME.PAGES ? this.#room(length) : Buffer.allocUnsafe(length);
  }
  #outOfTurn(type: number): string {
    const text = `${frameName(type)} must not come here`;
    const { expected } = this.#options;
    return expected === undefined ? text : `${text}: ${expected()}`;
  }
  /** Pages are copied on at once, so that one buffer will do for all of them. */
  #room(length: number): Buffer {
    if (this.#pages.length < length) this.#pages = Buffer.allocUnsafeSlow(length);
    return this.#pages.subarray(0, length);
  }
  #deliver(): void {
    const payload = this.#into;
    const header = this.#header;
    const type = header.readUInt16LE(0);
    if (checksum(header.subarray(0, CHECKED_BYTES), payload) !== header.readUInt32LE(12))
      throw this.error(`the checksum of ${frameName(type)} is wrong`);
    const digest = crc32(header, this.#digest);
    this.#expectHeader();
    this.#options.onFrame({ type, sequence: this.#sequence, payload });
    this.#at += HEADER_BYTES + payload.length;
    this.#sequence++;
    this.#digest = digest;
  }
  #expectHeader(): void {
    this.#stage = 'header';
    this.#into = this.#header;
  }
}

/** The JSON of a payload, with exact integers; undefined when it is none. */
export const jsonOf = (payload: Uint8Array): JsonValue | undefined => {
  try {
    return readJson(Buffer.from(payload).toString('utf8'));
  } catch {
    return undefined;
  }
};

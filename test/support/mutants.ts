import { crc32 } from '../../devices/core/crc32.js';
import {
  FRAME,
  FrameReader,
  FrameWriter,
  preamble,
  type FrameType,
} from '../../server/migration/stream.js';

export interface Piece {
  readonly type: FrameType;
  readonly payload: Buffer;
}

/** The frames of a stream. */
export const piecesOf = (stream: Buffer): Piece[] => {
  const pieces: Piece[] = [];
  const reader = new FrameReader({
    limit: () => 1 << 30,
    onFrame: ({ type, payload }) =>
      void pieces.push({ type: type as FrameType, payload: Buffer.from(payload) }),
  });
  reader.push(stream);
  return pieces;
};
/**
 * A stream of frames with right numbers and checksums.
 *
 * @param isSealed whether END says so, too
 */
export const streamOf = (
  pieces: readonly Piece[],
  { isSealed = true }: { isSealed?: boolean } = {},
): Buffer => {
  const writer = new FrameWriter();
  const frames = pieces.map(({ type, payload }) => {
    const isEnd = isSealed && type === FRAME.END;
    return writer.frame(type, isEnd ? sealed(payload, writer.digest) : payload);
  });
  return Buffer.concat([preamble(), ...frames]);
};
const sealed = (end: Buffer, digest: number): Buffer =>
  Buffer.from(
    end.toString('latin1').replace(/"checksum": \d+/, `"checksum": ${String(digest)}`),
    'latin1',
  );

/** The same stream, of a source that waits for answers. */
export const asTwoWay = (stream: Buffer): Buffer => {
  const pieces = piecesOf(stream).map(({ type, payload }) => ({
    type,
    payload:
      type === FRAME.HELLO
        ? Buffer.from(payload.toString().replace('one-way', 'two-way'))
        : payload,
  }));
  return streamOf([...pieces, { type: FRAME.COMMIT, payload: Buffer.alloc(0) }]);
};

/** Damage, the same for the same seed. */
export class Mutator {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 1;
  }

  /** A damaged copy. */
  mutate(stream: Buffer): Buffer {
    const kinds = [
      () => this.#bits(stream),
      () => stream.subarray(0, this.below(stream.length)),
      () => this.#splice(stream),
      () => this.#reordered(stream),
      () => this.#inFrame(stream),
      () => this.#inFrame(stream),
      () => this.#inFrame(stream),
    ];
    return (kinds[this.below(kinds.length)] ?? (() => stream))();
  }
  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % Math.max(limit, 1);
  }

  #bits(stream: Buffer): Buffer {
    const bytes = Buffer.from(stream);
    for (let i = 0; i <= this.below(3); i++) {
      const at = this.below(bytes.length);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << this.below(8));
    }
    return bytes;
  }
  /** A range taken out, repeated, or replaced. */
  #splice(stream: Buffer): Buffer {
    const from = this.below(stream.length);
    const to = Math.min(stream.length, from + this.below(64));
    const middle = [
      Buffer.alloc(0),
      stream.subarray(from, to),
      Buffer.alloc(this.below(64), this.below(256)),
    ];
    const back = stream.subarray(this.below(2) === 0 ? from : to);
    return Buffer.concat([
      stream.subarray(0, from),
      middle[this.below(3)] ?? Buffer.alloc(0),
      back,
    ]);
  }
  /** A frame left out, repeated, moved, or renamed. */
  #reordered(stream: Buffer): Buffer {
    const pieces = piecesOf(stream);
    const at = this.below(pieces.length);
    const [piece] = pieces.splice(at, 1);
    const types = Object.values(FRAME);
    if (piece !== undefined)
      switch (this.below(4)) {
        case 0:
          break;
        case 1:
          pieces.splice(at, 0, piece, piece);
          break;
        case 2:
          pieces.splice(this.below(pieces.length + 1), 0, piece);
          break;
        default:
          pieces.splice(at, 0, { ...piece, type: types[this.below(types.length)] ?? FRAME.END });
      }
    return streamOf(pieces);
  }
  /** Bytes changed inside of a frame whose checksums are right again. */
  #inFrame(stream: Buffer): Buffer {
    const pieces = piecesOf(stream);
    const piece = pieces[this.below(pieces.length)];
    if (piece === undefined || piece.payload.length === 0) return this.#bits(stream);
    const { payload } = piece;
    for (let i = 0; i <= this.below(4); i++) {
      const at = this.below(payload.length);
      const isDigit = (payload[at] ?? 0) >= 0x30 && (payload[at] ?? 0) <= 0x39;
      payload[at] = isDigit && this.below(2) === 0 ? 0x30 + this.below(10) : this.below(256);
    }
    if (piece.type === FRAME.DEVICE) repairConfig(payload.subarray(8));
    if (piece.type === FRAME.PLATFORM) repairConfig(payload);
    return streamOf(pieces);
  }
}

/** Gives a saved configuration its checksum. */
const repairConfig = (bytes: Buffer): void => {
  if (bytes.length >= 16)
    bytes.writeUInt32LE(crc32(bytes.subarray(16), crc32(bytes.subarray(0, 12))), 12);
};

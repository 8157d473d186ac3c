import { crc32 } from '../../devices/core/crc32.js';

/*
 * A saved device as bytes; numbers little-endian.
 *
 *   head      32 bytes
 *     0  magic 89 51 4d 44 0d 0a 1a 0a
 *     8  u32 format version
 *    12  u32 bytes of the description
 *    16  u32 bytes of the configuration
 *    20  u32 CRC-32 of description and configuration
 *    24  u32 0
 *    28  u32 CRC-32 of the bytes before
 *   description, configuration
 *   blocks of memory, each
 *     0  u32 1
 *     4  u32 number of the memory, in the order of the description
 *     8  u32 runs
 *    12  u32 bytes of the payload
 *    16  u32 CRC-32 of the payload
 *    20  u64 0
 *    28  u32 CRC-32 of the bytes before
 *    32  payload: of each run u64 offset, u64 length; then the bytes of each run
 *   trailer   32 bytes
 *     0  u32 2
 *     4  u32 0
 *     8  u64 blocks
 *    16  u64 bytes of memory in the runs
 *    24  u32 CRC-32 of the head and the 32 bytes before the payload of each block
 *    28  u32 CRC-32 of the bytes before
 *
 * Memories and runs ascend and do not overlap; what no run has is zero. Nothing follows the trailer.
 */
export const FRAME = 32;
export const RUN = 16;
/** Bytes of memory in one block at most. */
export const BLOCK = 1 << 20;
/** Runs in one block at most. */
export const BLOCK_RUNS = 256;
/** Bytes of a description at most. */
export const LARGEST_DESCRIPTION = 1 << 20;
const FRAME_CRC = 28;
const FORMAT_VERSION = 1;
const MAGIC = 0x0a1a0a0d444d5189n;
const KIND = { BLOCK: 1, TRAILER: 2 } as const;

export interface Head {
  readonly description: number;
  readonly configuration: number;
  readonly crc: number;
}
export interface BlockFrame {
  readonly kind: 'block';
  readonly memory: number;
  readonly runs: number;
  readonly payload: number;
  readonly crc: number;
}
export interface Trailer {
  readonly kind: 'trailer';
  readonly blocks: bigint;
  readonly bytes: bigint;
  readonly crc: number;
}
/** A piece of one memory. */
export interface Run {
  readonly offset: bigint;
  readonly length: number;
}

/** What is wrong with saved bytes, as a clause that begins with the place: `at byte 8: ...`. */
export class DamagedState extends Error {
  constructor(at: number, what: string) {
    super(`at byte ${String(at)}: ${what}`);
    this.name = 'DamagedState';
  }
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const seal = (frame: Uint8Array, view: DataView): void =>
  view.setUint32(FRAME_CRC, crc32(frame.subarray(0, FRAME_CRC)), true);

export const writeHead = (into: Uint8Array, { description, configuration, crc }: Head): void => {
  const view = viewOf(into);
  view.setBigUint64(0, MAGIC, true);
  view.setUint32(8, FORMAT_VERSION, true);
  view.setUint32(12, description, true);
  view.setUint32(16, configuration, true);
  view.setUint32(20, crc, true);
  view.setUint32(24, 0, true);
  seal(into, view);
};

export const writeBlockFrame = (into: Uint8Array, frame: Omit<BlockFrame, 'kind'>): void => {
  const view = viewOf(into);
  view.setUint32(0, KIND.BLOCK, true);
  view.setUint32(4, frame.memory, true);
  view.setUint32(8, frame.runs, true);
  view.setUint32(12, frame.payload, true);
  view.setUint32(16, frame.crc, true);
  view.setBigUint64(20, 0n, true);
  seal(into, view);
};

export const writeTrailer = (
  into: Uint8Array,
  { blocks, bytes, crc }: Omit<Trailer, 'kind'>,
): void => {
  const view = viewOf(into);
  view.setUint32(0, KIND.TRAILER, true);
  view.setUint32(4, 0, true);
  view.setBigUint64(8, blocks, true);
  view.setBigUint64(16, bytes, true);
  view.setUint32(24, crc, true);
  seal(into, view);
};

/** @throws DamagedState */
export const readHead = (bytes: Uint8Array): Head => {
  const view = viewOf(bytes);
  if (view.getBigUint64(0, true) !== MAGIC)
    throw new DamagedState(0, 'this is no saved state of a device');
  checkSeal(bytes, view, 0);
  const version = view.getUint32(8, true);
  if (version !== FORMAT_VERSION)
    throw new DamagedState(8, `format version ${String(version)} is unknown, known is 1`);
  const description = view.getUint32(12, true);
  if (description > LARGEST_DESCRIPTION)
    throw new DamagedState(
      12,
      `a description of ${String(description)} bytes; at most ${String(LARGEST_DESCRIPTION)} are allowed`,
    );
  checkZero(view.getUint32(24, true) === 0, 24);
  return { description, configuration: view.getUint32(16, true), crc: view.getUint32(20, true) };
};

/** What stands before a payload, or ends everything. @throws DamagedState */
export const readFrame = (bytes: Uint8Array, at: number): BlockFrame | Trailer => {
  const view = viewOf(bytes);
  checkSeal(bytes, view, at);
  const kind = view.getUint32(0, true);
  if (kind === KIND.TRAILER) return readTrailer(view, at);
  if (kind !== KIND.BLOCK)
    throw new DamagedState(at, `${String(kind)} is neither a block nor the end`);
  const runs = view.getUint32(8, true);
  const payload = view.getUint32(12, true);
  if (runs < 1 || runs > BLOCK_RUNS)
    throw new DamagedState(at + 8, `a block of ${String(runs)} runs; 1 to 256 are allowed`);
  if (payload <= runs * RUN || payload > runs * RUN + BLOCK)
    throw new DamagedState(at + 12, `a payload of ${String(payload)} bytes does not fit its runs`);
  checkZero(view.getBigUint64(20, true) === 0n, at + 20);
  const [memory, crc] = [view.getUint32(4, true), view.getUint32(16, true)];
  return { kind: 'block', memory, runs, payload, crc };
};

const readTrailer = (view: DataView, at: number): Trailer => {
  checkZero(view.getUint32(4, true) === 0, at + 4);
  const [blocks, bytes] = [view.getBigUint64(8, true), view.getBigUint64(16, true)];
  return { kind: 'trailer', blocks, bytes, crc: view.getUint32(24, true) };
};

const checkSeal = (bytes: Uint8Array, view: DataView, at: number): void => {
  if (view.getUint32(FRAME_CRC, true) !== crc32(bytes.subarray(0, FRAME_CRC)))
    throw new DamagedState(at, 'wrong CRC-32');
};
const checkZero = (isZero: boolean, at: number): void => {
  if (!isZero) throw new DamagedState(at, 'a reserved field is not 0');
};

export const writeRun = (into: Uint8Array, at: number, { offset, length }: Run): void => {
  const view = viewOf(into);
  view.setBigUint64(at, offset, true);
  view.setBigUint64(at + 8, BigInt(length), true);
};

/**
 * The runs of a payload whose CRC-32 is right.
 *
 * @param at where the payload begins in the whole, for errors
 * @throws DamagedState
 */
export const readRuns = (frame: BlockFrame, payload: Uint8Array, at: number): Run[] => {
  const view = viewOf(payload);
  const runs: Run[] = [];
  let left = BigInt(frame.payload - frame.runs * RUN);
  for (let i = 0; i < frame.runs; i++) {
    const length = view.getBigUint64(i * RUN + 8, true);
    if (length === 0n || length > left)
      throw new DamagedState(at + i * RUN + 8, `a run of ${String(length)} bytes does not fit`);
    left -= length;
    runs.push({ offset: view.getBigUint64(i * RUN, true), length: Number(length) });
  }
  if (left > 0n)
    throw new DamagedState(at, `${String(left)} bytes of the payload belong to no run`);
  return runs;
};

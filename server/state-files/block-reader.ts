import { crc32 } from '../../devices/core/crc32.js';
import { decodeDescription, type Description } from './description.js';
import {
  BLOCK,
  BLOCK_RUNS,
  DamagedState,
  FRAME,
  RUN,
  readFrame,
  readHead,
  readRuns,
  type BlockFrame,
  type Run,
  type Trailer,
} from './layout.js';
import { QmpError } from '../../schema/error.js';

/** Where a state is read from. */
export interface Source {
  /** Bytes in all. */
  readonly length: number;
  /** Fills `into`. @throws DamagedState when there is not so much, HostError */
  read(position: number, into: Uint8Array): Promise<void>;
}

/** What stands before the blocks. */
export interface Opening {
  readonly description: Description;
  readonly configuration: Uint8Array;
  /** Where the blocks begin. */
  readonly position: number;
  readonly crc: number;
}

/** A verified piece of memory. */
export interface Piece extends Run {
  /** Number of the memory in the description. */
  readonly memory: number;
  readonly bytes: Uint8Array;
}

/** Reads what stands before the blocks. @throws DamagedState, HostError */
export const readOpening = async (source: Source): Promise<Opening> => {
  const head = await take(source, 0, FRAME);
  const { description: size, configuration: length, crc } = readHead(head);
  if (size + length > source.length - FRAME) throw new DamagedState(source.length, 'it ends here');
  const description = await take(source, FRAME, size);
  const configuration = await take(source, FRAME + size, length);
  if (crc32(configuration, crc32(description)) !== crc)
    throw new DamagedState(FRAME, 'wrong CRC-32 of description and configuration');
  return {
    description: describe(description),
    configuration,
    position: FRAME + size + length,
    crc: crc32(head),
  };
};

const describe = (bytes: Uint8Array): Description => {
  try {
    return decodeDescription(bytes);
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
    throw new DamagedState(FRAME, `description ${error.message}`);
  }
};

/**
 * Hands every piece of memory to `visit`, each of it verified, in order. While one block is visited
 * the next one is read.
 *
 * @throws DamagedState, HostError, what `visit` throws
 */
export const readBlocks = async (
  source: Source,
  opening: Opening,
  visit: (piece: Piece) => void | Promise<void>,
): Promise<Trailer> => {
  const order = new Order(opening.description);
  let at = opening.position;
  let frame = await take(source, at, FRAME);
  let [reading, other] = [room(source), room(source)];
  let crc = opening.crc;
  let blocks = 0n;
  let next = begin(source, frame, at, reading);
  while (next.frame.kind === 'block') {
    const { frame: block, filled } = next;
    const bytes = await filled;
    const start = at + FRAME;
    crc = crc32(frame, crc);
    blocks++;
    at = start + block.payload;
    frame = Buffer.from(bytes.subarray(block.payload));
    [reading, other] = [other, reading];
    next = begin(source, frame, at, reading);
    await visitBlock(block, bytes.subarray(0, block.payload), start, order, visit);
  }
  checkTrailer(next.frame, { kind: 'trailer', blocks, bytes: order.bytes, crc }, at);
  if (source.length !== at + FRAME)
    throw new DamagedState(at + FRAME, `${String(source.length - at - FRAME)} bytes too many`);
  return next.frame;
};

/** For a payload and the frame behind it. */
const room = ({ length }: Source): Buffer =>
  Buffer.allocUnsafe(Math.min(length, BLOCK_RUNS * RUN + BLOCK) + FRAME);

const NOTHING = Promise.resolve(new Uint8Array(0));

/** Begins to read what belongs to a frame. */
const begin = (
  source: Source,
  bytes: Uint8Array,
  at: number,
  into: Buffer,
): { frame: BlockFrame | Trailer; filled: Promise<Uint8Array> } => {
  const frame = readFrame(bytes, at);
  if (frame.kind === 'trailer') return { frame, filled: NOTHING };
  if (frame.payload > source.length - at - 2 * FRAME)
    throw new DamagedState(source.length, 'it ends here');
  const part = into.subarray(0, frame.payload + FRAME);
  const filled = source.read(at + FRAME, part).then(() => part);
  // A failure is told to the one who waits for it.
  filled.catch(() => undefined);
  return { frame, filled };
};

const visitBlock = async (
  frame: BlockFrame,
  payload: Uint8Array,
  at: number,
  order: Order,
  visit: (piece: Piece) => void | Promise<void>,
): Promise<void> => {
  if (crc32(payload) !== frame.crc) throw new DamagedState(at, 'wrong CRC-32');
  let from = frame.runs * RUN;
  const runs = readRuns(frame, payload, at);
  order.check(frame.memory, runs, at);
  for (const { offset, length } of runs) {
    const bytes = payload.subarray(from, from + length);
    await visit({ memory: frame.memory, offset, length, bytes });
    from += length;
  }
};

/** Runs must be inside their memory, behind those before. */
class Order {
  bytes = 0n;
  readonly #sizes: readonly bigint[];
  #memory = 0;
  #end = 0n;

  constructor({ memories }: Description) {
    this.#sizes = memories.map(({ size }) => size);
  }

  /** @throws DamagedState */
  check(memory: number, runs: readonly Run[], at: number): void {
    const size = this.#sizes[memory];
    if (size === undefined || memory < this.#memory)
      throw new DamagedState(at, `memory ${String(memory)} is not to be expected here`);
    if (memory > this.#memory) this.#end = 0n;
    this.#memory = memory;
    for (const [i, { offset, length }] of runs.entries()) {
      if (offset < this.#end || offset + BigInt(length) > size)
        throw new DamagedState(
          at + i * RUN,
          `${String(length)} bytes at offset ${String(offset)} of memory ${String(memory)} are not to be expected here`,
        );
      this.#end = offset + BigInt(length);
      this.bytes += BigInt(length);
    }
  }
}

const checkTrailer = (found: Trailer, counted: Trailer, at: number): void => {
  if (found.blocks !== counted.blocks || found.bytes !== counted.bytes)
    throw new DamagedState(
      at,
      `the end counts ${String(found.blocks)} blocks and ${String(found.bytes)} bytes, ` +
        `but ${String(counted.blocks)} and ${String(counted.bytes)} were there`,
    );
  if (found.crc !== counted.crc) throw new DamagedState(at, 'wrong CRC-32 of all frames');
};

const take = async (source: Source, position: number, length: number): Promise<Buffer> => {
  if (position + length > source.length) throw new DamagedState(source.length, 'it ends here');
  const bytes = Buffer.alloc(length);
  await source.read(position, bytes);
  return bytes;
};

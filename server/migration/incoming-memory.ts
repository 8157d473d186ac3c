import { refused } from '../../schema/error.js';
import { DIRTY_PAGE } from '../../devices/core/dirty-log.js';
import type { HostMemory } from '../../devices/core/host-memory.js';
import { clearMemory } from '../machine/clear-memory.js';
import { blockName, overlap, sharedObject, type Block } from './memories.js';
import { PassOrder } from './pass-order.js';
import type { Shape } from './shape.js';
import { MAX_ZEROS, PLACE_BYTES } from './stream.js';

const NOTHING = Buffer.alloc(64 * 1024);

interface Place {
  readonly index: number;
  readonly block: Block;
  readonly offset: bigint;
  readonly payload: Buffer;
}

/** The memory of a destination as it fills. */
export class IncomingMemory {
  /** By the numbers of the source. */
  readonly #blocks: readonly Block[];
  /** Numbers of memories that both sides have. */
  readonly shared: readonly number[];
  readonly #isSent: readonly boolean[];
  /** In which it comes. */
  readonly order: PassOrder;
  readonly #written = new Set<Block>();
  /** What the source had mapped, too: it has bytes of its own, which a failure does not clear. */
  readonly #lasting: ReadonlySet<Block>;

  /** @throws QmpError when memory that is not sent is not here either */
  constructor(shape: Shape, blocks: readonly Block[]) {
    const byName = new Map(blocks.map((block) => [blockName(block), block]));
    this.#blocks = shape.memories.flatMap((memory) => byName.get(blockName(memory)) ?? []);
    const same = shape.memories.map(({ object }, index) => this.#isSame(index, object));
    const elsewhere = this.#blocks.find(({ isBorrowed }, index) => isBorrowed && !same[index]);
    if (elsewhere !== undefined)
      throw refused(`${blockName(elsewhere)} is another object here, and others use it too`);
    if (shape['ignore-shared']) this.#checkShared(shape, same);
    this.shared = [...same.keys()].filter((index) => same[index] === true);
    // Who cannot hear what is shared sends it.
    const isKept = (index: number): boolean =>
      same[index] === true &&
      (shape.channel === 'two-way' ||
        shape['ignore-shared'] ||
        this.#blocks[index]?.isBorrowed === true);
    this.#isSent = shape.memories.map(({ readonly }, index) => !readonly && !isKept(index));
    this.#checkApart(shape, same);
    this.order = new PassOrder(this.#blocks, (index) => this.#isSent[index] === true);
    this.#lasting = new Set(this.#blocks.filter((_, index) => same[index] === true));
  }

  /** PAGES. @throws QmpError naming what is wrong */
  pages(payload: Buffer): void {
    const { index, block, offset, payload: data } = this.#place(payload);
    this.#checkRange(block, offset, BigInt(data.length));
    this.order.take(index, offset, BigInt(data.length));
    this.#written.add(block);
    if (!block.memory().write(offset, data))
      throw refused(`${blockName(block)} has no storage left`);
  }
  /** ZEROS. @throws QmpError naming what is wrong */
  zeros(payload: Buffer): void {
    const { index, block, offset, payload: rest } = this.#place(payload);
    if (rest.length !== 8) throw refused('zeros need a length');
    const length = rest.readBigUInt64LE();
    if (length > BigInt(MAX_ZEROS))
      throw refused(`${String(length)} bytes of zeros are above the limit of ${String(MAX_ZEROS)}`);
    this.#checkRange(block, offset, length);
    this.order.take(index, offset, length);
    if (!block.isTouched()) return;
    this.#written.add(block);
    zero(block.memory(), offset, length);
  }
  /**
   * Takes everything back that was written, while others are served; but for memory that the source
   * has, too.
   */
  async clear(): Promise<void> {
    for (const block of this.#written) {
      const { size: end, isThere } = block;
      if (!isThere() || this.#lasting.has(block)) continue;
      await clearMemory({ memory: block.memory(), start: 0n, end, isThere });
    }
    this.#written.clear();
  }

  #isSame(index: number, object: string | undefined): boolean {
    const block = this.#blocks[index];
    if (object === undefined || block === undefined || !block.isTouched()) return false;
    return sharedObject(block.memory()) === object;
  }
  #checkShared(shape: Shape, same: readonly boolean[]): void {
    const missing = shape.memories.findIndex(
      ({ object, readonly }, index) => object !== undefined && !readonly && same[index] !== true,
    );
    const block = this.#blocks[missing];
    if (block !== undefined)
      throw refused(`${blockName(block)} is another object here, and x-ignore-shared is on`);
  }
  /** What comes, and what is cleared after a failure, must not show in other memory of the source. */
  #checkApart({ memories }: Shape, same: readonly boolean[]): void {
    for (const [index, block] of this.#blocks.entries()) {
      if (this.#isSent[index] !== true || same[index] === true || !block.isTouched()) continue;
      const here = sharedObject(block.memory());
      if (here === undefined) continue;
      const changed = memories.find(({ object, origin, size }) => {
        const there = object ?? origin;
        return (
          there !== undefined &&
          overlap({ object: here, size: block.size }, { object: there, size })
        );
      });
      if (changed !== undefined)
        throw refused(
          `${blockName(block)} lies in a file of which the source has ${blockName(changed)}: what comes would change it there`,
        );
    }
  }
  #place(payload: Buffer): Place {
    if (payload.length < PLACE_BYTES) throw refused('there is no place for the bytes');
    const index = payload.readUInt32LE(0);
    const block = this.#blocks[index];
    if (block === undefined) throw refused(`there is no memory ${String(index)}`);
    if (this.#isSent[index] !== true) throw refused(`${blockName(block)} is not to be sent`);
    if (payload.readUInt32LE(4) !== 0) throw refused('the reserved bytes are not zero');
    const offset = payload.readBigUInt64LE(8);
    return { index, block, offset, payload: payload.subarray(PLACE_BYTES) };
  }
  #checkRange(block: Block, offset: bigint, length: bigint): void {
    const end = offset + length;
    const page = BigInt(DIRTY_PAGE);
    const isWhole = offset % page === 0n && (end % page === 0n || end === block.size);
    if (length === 0n || !isWhole)
      throw refused(
        `${String(length)} bytes at ${String(offset)} of ${blockName(block)} are no whole pages`,
      );
    if (end > block.size)
      throw refused(
        `${String(length)} bytes at ${String(offset)} are beyond the end of ${blockName(block)} at ${String(block.size)}`,
      );
  }
}

/** What is zero already is not touched, so that it gets no storage. */
const zero = (memory: HostMemory, offset: bigint, length: bigint): void => {
  if (memory.readonly) return;
  const old = Buffer.allocUnsafe(NOTHING.length);
  const end = offset + length;
  for (let at = nextStored(memory, offset); at < end; at = nextStored(memory, at)) {
    const count = Number(end - at < BigInt(NOTHING.length) ? end - at : NOTHING.length);
    const piece = old.subarray(0, count);
    const nothing = NOTHING.subarray(0, count);
    memory.read(at, piece);
    if (!piece.equals(nothing)) memory.write(at, nothing);
    at += BigInt(count);
  }
};

/** Where the next byte may be that is not zero. */
const nextStored = (memory: HostMemory, from: bigint): bigint => {
  if (memory.stored === undefined || from >= memory.size) return from;
  return memory.stored(from)?.start ?? memory.size;
};

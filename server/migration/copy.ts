import { DirtyLog, DIRTY_PAGE, type DirtyRun } from '../../devices/core/dirty-log.js';
import type { HostMemory } from '../../devices/core/host-memory.js';
import { refused } from '../../schema/error.js';
import { blockName, type Block } from './memories.js';
import type { Counts } from './progress.js';
import type { Pace } from './rate.js';
import {
  FRAME,
  HEADER_BYTES,
  MAX_PAGES,
  MAX_ZEROS,
  PLACE_BYTES,
  type FrameWriter,
} from './stream.js';

const FRONT = HEADER_BYTES + PLACE_BYTES;
const NOTHING = Buffer.alloc(MAX_PAGES);
const MAX_RUN_PAGES = MAX_PAGES / DIRTY_PAGE;

/** Memory on its way: which pages are still to go. */
interface Copied {
  readonly index: number;
  readonly block: Block;
  /** Undefined for memory that nobody has touched so far. */
  memory: HostMemory | undefined;
  log: DirtyLog | undefined;
  /** Pages that were written since the pass began, whether they were sent by then or not. */
  written: DirtyLog | undefined;
  /** Ranges that read 0, as nobody has written there, and that have not been sent. */
  holes: DirtyRun[];
}

/** A run of zeros that may grow. */
interface Zeros {
  readonly index: number;
  readonly offset: number;
  length: number;
}

export interface CopierOptions {
  readonly blocks: readonly Block[];
  /** Whether the block of that number is sent. */
  readonly isSent: (index: number) => boolean;
  readonly writer: FrameWriter;
  /** Resolves when there is room for more. */
  readonly send: (bytes: Buffer, onSent?: () => void) => Promise<void> | undefined;
  readonly counts: Counts;
  readonly pace: Pace;
}

/** Sends memory, pass by pass, while it is being written. */
export class Copier {
  readonly #options: CopierOptions;
  readonly #copied: Copied[];
  #zeros: Zeros | undefined;
  /** Buffers that nobody reads any more; what is under way bounds their number. */
  readonly #free: Buffer[] = [];

  /** All is to be sent at first. */
  constructor(options: CopierOptions) {
    this.#options = options;
    this.#copied = options.blocks
      .map((block, index): Copied => ({
        index,
        block,
        memory: undefined,
        log: undefined,
        written: undefined,
        holes: [{ offset: 0, length: Number(block.size) }],
      }))
      .filter(({ index }) => options.isSent(index));
    options.counts.total = this.#copied.reduce((sum, { block }) => sum + Number(block.size), 0);
    options.counts.remaining = () => this.dirtyBytes;
    for (const copied of this.#copied) this.#watch(copied);
  }

  /** Bytes that are still to go. */
  get dirtyBytes(): number {
    return this.#copied.reduce(
      (sum, { block, log }) =>
        sum + (log === undefined ? 0 : Math.min(log.dirtyPages * DIRTY_PAGE, Number(block.size))),
      0,
    );
  }

  /** Pages that were written during the last pass. */
  get writtenPages(): number {
    return this.#copied.reduce((sum, { written }) => sum + (written?.dirtyPages ?? 0), 0);
  }

  /**
   * Sends every page that is dirty when its turn comes, from the first one on.
   *
   * @throws QmpError when memory is gone
   */
  async pass(isLimited: boolean): Promise<void> {
    for (const { written } of this.#copied) written?.clear();
    for (const copied of this.#copied) {
      if (copied.log === undefined) this.#watch(copied);
      const holes = copied.holes.splice(0);
      let page = 0;
      for (;;) {
        this.#checkThere(copied.block);
        const runs = copied.log?.take(page, MAX_RUN_PAGES) ?? [];
        const last = runs.at(-1);
        if (last === undefined) break;
        for (const { offset, length } of runs) {
          await this.#sendHoles(copied.index, holes, offset);
          cutBefore(holes, offset + length);
          await this.#run(copied, offset, length, isLimited);
        }
        page = Math.ceil((last.offset + last.length) / DIRTY_PAGE);
      }
      await this.#sendHoles(copied.index, holes, Infinity);
    }
    await this.#flushZeros();
  }

  /** Stops watching. */
  close(): void {
    for (const { log, written } of this.#copied) {
      log?.close();
      written?.close();
    }
  }

  /** Memory that is still as it was made is all zeros: it is sent as such, once. */
  #watch(copied: Copied): void {
    if (!copied.block.isTouched()) return;
    copied.memory = copied.block.memory();
    copied.log = new DirtyLog(copied.memory);
    copied.written = new DirtyLog(copied.memory);
    copied.holes = markStored(copied.memory, copied.log);
  }
  /** Sends what of them lies before `end`. */
  async #sendHoles(index: number, holes: DirtyRun[], end: number): Promise<void> {
    for (const { offset, length } of cutBefore(holes, end)) {
      this.#options.counts.holes += pagesIn(length);
      for (let at = 0; at < length; at += MAX_ZEROS)
        await this.#addZeros(index, offset + at, Math.min(MAX_ZEROS, length - at));
    }
  }
  #checkThere(block: Block): void {
    if (!block.isThere()) throw refused(`${blockName(block)} has left during the migration`);
  }

  async #run(copied: Copied, offset: number, length: number, isLimited: boolean): Promise<void> {
    const { counts, pace } = this.#options;
    const before = counts.transferred;
    const room = this.#free.pop() ?? Buffer.allocUnsafeSlow(FRONT + MAX_PAGES);
    const bytes = room.subarray(0, FRONT + length);
    const data = bytes.subarray(FRONT);
    if (copied.memory?.read(BigInt(offset), data) !== true)
      throw refused(`${blockName(copied.block)} is gone: its file is too short by now`);
    const ranges = filled(data);
    const isWhole = ranges.length === 1 && !isZero(data);
    if (isWhole) await this.#sendPages(copied.index, offset, bytes, () => this.#free.push(room));
    else {
      for (const [from, to] of ranges)
        await this.#piece(copied.index, offset + from, data.subarray(from, to));
      this.#free.push(room);
    }
    await pace.spend(counts.transferred - before, isLimited);
  }

  /** Pages that are all zeros, or have none. */
  async #piece(index: number, offset: number, data: Buffer): Promise<void> {
    if (isZero(data)) {
      await this.#addZeros(index, offset, data.length);
      return;
    }
    const bytes = Buffer.allocUnsafe(FRONT + data.length);
    data.copy(bytes, FRONT);
    await this.#sendPages(index, offset, bytes);
  }
  async #sendPages(
    index: number,
    offset: number,
    bytes: Buffer,
    onSent?: () => void,
  ): Promise<void> {
    await this.#flushZeros();
    writePlace(bytes, index, offset);
    this.#options.counts.normal += pagesIn(bytes.length - FRONT);
    await this.#send(this.#options.writer.seal(FRAME.PAGES, bytes), onSent);
  }

  async #addZeros(index: number, offset: number, length: number): Promise<void> {
    const { counts } = this.#options;
    counts.duplicate += pagesIn(length);
    const zeros = this.#zeros;
    const joins = zeros?.index === index && zeros.offset + zeros.length === offset;
    if (zeros !== undefined && joins && zeros.length + length <= MAX_ZEROS) {
      zeros.length += length;
      return;
    }
    await this.#flushZeros();
    this.#zeros = { index, offset, length };
  }
  async #flushZeros(): Promise<void> {
    const zeros = this.#zeros;
    if (zeros === undefined) return;
    this.#zeros = undefined;
    const bytes = Buffer.alloc(FRONT + 8);
    writePlace(bytes, zeros.index, zeros.offset);
    bytes.writeBigUInt64LE(BigInt(zeros.length), FRONT);
    await this.#send(this.#options.writer.seal(FRAME.ZEROS, bytes));
  }

  async #send(bytes: Buffer, onSent?: () => void): Promise<void> {
    this.#options.counts.transferred += bytes.length;
    const room = this.#options.send(bytes, onSent);
    if (room !== undefined) await room;
  }
}

/** Makes every page dirty that may hold anything but zeros. @returns the rest, in whole pages */
const markStored = (memory: HostMemory, log: DirtyLog): DirtyRun[] => {
  if (memory.stored === undefined) {
    log.markAll();
    return [];
  }
  const holes: DirtyRun[] = [];
  let at = 0;
  while (at < log.size) {
    const stored = memory.stored(BigInt(at));
    const start = stored === undefined ? log.size : Math.max(at, pageFloor(Number(stored.start)));
    const end = stored === undefined ? log.size : pageCeil(Number(stored.end), log.size);
    if (start > at) holes.push({ offset: at, length: start - at });
    log.mark(start, end - start);
    // A search that did not get on is not repeated: the rest is looked at page by page.
    if (stored !== undefined && end <= at && start <= at) {
      log.mark(at, log.size - at);
      break;
    }
    at = Math.max(end, start);
  }
  return holes;
};
/** Takes away what lies before `end`. @returns it */
const cutBefore = (holes: DirtyRun[], end: number): DirtyRun[] => {
  const cut = holes.filter(({ offset }) => offset < end);
  const last = cut.at(-1);
  holes.splice(0, cut.length);
  if (last === undefined || last.offset + last.length <= end) return cut;
  holes.unshift({ offset: end, length: last.offset + last.length - end });
  return [...cut.slice(0, -1), { offset: last.offset, length: end - last.offset }];
};
const pageFloor = (offset: number): number => offset - (offset % DIRTY_PAGE);
const pageCeil = (offset: number, size: number): number =>
  Math.min(size, pageFloor(offset + DIRTY_PAGE - 1));

const pagesIn = (length: number): number => Math.ceil(length / DIRTY_PAGE);

const isZero = (bytes: Buffer): boolean =>
  bytes[0] === 0 && bytes.equals(NOTHING.subarray(0, bytes.length));

/** Ranges of `data` that are all zeros or have none: cut where a page of zeros begins or ends. */
const filled = (data: Buffer): [number, number][] => {
  const ranges: [number, number][] = [];
  let start = 0;
  let isPrevious: boolean | undefined;
  for (let at = 0; at < data.length; at += DIRTY_PAGE) {
    const is = data[at] === 0 && isZero(data.subarray(at, at + DIRTY_PAGE));
    if (isPrevious !== undefined && is !== isPrevious) {
      ranges.push([start, at]);
      start = at;
    }
    isPrevious = is;
  }
  ranges.push([start, data.length]);
  return ranges;
};

const writePlace = (bytes: Buffer, index: number, offset: number): void => {
  bytes.writeUInt32LE(index, HEADER_BYTES);
  bytes.writeUInt32LE(0, HEADER_BYTES + 4);
  bytes.writeBigUInt64LE(BigInt(offset), HEADER_BYTES + 8);
};

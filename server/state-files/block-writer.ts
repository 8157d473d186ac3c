import { setImmediate } from 'node:timers/promises';
import { crc32 } from '../../devices/core/crc32.js';
import type { HostMemory, StoredRange } from '../../devices/core/host-memory.js';
import {
  BLOCK,
  BLOCK_RUNS,
  FRAME,
  RUN,
  writeBlockFrame,
  writeHead,
  writeRun,
  writeTrailer,
  type Run,
} from './layout.js';

/** Where a state is written to; several writes may be under way. */
export interface Sink {
  /** `bytes` stay as they are until it is done. @throws HostError, QmpError */
  write(bytes: Uint8Array, position: number): Promise<void>;
}

/** Zero pages of that many bytes are left out. */
const PAGE = 4096;
const ZEROS = Buffer.alloc(PAGE);
/** Where the bytes of the runs begin, so that the runs and the frame fit before them. */
const DATA = FRAME + BLOCK_RUNS * RUN;

/** A block that is being filled, and what became of it the last time. */
interface Filling {
  readonly bytes: Buffer;
  runs: Run[];
  length: number;
  written: Promise<void>;
}
const emptyBlock = (): Filling => ({
  bytes: Buffer.allocUnsafe(DATA + BLOCK),
  runs: [],
  length: 0,
  written: Promise.resolve(),
});

/** Writes the state of a device; see layout.ts. While one block is written the next one is filled. */
export class StateWriter {
  readonly #sink: Sink;
  readonly #check: () => void;
  #filling = emptyBlock();
  #writing = emptyBlock();
  #position = 0;
  #crc = 0;
  #blocks = 0n;
  #bytes = 0n;

  /** @param check throws when the work is to end; called again and again */
  constructor(sink: Sink, check: () => void) {
    this.#sink = sink;
    this.#check = check;
  }

  /** Bytes written so far, head and all. */
  get position(): number {
    return this.#position;
  }

  /** Once, first. */
  async begin(description: Uint8Array, configuration: Uint8Array): Promise<void> {
    const head = Buffer.alloc(FRAME);
    const crc = crc32(configuration, crc32(description));
    writeHead(head, { description: description.length, configuration: configuration.length, crc });
    this.#crc = crc32(head);
    for (const part of [head, description, configuration]) await this.#append(part);
  }

  /** The bytes of one memory that are not zero; memories in ascending order of `index`. */
  async memory(index: number, memory: HostMemory): Promise<void> {
    for (let at = 0n; at < memory.size;) {
      const range = stored(memory, at);
      if (range === undefined) break;
      await this.#range(index, memory, range);
      at = range.end;
    }
    await this.#flush(index);
  }

  /** Once, last: everything has been handed to the sink, which has taken it. */
  async end(): Promise<void> {
    const trailer = Buffer.alloc(FRAME);
    writeTrailer(trailer, { blocks: this.#blocks, bytes: this.#bytes, crc: this.#crc });
    await this.#append(trailer);
    await this.settle();
  }
  /** Settles when no write is under way. @throws what a write threw */
  async settle(): Promise<void> {
    await this.#writing.written;
    await this.#filling.written;
  }

  async #range(index: number, memory: HostMemory, { start, end }: StoredRange): Promise<void> {
    for (let at = start; ;) {
      // Others are served.
      await setImmediate();
      this.#check();
      if (at >= end) return;
      const block = this.#filling;
      const room = BigInt(BLOCK - block.length);
      const length = Number(end - at < room ? end - at : room);
      const into = block.bytes.subarray(DATA + block.length, DATA + block.length + length);
      if (!memory.read(at, into)) throw new MemoryGone();
      keep(block, at, length);
      if (block.length === BLOCK) await this.#flush(index);
      at += BigInt(length);
    }
  }

  async #flush(index: number): Promise<void> {
    const block = this.#filling;
    const { runs, length } = block;
    if (runs.length === 0) return;
    const payload = runs.length * RUN + length;
    const start = DATA - runs.length * RUN;
    for (const [i, run] of runs.entries()) writeRun(block.bytes, start + i * RUN, run);
    const crc = crc32(block.bytes.subarray(start, start + payload));
    const bytes = block.bytes.subarray(start - FRAME, start + payload);
    writeBlockFrame(bytes, { memory: index, runs: runs.length, payload, crc });
    this.#crc = crc32(bytes.subarray(0, FRAME), this.#crc);
    this.#blocks++;
    this.#bytes += BigInt(length);
    block.runs = [];
    block.length = 0;
    block.written = this.#append(bytes);
    // A failure is told to the one who waits for it.
    block.written.catch(() => undefined);
    this.#filling = this.#writing;
    this.#writing = block;
    await this.#filling.written;
  }

  async #append(bytes: Uint8Array): Promise<void> {
    const at = this.#position;
    this.#position += bytes.length;
    await this.#sink.write(bytes, at);
  }
}

/** The bytes of a memory are not there any more: somebody made its file shorter. */
export class MemoryGone extends Error {
  constructor() {
    super('memory is gone: its file is too short by now');
    this.name = 'MemoryGone';
  }
}

/** The next piece that is worth reading, in whole pages. */
const stored = (memory: HostMemory, from: bigint): StoredRange | undefined => {
  if (memory.stored === undefined) return { start: from, end: memory.size };
  const found = memory.stored(from);
  if (found === undefined) return undefined;
  const page = BigInt(PAGE);
  const start = found.start - (found.start % page);
  const end = ((found.end + page - 1n) / page) * page;
  return { start: start < from ? from : start, end: end < memory.size ? end : memory.size };
};

/** Takes `length` bytes that stand behind those of the block, without those of zero pages. */
const keep = (block: Filling, offset: bigint, length: number): void => {
  const { bytes } = block;
  const first = DATA + block.length;
  for (let at = 0; at < length; at += PAGE) {
    const n = Math.min(PAGE, length - at);
    const from = first + at;
    if (bytes[from] === 0 && bytes.compare(ZEROS, 0, n, from, from + n) === 0) continue;
    const to = DATA + block.length;
    if (to !== from) bytes.copyWithin(to, from, from + n);
    block.length += n;
    addRun(block.runs, offset + BigInt(at), n);
  }
};
const addRun = (runs: Run[], offset: bigint, length: number): void => {
  const last = runs.at(-1);
  if (last !== undefined && last.offset + BigInt(last.length) === offset)
    runs[runs.length - 1] = { offset: last.offset, length: last.length + length };
  else runs.push({ offset, length });
};

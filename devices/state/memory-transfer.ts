import { DIRTY_PAGE } from '../core/dirty-log.js';
import type { OwnMemories } from '../core/own-memory.js';
import { CONTAINER_HEADER, readContainer, RECORD_HEADER, writeContainer } from './container.js';
import { checkPosition, StateError, tooBig } from './errno.js';
import { Incoming } from './incoming.js';
import { StateMemory } from './memory.js';

/** Whole snapshots of the memory of one device, outside LOGGING, and its loads. */
export class MemoryTransfer {
  readonly #memories: OwnMemories;
  readonly #limit: number;
  #snapshot: Uint8Array | undefined;
  #incoming: Incoming | undefined;

  /** @param limit most bytes of memory that a snapshot or a load holds */
  constructor(memories: OwnMemories, limit: number) {
    this.#memories = memories;
    this.#limit = limit;
  }

  /** Bytes of memory. */
  get capacity(): number {
    return Number(new StateMemory(this.#memories).size);
  }
  /** Length of a snapshot. */
  get size(): number {
    return CONTAINER_HEADER + RECORD_HEADER + this.capacity;
  }
  /** Forgets the snapshot that chunks are fetched from. */
  forget(): void {
    this.#snapshot = undefined;
  }
  /**
   * A chunk of a snapshot, which the first chunk takes anew.
   *
   * @throws StateError EINVAL beyond the data, EFBIG when it is too much at a time, EIO
   */
  chunk(pos: bigint, length: number): Uint8Array {
    checkPosition(pos, this.size);
    if (pos === 0n || this.#snapshot === undefined) this.#snapshot = this.#take();
    const at = Number(pos);
    const chunk = this.#snapshot.subarray(at, at + length);
    if (at + length >= this.#snapshot.length) this.#snapshot = undefined;
    return chunk;
  }
  #take(): Uint8Array {
    const memory = new StateMemory(this.#memories);
    if (memory.size > BigInt(this.#limit)) throw tooBig('memory', memory.size, BigInt(this.#limit));
    const capacity = Number(memory.size);
    let there = true;
    const stream = writeContainer(
      { kind: 'memory', capacity, logging: false, pass: 0 },
      [{ offset: 0, length: capacity }],
      (offset, into) => {
        there = memory.read(offset, into);
      },
    );
    if (!there) throw new StateError('EIO', 'bytes of the device memory are gone');
    return stream;
  }

  /** Announced length; undefined when no load is under way. */
  get announced(): number | undefined {
    return this.#incoming?.size;
  }
  /** Bytes of the largest container that can be loaded: all of the memory, page by page. */
  get #most(): number {
    const most = Math.min(this.capacity, this.#limit);
    return CONTAINER_HEADER + Math.ceil(most / DIRTY_PAGE) * RECORD_HEADER + most;
  }
  /** Announces what will be loaded; 0 abandons the load. @throws StateError EFBIG */
  announce(size: bigint): void {
    if (size > BigInt(this.#most)) throw tooBig('memory', size, BigInt(this.#most));
    this.#incoming = size === 0n ? undefined : new Incoming(Number(size));
  }
  abandon(): void {
    this.#incoming = undefined;
  }
  /**
   * Takes a chunk; the last one that is missing loads everything.
   *
   * @throws StateError EINVAL when nothing was announced, beyond it, or when the data is refused:
   * nothing of it is applied, and every chunk is missing again
   */
  put(pos: bigint, chunk: Uint8Array): void {
    const incoming = this.#incoming;
    if (incoming === undefined) throw new StateError('EINVAL', 'no length of the memory was set');
    checkPosition(pos, incoming.size);
    const bytes = incoming.put(Number(pos), chunk);
    if (bytes === undefined) return;
    try {
      this.#apply(bytes);
      this.#incoming = undefined;
    } catch (error) {
      incoming.restart();
      throw error;
    }
  }
  #apply(bytes: Uint8Array): void {
    const memory = new StateMemory(this.#memories);
    const records = readContainer(bytes, 'memory', Number(memory.size));
    for (const { offset, data } of records)
      if (!memory.write(offset, data))
        throw new StateError('EIO', 'bytes of the device memory are gone');
  }
}

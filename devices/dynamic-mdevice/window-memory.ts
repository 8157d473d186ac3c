import { HostError } from '../core/host-memory.js';
import type {
  AccessSize,
  HostFile,
  HostMapping,
  HostMemory,
  StoredRange,
} from '../core/host-memory.js';
import { bytesFromInt, intFromBytes } from '../core/memory-region.js';

type WriteHook = (offset: bigint, len: number) => void;

const smaller = (a: bigint, b: bigint): bigint => (a < b ? a : b);
/** Most bytes whose storage is looked for at once: files can be larger than an address space. */
const LOOKED_AT = 1n << 36n;

/**
 * The part of a file that can be attached, as memory to save, load and watch. Nothing stays mapped:
 * each access maps the pages that it needs, and attachments have mappings of their own.
 */
export class WindowMemory implements HostMemory {
  readonly size: bigint;
  readonly readonly = false;
  readonly descriptor: { readonly fd: number; readonly offset: bigint };
  /** First byte of it in the file. */
  readonly offset: bigint;
  readonly #file: HostFile;
  readonly #pageSize: bigint;
  readonly #hooks = new Set<WriteHook>();

  /** @param range begins at a page of the file */
  constructor(
    file: HostFile,
    range: { readonly offset: bigint; readonly size: bigint },
    pageSize: bigint,
  ) {
    this.#file = file;
    this.#pageSize = pageSize;
    this.offset = range.offset;
    this.size = range.size;
    this.descriptor = { fd: file.fd, offset: range.offset };
  }

  /** Tells of the writes through a mapping that lies at `offset` of the window, until it is closed. */
  follow(mapping: HostMapping, offset: bigint): void {
    mapping.onWrite((at, len) => this.#changed(offset + at, len));
  }

  read(offset: bigint, into: Uint8Array): boolean {
    const done = this.#mapped(offset, into.length, (mapping, at) => mapping.read(at, into));
    if (done !== true) into.fill(0);
    return done === true;
  }
  write(offset: bigint, from: Uint8Array): boolean {
    const done = this.#mapped(offset, from.length, (mapping, at) => mapping.write(at, from));
    this.#changed(offset, from.length);
    return done === true;
  }
  readInt(offset: bigint, size: AccessSize): bigint {
    const bytes = new Uint8Array(size);
    this.read(offset, bytes);
    return intFromBytes(bytes);
  }
  writeInt(offset: bigint, size: AccessSize, value: bigint): void {
    const bytes = new Uint8Array(size);
    bytesFromInt(BigInt.asUintN(8 * size, value), bytes);
    this.write(offset, bytes);
  }
  clear(offset: bigint, size: bigint): boolean {
    const done = this.#mapped(offset, Number(size), (mapping, at) => mapping.clear?.(at, size));
    if (done === true) this.#changed(offset, Number(size));
    return done === true;
  }

  stored(from: bigint): StoredRange | undefined {
    const end = smaller(this.size, from + LOOKED_AT);
    if (from === end) return undefined;
    const found = this.#mapped(from, Number(end - from), (mapping, at) => {
      if (mapping.stored === undefined) return { start: at, end: mapping.size };
      return mapping.stored(at);
    });
    if (found === undefined) return end === this.size ? undefined : { start: end, end };
    const shift = from - (from % this.#pageSize);
    return { start: found.start + shift, end: smaller(found.end + shift, end) };
  }

  onWrite(hook: WriteHook): () => void {
    const own: WriteHook = (offset, len) => hook(offset, len);
    this.#hooks.add(own);
    return () => void this.#hooks.delete(own);
  }
  #changed(offset: bigint, len: number): void {
    for (const hook of this.#hooks) hook(offset, len);
  }

  /** Runs `work` on a mapping of some bytes, which are at `at` of it; undefined when there is none. */
  #mapped<T>(
    offset: bigint,
    length: number,
    work: (mapping: HostMapping, at: bigint) => T,
  ): T | undefined {
    const end = offset + BigInt(length);
    if (offset < 0n || end > this.size)
      throw new RangeError(`${String(length)} bytes at ${String(offset)} are outside the window`);
    if (length === 0) return undefined;
    const at = offset % this.#pageSize;
    let mapping: HostMapping;
    try {
      const options = { share: true, readonly: false };
      mapping = this.#file.map(this.offset + offset - at, BigInt(length) + at, options);
    } catch (error) {
      if (error instanceof HostError) return undefined;
      throw error;
    }
    try {
      return work(mapping, at);
    } finally {
      mapping.close();
    }
  }
}

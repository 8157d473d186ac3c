import { fstatSync } from 'node:fs';
import { freemem } from 'node:os';
import { HostError } from '../../devices/core/host-memory.js';
import type {
  AccessSize,
  FilePlace,
  HostMapping,
  NumaPolicy,
  StoredRange,
} from '../../devices/core/host-memory.js';
import { Flushes } from './flushes.js';
import { guardedAccess, ViewAccess, type Access } from './mapping-access.js';
import type { MapRequest, MemoryCalls } from './memory-calls.js';
import { storedInFile, storedInProcess } from './stored-ranges.js';

export interface MappingOptions extends MapRequest {
  /**
   * Copy by calls that fail instead of faulting: for memory that somebody else can shrink or that
   * the host may fail to back. Otherwise memory is touched through views.
   */
  readonly guarded: boolean;
  /** The descriptor is of memory without a limit of its own, unlike a file in a file system. */
  readonly unlimited?: boolean;
  /**
   * For descriptors of regular files, which can be read and written by them as well: whether the
   * descriptor is still open.
   */
  readonly fileIsOpen?: () => boolean;
  /** Nobody else can map the same bytes, although there is a descriptor. */
  readonly own?: boolean;
  /** Closed with the mapping. */
  readonly onClose?: () => void;
}

/** Memory mapped into this process; the only owner of its address. */
export class Mapping implements HostMapping {
  readonly size: bigint;
  readonly readonly: boolean;
  readonly descriptor: { readonly fd: number; readonly offset: bigint } | undefined;
  readonly origin?: FilePlace;
  readonly #calls: MemoryCalls;
  readonly #options: MappingOptions;
  readonly #address: bigint;
  readonly #hooks = new Set<(offset: bigint, len: number) => void>();
  readonly #flushes: Flushes;
  #access: Access | undefined;
  #allocated = false;

  /** @throws HostError when the host refuses */
  constructor(calls: MemoryCalls, options: MappingOptions) {
    this.#calls = calls;
    this.#options = options;
    this.size = options.size;
    this.readonly = options.readonly;
    this.#address = calls.mmap(options);
    this.#flushes = new Flushes(() => calls.msync(this.#address, this.size));
    const { fd, offset } = options;
    const others = options.share && fd >= 0 && options.own !== true;
    this.descriptor = others ? { fd, offset } : undefined;
    // The descriptor may be closed before the mapping is.
    if (!options.share && fd >= 0) this.origin = placeOf(fd, offset);
    this.#access = options.guarded
      ? guardedAccess(calls, this.#address, options)
      : new ViewAccess(calls, this.#address, this.size);
  }

  read(offset: bigint, into: Uint8Array): boolean {
    const done = this.#reach(offset, into.length).read(offset, into);
    if (!done) into.fill(0);
    return done;
  }

  write(offset: bigint, from: Uint8Array): boolean {
    const access = this.#reach(offset, from.length);
    if (this.readonly) return true;
    const done = access.write(offset, from);
    this.#changed(offset, from.length);
    return done;
  }

  readInt(offset: bigint, size: AccessSize): bigint {
    return this.#reach(offset, size).readInt(offset, size);
  }

  writeInt(offset: bigint, size: AccessSize, value: bigint): void {
    const access = this.#reach(offset, size);
    if (this.readonly) return;
    access.writeInt(offset, size, BigInt.asUintN(size * 8, value));
    this.#changed(offset, size);
  }

  clear(offset: bigint, size: bigint): boolean {
    this.#reach(offset, Number(size));
    if (this.readonly) return true;
    // Storage that was asked for in advance is not given away.
    if (this.#allocated || !this.#tryClear(offset, size)) return false;
    this.#changed(offset, Number(size));
    return true;
  }

  stored(from: bigint): StoredRange | undefined {
    this.#reach(from, 0);
    if (from === this.size) return undefined;
    const { share, fd, offset, fileIsOpen } = this.#options;
    if (fd < 0) return storedInProcess(this.#calls.pageSize, this.#address, from, this.size);
    // Private pages of a file are nowhere but here.
    if (!share || fileIsOpen?.() === false) return { start: from, end: this.size };
    return shift(storedInFile(this.#calls, fd, offset + from, offset + this.size), -offset);
  }

  onWrite(hook: (offset: bigint, len: number) => void): () => void {
    const own = (offset: bigint, len: number): void => hook(offset, len);
    this.#hooks.add(own);
    return () => void this.#hooks.delete(own);
  }

  async flush(): Promise<void> {
    this.#open();
    if (this.#options.share && this.#options.fd >= 0) await this.#flushes.request();
  }

  allocate(): void {
    this.#open();
    const { share, fd, offset, unlimited = false } = this.#options;
    const shared = share && fd >= 0;
    // Taking more than there is would call the OOM killer.
    if ((!shared || unlimited) && this.size > BigInt(freemem()))
      throw new HostError('ENOMEM', 'Cannot allocate memory');
    if (shared) this.#calls.allocate(fd, offset, this.size);
    else this.#calls.madvise(this.#address, this.size, 'populate');
    this.#allocated = true;
  }

  bindNodes(policy: NumaPolicy, nodes: readonly number[]): void {
    this.#open();
    this.#calls.mbind(this.#address, this.size, policy, nodes);
  }

  advise({ merge, dump }: { merge?: boolean; dump?: boolean }): void {
    this.#open();
    if (merge !== undefined) this.#hint(merge ? 'mergeable' : 'unmergeable');
    if (dump !== undefined) this.#hint(dump ? 'dump' : 'dontdump');
  }

  close(): void {
    if (this.#access === undefined) return;
    // Views first: one touched after munmap would end the process.
    this.#access = undefined;
    this.#hooks.clear();
    this.#flushes.whenIdle(() => {
      this.#calls.munmap(this.#address, this.size);
      this.#options.onClose?.();
    });
  }

  #hint(advice: 'mergeable' | 'unmergeable' | 'dump' | 'dontdump'): void {
    try {
      this.#calls.madvise(this.#address, this.size, advice);
    } catch (error) {
      // Kernels without page merging answer EINVAL; a hint has no other failure that matters.
      if (!(error instanceof HostError)) throw error;
    }
  }

  #tryClear(offset: bigint, size: bigint): boolean {
    const { share, fd, offset: start, fileIsOpen } = this.#options;
    // Private pages of a file would turn back into those of the file.
    if (share !== fd >= 0 || fileIsOpen?.() === false) return false;
    // Of a block that is taken in part, hugetlbfs keeps the bytes.
    const block = fd >= 0 ? fstatSync(fd, { bigint: true }).blksize : BigInt(this.#calls.pageSize);
    if ((start + offset) % block !== 0n || size % block !== 0n) return false;
    try {
      if (fd >= 0) this.#calls.punchHole(fd, start + offset, size);
      else this.#calls.madvise(this.#address + offset, size, 'dontneed');
      return true;
    } catch (error) {
      if (error instanceof HostError) return false;
      throw error;
    }
  }

  #open(): Access {
    if (this.#access === undefined) throw new Error('host memory is closed');
    return this.#access;
  }

  #reach(offset: bigint, length: number): Access {
    const access = this.#open();
    if (offset < 0n || offset + BigInt(length) > this.size)
      throw new RangeError(
        `${String(length)} bytes at ${String(offset)} are outside host memory of ${String(this.size)} bytes`,
      );
    return access;
  }

  #changed(offset: bigint, length: number): void {
    for (const hook of this.#hooks) hook(offset, length);
  }
}

const placeOf = (fd: number, offset: bigint): FilePlace => {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  return { dev, ino, offset };
};

const shift = (range: StoredRange | undefined, by: bigint): StoredRange | undefined =>
  range && { start: range.start + by, end: range.end + by };

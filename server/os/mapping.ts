import { fstatSync, readSync, writeSync } from 'node:fs';
import { freemem } from 'node:os';
import { HostError } from '../../devices/core/host-memory.js';
import type { AccessSize, HostMapping, NumaPolicy } from '../../devices/core/host-memory.js';
import { Flushes } from './flushes.js';
import { fromNodeError } from './libc.js';
import type { MapRequest, MemoryCalls } from './memory-calls.js';

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

/** How bytes are reached; ranges are checked before. */
interface Access {
  read(offset: bigint, into: Uint8Array): boolean;
  write(offset: bigint, from: Uint8Array): boolean;
  readInt(offset: bigint, size: AccessSize): bigint;
  writeInt(offset: bigint, size: AccessSize, value: bigint): void;
}

/** Memory mapped into this process; the only owner of its address. */
export class Mapping implements HostMapping {
  readonly size: bigint;
  readonly readonly: boolean;
  readonly descriptor: { readonly fd: number; readonly offset: bigint } | undefined;
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

const WINDOW_BITS = 30n; // one view of 8 GiB ends Node 20
const WINDOW_SIZE = 1 << Number(WINDOW_BITS);
const WINDOW_MASK = BigInt(WINDOW_SIZE - 1);

interface Window {
  readonly bytes: Uint8Array;
  readonly data: DataView;
}

/** Touches memory directly, through views made on first use. */
class ViewAccess implements Access {
  readonly #calls: MemoryCalls;
  readonly #address: bigint;
  readonly #size: bigint;
  readonly #windows = new Map<number, Window>();

  constructor(calls: MemoryCalls, address: bigint, size: bigint) {
    this.#calls = calls;
    this.#address = address;
    this.#size = size;
  }

  read(offset: bigint, into: Uint8Array): boolean {
    this.#eachPart(offset, into.length, (bytes, at) => into.set(bytes, at));
    return true;
  }

  write(offset: bigint, from: Uint8Array): boolean {
    this.#eachPart(offset, from.length, (bytes, at) =>
      bytes.set(from.subarray(at, at + bytes.length)),
    );
    return true;
  }

  readInt(offset: bigint, size: AccessSize): bigint {
    const at = Number(offset & WINDOW_MASK);
    if (at + size > WINDOW_SIZE) return readIntByBytes(this, offset, size);
    return getInt(this.#window(offset).data, at, size);
  }

  writeInt(offset: bigint, size: AccessSize, value: bigint): void {
    const at = Number(offset & WINDOW_MASK);
    if (at + size > WINDOW_SIZE) writeIntByBytes(this, offset, size, value);
    else setInt(this.#window(offset).data, at, size, value);
  }

  #window(offset: bigint): Window {
    const index = Number(offset >> WINDOW_BITS);
    const known = this.#windows.get(index);
    if (known !== undefined) return known;
    const base = BigInt(index) << WINDOW_BITS;
    const left = this.#size - base;
    const length = left < BigInt(WINDOW_SIZE) ? Number(left) : WINDOW_SIZE;
    const buffer = this.#calls.view(this.#address + base, length);
    const window = { bytes: new Uint8Array(buffer), data: new DataView(buffer) };
    this.#windows.set(index, window);
    return window;
  }

  #eachPart(offset: bigint, length: number, visit: (bytes: Uint8Array, at: number) => void): void {
    for (let at = 0; at < length;) {
      const place = offset + BigInt(at);
      const start = Number(place & WINDOW_MASK);
      const n = Math.min(length - at, WINDOW_SIZE - start);
      visit(this.#window(place).bytes.subarray(start, start + n), at);
      at += n;
    }
  }
}

/** Copies through the kernel, which answers an error where a view would fault. */
class GuardedAccess implements Access {
  readonly #calls: MemoryCalls;
  readonly #address: bigint;

  constructor(calls: MemoryCalls, address: bigint) {
    this.#calls = calls;
    this.#address = address;
  }

  read(offset: bigint, into: Uint8Array): boolean {
    return this.#calls.copyFrom(this.#address + offset, into);
  }

  write(offset: bigint, from: Uint8Array): boolean {
    return this.#calls.copyTo(this.#address + offset, from);
  }

  readInt(offset: bigint, size: AccessSize): bigint {
    return readIntByBytes(this, offset, size);
  }

  writeInt(offset: bigint, size: AccessSize, value: bigint): void {
    writeIntByBytes(this, offset, size, value);
  }
}

const guardedAccess = (calls: MemoryCalls, address: bigint, options: MappingOptions): Access => {
  const guarded = new GuardedAccess(calls, address);
  const { share, fileIsOpen } = options;
  if (!share || fileIsOpen === undefined) return guarded;
  return new FileAccess(guarded, { ...options, fileIsOpen });
};

/** From here on the system copies faster between a file and a buffer than by way of a mapping. */
const LONG = 1 << 16;

/** Long copies go through the file behind a shared mapping; what it refuses goes through memory. */
class FileAccess implements Access {
  readonly #memory: Access;
  readonly #fd: number;
  readonly #start: bigint;
  readonly #isOpen: () => boolean;

  constructor(
    memory: Access,
    { fd, offset, fileIsOpen }: MapRequest & { readonly fileIsOpen: () => boolean },
  ) {
    this.#memory = memory;
    this.#fd = fd;
    this.#start = offset;
    this.#isOpen = fileIsOpen;
  }

  read(offset: bigint, into: Uint8Array): boolean {
    if (into.length < LONG || !this.#tryCopy(readSync, offset, into))
      return this.#memory.read(offset, into);
    return true;
  }

  write(offset: bigint, from: Uint8Array): boolean {
    if (from.length < LONG || !this.#tryCopy(writeSync, offset, from))
      return this.#memory.write(offset, from);
    return true;
  }

  readInt(offset: bigint, size: AccessSize): bigint {
    return this.#memory.readInt(offset, size);
  }

  writeInt(offset: bigint, size: AccessSize, value: bigint): void {
    this.#memory.writeInt(offset, size, value);
  }

  /** False when the file is too short by now, or is of a kind that is only mapped. */
  #tryCopy(call: Copy, offset: bigint, bytes: Uint8Array): boolean {
    if (!this.#isOpen()) return false;
    const place = this.#start + offset;
    if (fstatSync(this.#fd, { bigint: true }).size < place + BigInt(bytes.length)) return false;
    try {
      let done = 0;
      while (done < bytes.length) {
        const n = call(this.#fd, bytes, done, bytes.length - done, Number(place) + done);
        if (n === 0) return false;
        done += n;
      }
      return true;
    } catch (error) {
      if (fromNodeError(error) instanceof HostError) return false;
      throw error;
    }
  }
}

type Copy = (fd: number, bytes: Uint8Array, at: number, length: number, place: number) => number;

const readIntByBytes = (access: Access, offset: bigint, size: AccessSize): bigint => {
  const bytes = new Uint8Array(8);
  if (!access.read(offset, bytes.subarray(0, size))) return 0n;
  return new DataView(bytes.buffer).getBigUint64(0, true);
};

const writeIntByBytes = (access: Access, offset: bigint, size: AccessSize, value: bigint): void => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  access.write(offset, bytes.subarray(0, size));
};

const getInt = (data: DataView, at: number, size: AccessSize): bigint => {
  switch (size) {
    case 1:
      return BigInt(data.getUint8(at));
    case 2:
      return BigInt(data.getUint16(at, true));
    case 4:
      return BigInt(data.getUint32(at, true));
    case 8:
      return data.getBigUint64(at, true);
  }
};

const setInt = (data: DataView, at: number, size: AccessSize, value: bigint): void => {
  switch (size) {
    case 1:
      data.setUint8(at, Number(value));
      return;
    case 2:
      data.setUint16(at, Number(value), true);
      return;
    case 4:
      data.setUint32(at, Number(value), true);
      return;
    case 8:
      data.setBigUint64(at, value, true);
  }
};

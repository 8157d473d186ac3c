import { constants } from 'node:os';
import type { NumaPolicy } from '../../devices/core/host-memory.js';
import { check, hostError } from './libc.js';
import type { Libc } from './libc.js';

export interface MapRequest {
  readonly size: bigint;
  /** Descriptor to map; -1 for anonymous memory. */
  readonly fd: number;
  readonly offset: bigint;
  readonly share: boolean;
  readonly readonly: boolean;
}
export type Advice = 'populate' | 'dontneed' | 'mergeable' | 'unmergeable' | 'dump' | 'dontdump';

/** Mappings by address, memfds, allocation. An address is only ever held by a mapping object. */
export interface MemoryCalls {
  /** Bytes of a page. */
  readonly pageSize: number;
  /** Maps without reserving. @throws HostError */
  mmap(request: MapRequest): bigint;
  munmap(address: bigint, size: bigint): void;
  /**
   * Writes back in a thread of its own; of several calls one after the other, so that other work of
   * the thread pool goes on. The mapping must stay until it is done.
   *
   * @throws HostError
   */
  msync(address: bigint, size: bigint): Promise<void>;
  /** @throws HostError */
  madvise(address: bigint, size: bigint, advice: Advice): void;
  /** @throws HostError */
  mbind(address: bigint, size: bigint, policy: NumaPolicy, nodes: readonly number[]): void;
  /** A view of mapped memory; touching it after munmap kills the process. */
  view(address: bigint, size: number): ArrayBuffer;
  /** Copies mapped memory out; false instead of a fault when it is gone. */
  copyFrom(address: bigint, into: Uint8Array): boolean;
  /** Copies into mapped memory; false instead of a fault when it is gone. */
  copyTo(address: bigint, from: Uint8Array): boolean;
  /** @throws HostError */
  memfd(name: string, options?: { sealable?: boolean; hugePageSize?: bigint }): number;
  /** Forbids shrinking and growing. @throws HostError */
  sealSize(fd: number): void;
  /** Sets the length of a file, up to 2^63 - 1. @throws HostError */
  truncate(fd: number, length: bigint): void;
  /** Gives `size` bytes at `offset` storage. @throws HostError ENOSPC when there is none */
  allocate(fd: number, offset: bigint, size: bigint): void;
  /** Takes storage away; the bytes read 0 afterwards. @throws HostError */
  punchHole(fd: number, offset: bigint, size: bigint): void;
  /** The next byte of a file with storage, or of a hole, from `from` on; undefined when there is none. @throws HostError */
  seekStorage(fd: number, from: bigint, what: 'data' | 'hole'): bigint | undefined;
  /** Gives a file without a name its name. @throws HostError EEXIST when it is taken */
  linkUnnamed(fd: number, path: string): void;
}

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 0x1;
const MAP_PRIVATE = 0x2;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const MAP_FAILED = 0xffffffffffffffffn;
const MS_SYNC = 4;
const ADVICE: Readonly<Record<Advice, number>> = {
  mergeable: 12,
  unmergeable: 13,
  dontneed: 4,
  dontdump: 16,
  dump: 17,
  populate: 23, // MADV_POPULATE_WRITE
};
const POLICY: Readonly<Record<NumaPolicy, number>> = {
  default: 0,
  preferred: 1,
  bind: 2,
  interleave: 3,
};
const SYS_MBIND = process.arch === 'x64' ? 237 : 235;
const MPOL_MF_STRICT_MOVE = 3;
const NODE_BITS = 128;
const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const MFD_HUGETLB = 4;
const F_ADD_SEALS = 1033;
const SEAL_SHRINK_GROW = 2 | 4;
const FALLOC_KEEP_SIZE_PUNCH_HOLE = 3;
const SEEK = { data: 3, hole: 4 } as const;
const AT_FDCWD = -100;
const AT_SYMLINK_FOLLOW = 0x400;
const COPY_SIZE = 1 << 20;

/**
 * Copies between our own mappings and a staging block by calls that fail instead of faulting.
 * Device mappings that get_user_pages refuses (process_vm_* answers EFAULT for them) go through a
 * memfd, whose read and write copy as any user access does.
 */
const makeCopy = (libc: Libc, memfd: () => number): Pick<MemoryCalls, 'copyFrom' | 'copyTo'> => {
  const args = ['int', 'void *', 'ulong', 'void *', 'ulong', 'ulong'];
  const readv = libc.call('process_vm_readv', args);
  const writev = libc.call('process_vm_writev', args);
  const pread = libc.call('pread', ['int', 'void *', 'size_t', 'int64_t']);
  const pwrite = libc.call('pwrite', ['int', 'void *', 'size_t', 'int64_t']);
  const { address, bytes } = libc.block(32 + COPY_SIZE);
  const data = address + 32n;
  bytes.writeBigUInt64LE(data, 0);
  let scratch: number | undefined;
  const begin = (remote: bigint, n: number): void => {
    bytes.writeBigUInt64LE(BigInt(n), 8);
    bytes.writeBigUInt64LE(remote, 16);
    bytes.writeBigUInt64LE(BigInt(n), 24);
  };
  const out = (from: bigint, n: number): boolean => {
    begin(from, n);
    if (readv(process.pid, address, 1, address + 16n, 1, 0) === n) return true;
    scratch ??= memfd();
    return pwrite(scratch, from, n, 0n) === n && pread(scratch, data, n, 0n) === n;
  };
  const back = (to: bigint, n: number): boolean => {
    begin(to, n);
    if (writev(process.pid, address, 1, address + 16n, 1, 0) === n) return true;
    scratch ??= memfd();
    return pwrite(scratch, data, n, 0n) === n && pread(scratch, to, n, 0n) === n;
  };
  return {
    copyFrom: (from, into) => {
      for (let at = 0; at < into.length; at += COPY_SIZE) {
        const n = Math.min(COPY_SIZE, into.length - at);
        if (!out(from + BigInt(at), n)) return false;
        into.set(bytes.subarray(32, 32 + n), at);
      }
      return true;
    },
    copyTo: (to, from) => {
      for (let at = 0; at < from.length; at += COPY_SIZE) {
        const n = Math.min(COPY_SIZE, from.length - at);
        bytes.set(from.subarray(at, at + n), 32);
        if (!back(to + BigInt(at), n)) return false;
      }
      return true;
    },
  };
};

const makeMap = (libc: Libc): MemoryCalls['mmap'] => {
  const native = libc.pointerCall('mmap', ['void *', 'size_t', 'int', 'int', 'int', 'int64_t']);
  return ({ size, fd, offset, share, readonly }) => {
    if (size <= 0n || size >= 1n << 63n) throw hostError(constants.errno.ENOMEM);
    const flags = MAP_NORESERVE | (share ? MAP_SHARED : MAP_PRIVATE) | (fd < 0 ? MAP_ANONYMOUS : 0);
    const protection = PROT_READ | (readonly ? 0 : PROT_WRITE);
    const address = BigInt(native(null, size, protection, flags, fd, offset) as number | bigint);
    if (address === MAP_FAILED) throw hostError(libc.koffi.errno());
    return address;
  };
};

const makeBind = (libc: Libc): MemoryCalls['mbind'] => {
  const syscall = libc.call('syscall', [
    'long',
    'void *',
    'ulong',
    'ulong',
    'void *',
    'ulong',
    'ulong',
  ]);
  const mask = libc.block(NODE_BITS / 8);
  return (address, size, policy, nodes) => {
    mask.bytes.fill(0);
    for (const node of nodes) {
      const byte = node >> 3;
      mask.bytes.writeUInt8(mask.bytes.readUInt8(byte) | (1 << (node & 7)), byte);
    }
    const named = nodes.length > 0;
    check(
      syscall(
        SYS_MBIND,
        address,
        size,
        POLICY[policy],
        named ? mask.address : null,
        named ? NODE_BITS + 1 : 0,
        named ? MPOL_MF_STRICT_MOVE : 0,
      ),
    );
  };
};

const makeMemfd = (libc: Libc): MemoryCalls['memfd'] => {
  const native = libc.call('memfd_create', ['str', 'uint']);
  return (name, { sealable = false, hugePageSize } = {}) => {
    let flags = MFD_CLOEXEC | (sealable ? MFD_ALLOW_SEALING : 0);
    if (hugePageSize !== undefined)
      flags += MFD_HUGETLB + (hugePageSize.toString(2).length - 1) * 2 ** 26;
    return check(native(name, flags));
  };
};

const makeSync = (libc: Libc): MemoryCalls['msync'] => {
  const native = libc.asyncCall('msync', ['void *', 'size_t', 'int']);
  let last: Promise<unknown> = Promise.resolve();
  return (address, size) => {
    const call = last.then(async () => void check(await native(address, size, MS_SYNC)));
    last = call.catch(() => undefined);
    return call;
  };
};

/** Binds everything of this file. @throws when a symbol is missing */
export const bindMemory = (libc: Libc): MemoryCalls => {
  const munmap = libc.call('munmap', ['void *', 'size_t']);
  const madvise = libc.call('madvise', ['void *', 'size_t', 'int']);
  const fcntl = libc.call('fcntl', ['int', 'int', 'long']);
  const fallocate = libc.call('fallocate', ['int', 'int', 'int64_t', 'int64_t']);
  const ftruncate = libc.call('ftruncate', ['int', 'int64_t']);
  const posixFallocate = libc.call('posix_fallocate', ['int', 'int64_t', 'int64_t']);
  const lseek = libc.call('lseek', ['int', 'int64_t', 'int']);
  const linkat = libc.call('linkat', ['int', 'str', 'int', 'str', 'int']);
  const memfd = makeMemfd(libc);
  return {
    pageSize: libc.call('getpagesize', [])(),
    mmap: makeMap(libc),
    munmap: (address, size) => void check(munmap(address, size)),
    msync: makeSync(libc),
    madvise: (address, size, advice) => void check(madvise(address, size, ADVICE[advice])),
    mbind: makeBind(libc),
    view: (address, size) => libc.koffi.view(address, size),
    ...makeCopy(libc, () => memfd('qmemd-copy')),
    memfd,
    sealSize: (fd) => void check(fcntl(fd, F_ADD_SEALS, SEAL_SHRINK_GROW)),
    truncate: (fd, length) => {
      if (length >= 1n << 63n) throw hostError(constants.errno.EINVAL);
      check(ftruncate(fd, length));
    },
    // posix_fallocate answers the errno itself.
    allocate: (fd, offset, size) => void check(-posixFallocate(fd, offset, size)),
    punchHole: (fd, offset, size) =>
      void check(fallocate(fd, FALLOC_KEEP_SIZE_PUNCH_HOLE, offset, size)),
    seekStorage: (fd, from, what) => {
      const found = lseek(fd, from, SEEK[what]);
      return found === -constants.errno.ENXIO ? undefined : BigInt(check(found));
    },
    linkUnnamed: (fd, path) =>
      void check(
        linkat(AT_FDCWD, `/proc/self/fd/${String(fd)}`, AT_FDCWD, path, AT_SYMLINK_FOLLOW),
      ),
  };
};

import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { HostError } from '../../devices/core/host-memory.js';

/** The part of koffi that we use; our own words, so that type-checking works without the package. */
export interface Koffi {
  load(path: string | null): KoffiLibrary;
  proto(definition: string): unknown;
  pointer(type: unknown): unknown;
  register(callback: (...args: never[]) => void, type: unknown): bigint;
  alloc(type: string, length: number): bigint;
  free(address: bigint): void;
  view(address: bigint, length: number): ArrayBuffer;
  errno(): number;
}
export interface KoffiLibrary {
  func(name: string, result: unknown, args: readonly unknown[]): NativeFunction;
}
export type NativeArgument = number | bigint | string | null;
export interface NativeFunction {
  (...args: NativeArgument[]): unknown;
  /** Runs in a thread of the pool; the last argument is told. */
  async(...args: (NativeArgument | ((error: unknown, result: unknown) => void))[]): void;
}

/** A block of native memory and a view of it. */
export interface Block {
  readonly address: bigint;
  readonly bytes: Buffer;
}

/** libc and the running executable, as koffi binds them. */
export class Libc {
  readonly koffi: Koffi;
  readonly #libc: KoffiLibrary;
  readonly #self: KoffiLibrary;

  constructor(koffi: Koffi) {
    this.koffi = koffi;
    this.#libc = koffi.load('libc.so.6');
    this.#self = koffi.load(null);
  }

  /** Binds a function of libc that answers an integer, -1 with errno on failure. */
  call(name: string, args: readonly unknown[]): (...args: NativeArgument[]) => number {
    const fn = this.#libc.func(name, WIDE_RESULTS.has(name) ? 'int64_t' : 'int', args);
    return (...values) => {
      const result = Number(fn(...values));
      return result < 0 ? -this.koffi.errno() : result;
    };
  }

  /** Binds a function of libc without a result. */
  procedure(name: string, args: readonly unknown[]): NativeFunction {
    return this.#libc.func(name, 'void', args);
  }

  /** As `call`, in a thread of the pool; at most some dozens may be under way. */
  asyncCall(
    name: string,
    args: readonly unknown[],
  ): (...args: NativeArgument[]) => Promise<number> {
    const fn = this.#libc.func(name, 'int', args);
    return (...values) =>
      new Promise((resolve, reject) => {
        fn.async(...values, (error, result) => {
          if (error instanceof Error) reject(error);
          else resolve(Number(result) < 0 ? -this.koffi.errno() : Number(result));
        });
      });
  }

  /** Binds a function of libc whose result is an address. */
  pointerCall(name: string, args: readonly unknown[]): NativeFunction {
    return this.#libc.func(name, 'uint64_t', args);
  }

  /** Binds a function of libuv, which the node executable exports. */
  uv(name: string, result: string, args: readonly unknown[]): NativeFunction {
    return this.#self.func(name, result, args);
  }

  /** Memory that stays for the life of the process. */
  block(size: number): Block {
    const address = BigInt(this.koffi.alloc('uint8_t', size));
    return { address, bytes: Buffer.from(this.koffi.view(address, size)) };
  }
}

const WIDE_RESULTS: ReadonlySet<string> = new Set([
  'recvmsg',
  'sendmsg',
  'process_vm_readv',
  'process_vm_writev',
  'pread',
  'pwrite',
  'lseek',
  'syscall',
]);

/** Texts of strerror (C locale); libuv's own differ. */
const STRERROR: Readonly<Record<string, string>> = {
  EPERM: 'Operation not permitted',
  ENOENT: 'No such file or directory',
  EINTR: 'Interrupted system call',
  EIO: 'Input/output error',
  ENXIO: 'No such device or address',
  E2BIG: 'Argument list too long',
  EBADF: 'Bad file descriptor',
  EAGAIN: 'Resource temporarily unavailable',
  ENOMEM: 'Cannot allocate memory',
  EACCES: 'Permission denied',
  EFAULT: 'Bad address',
  EBUSY: 'Device or resource busy',
  EEXIST: 'File exists',
  EXDEV: 'Invalid cross-device link',
  ENODEV: 'No such device',
  ENOTDIR: 'Not a directory',
  EISDIR: 'Is a directory',
  EINVAL: 'Invalid argument',
  ENFILE: 'Too many open files in system',
  EMFILE: 'Too many open files',
  ENOTTY: 'Inappropriate ioctl for device',
  ETXTBSY: 'Text file busy',
  EFBIG: 'File too large',
  ENOSPC: 'No space left on device',
  ESPIPE: 'Illegal seek',
  EROFS: 'Read-only file system',
  EPIPE: 'Broken pipe',
  ENAMETOOLONG: 'File name too long',
  ENOSYS: 'Function not implemented',
  ELOOP: 'Too many levels of symbolic links',
  EOVERFLOW: 'Value too large for defined data type',
  ENOTSUP: 'Operation not supported',
  EOPNOTSUPP: 'Operation not supported',
  EADDRINUSE: 'Address already in use',
  ENOBUFS: 'No buffer space available',
  ETOOMANYREFS: 'Too many references: cannot splice',
  ETIMEDOUT: 'Connection timed out',
  ECONNREFUSED: 'Connection refused',
  ECONNRESET: 'Connection reset by peer',
  EDQUOT: 'Disk quota exceeded',
};

/** The refusal for a positive errno, with strerror's text. */
export const hostError = (errno: number, cause?: unknown): HostError => {
  const code = errnoName(errno);
  const text = STRERROR[code] ?? `Unknown error ${String(errno)}`;
  return new HostError(code, text, cause === undefined ? undefined : { cause });
};

/** The refusal behind an error thrown by `node:fs`; anything else is handed back unchanged. */
export const fromNodeError = (error: unknown): unknown => {
  if (!(error instanceof Error)) return error;
  // Node refuses a path with a zero byte by itself; no file has such a name.
  if ('code' in error && error.code === 'ERR_INVALID_ARG_VALUE')
    return hostError(constants.errno.ENOENT, error);
  if (!('errno' in error) || typeof error.errno !== 'number') return error;
  return hostError(-error.errno, error);
};

/** Runs a call of `node:fs`; its failure becomes a HostError. */
export const nodeCall = <T>(call: () => T): T => {
  try {
    return call();
  } catch (error) {
    throw fromNodeError(error);
  }
};

const errnoName = (errno: number): string => {
  if (errno === constants.errno.ETXTBSY) return 'ETXTBSY';
  try {
    return getSystemErrorName(-errno);
  } catch {
    return `E${String(errno)}`;
  }
};

/** Hands a result on, or throws it when it is a negative errno. */
export const check = (result: number): number => {
  if (result < 0) throw hostError(-result);
  return result;
};

import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { constants as systemConstants } from 'node:os';
import { HostError } from '../../devices/core/host-memory.js';
import type { SharedObject, SharedObjects } from '../../devices/core/shared-object.js';
import { MappedBytes } from './atomic-bytes.js';
import { check, hostError, nodeCall } from './libc.js';
import type { Native, NativeLoader } from './native.js';

const DIRECTORY = '/dev/shm';
/** As the mapping of one view; reference/native-os-access.md and design §8. */
const MAX_SIZE = 1 << 30;
/** Beyond the end of every object, so that locks never meet those of other programs on content. */
const LOCK_BASE = 1n << 40n;
const PAUSE_MS = 0.05;
const { EAGAIN, EACCES } = systemConstants.errno;
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

/** POSIX shared memory by the native layer; without it every object is refused with what is missing. */
export class NativeSharedObjects implements SharedObjects {
  readonly #loader: NativeLoader;
  readonly #directory: string;

  /** @param directory where the objects lie; another one than the host's is for tests */
  constructor(loader: NativeLoader, directory: string = DIRECTORY) {
    this.#loader = loader;
    this.#directory = directory;
  }

  open(name: string): SharedObject {
    const native = this.#native();
    const path = `${this.#directory}/${name}`;
    const flags = constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOFOLLOW;
    return this.#map(native, { name, path, fd: nodeCall(() => openSync(path, flags)) });
  }

  create(name: string, content: Uint8Array): SharedObject {
    const native = this.#native();
    const path = `${this.#directory}/${name}`;
    const fd = nodeCall(() => openSync(this.#directory, constants.O_RDWR | O_TMPFILE, 0o666));
    try {
      for (let at = 0; at < content.length;)
        at += nodeCall(() => writeSync(fd, content, at, content.length - at, at));
      native.linkUnnamed(fd, path);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    return this.#map(native, { name, path, fd });
  }

  #map(native: Native, file: OpenObject): SharedObject {
    try {
      return new MappedObject(native, file);
    } catch (error) {
      closeSync(file.fd);
      throw error;
    }
  }

  #native(): Native {
    const native = this.#loader.load();
    if (native !== undefined) return native;
    const reason = this.#loader.status().reason ?? 'unknown';
    throw new HostError(
      'ENOTSUP',
      `shared memory needs the optional package koffi, which is not available (${reason})`,
    );
  }
}

interface OpenObject {
  readonly name: string;
  readonly path: string;
  readonly fd: number;
}

class MappedObject implements SharedObject {
  readonly name: string;
  readonly size: number;
  readonly #native: Native;
  readonly #file: OpenObject;
  readonly #address: bigint;
  readonly #inode: bigint;
  #bytes: MappedBytes | undefined;

  constructor(native: Native, file: OpenObject) {
    this.name = file.name;
    this.#native = native;
    this.#file = file;
    const stats = fstatSync(file.fd, { bigint: true });
    if (!stats.isFile() || stats.size === 0n || stats.size > BigInt(MAX_SIZE))
      throw hostError(systemConstants.errno.EINVAL);
    this.size = Number(stats.size);
    this.#inode = stats.ino;
    const request = { size: stats.size, fd: file.fd, offset: 0n, share: true, readonly: false };
    this.#address = native.mmap(request);
    this.#bytes = new MappedBytes(native.view(this.#address, this.size));
  }

  get bytes(): MappedBytes {
    if (this.#bytes === undefined) throw new Error(`shared object ${this.name} is closed`);
    return this.#bytes;
  }

  isWhole(): boolean {
    return fstatSync(this.#file.fd).size >= this.size;
  }

  isLinked(): boolean {
    const stats = statSync(this.#file.path, { bigint: true, throwIfNoEntry: false });
    return stats?.ino === this.#inode;
  }

  lock(number: number, timeoutMs = 0): boolean {
    const deadline = performance.now() + timeoutMs;
    while (!this.#tryLock(number)) {
      if (performance.now() >= deadline) return false;
      pause();
    }
    return true;
  }

  #tryLock(number: number): boolean {
    const result = this.#native.lockRange(this.#file.fd, 'write', LOCK_BASE + BigInt(number), 1n);
    if (result === -EAGAIN || result === -EACCES) return false;
    check(result);
    return true;
  }

  unlock(number: number): void {
    check(this.#native.lockRange(this.#file.fd, 'unlock', LOCK_BASE + BigInt(number), 1n));
  }

  isLocked(number: number): boolean {
    return this.#native.isRangeLocked(this.#file.fd, LOCK_BASE + BigInt(number), 1n);
  }

  unlink(): void {
    try {
      unlinkSync(this.#file.path);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    }
  }

  close(): void {
    if (this.#bytes === undefined) return;
    // The view first: one touched after munmap would end the process.
    this.#bytes = undefined;
    this.#native.munmap(this.#address, BigInt(this.size));
    closeSync(this.#file.fd);
  }
}

/** Lets the holder of a lock go on; nobody ever wakes us, only the time does. */
const pause = (): void => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
};

import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
  type BigIntStats,
} from 'node:fs';
import { constants as system } from 'node:os';
import { hostError, nodeCall } from './libc.js';
import type { LoadNative, Native } from './native.js';

const MODE = 0o644;
/** Longer than any process id. */
const TEXT_BYTES = 32;
const { EAGAIN } = system.errno;

/**
 * The file with the id of this process, which is its own until `release`. A lock on the first byte
 * says so, as QEMU's does; without the native layer, that the process in the file lives.
 */
export class PidFile {
  readonly #path: string;
  readonly #fd: number;
  #isHeld = true;

  private constructor(path: string, fd: number) {
    this.#path = path;
    this.#fd = fd;
  }

  /**
   * Creates the file, or takes over that of a process which has ended.
   *
   * @throws Error with a sentence; the file of another process is as before
   */
  static claim(path: string, loadNative: LoadNative): PidFile {
    try {
      const native = loadNative();
      for (;;) {
        const file = PidFile.#open(path, native);
        if (file === undefined) continue;
        try {
          file.#write();
          return file;
        } catch (error) {
          file.release();
          throw error;
        }
      }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`cannot create PID file: ${reason}`, { cause: error });
    }
  }

  /** @returns undefined when its owner removed it meanwhile */
  static #open(path: string, native: Native | undefined): PidFile | undefined {
    const fd = open(path);
    try {
      if (!fstatSync(fd).isFile()) throw new Error(`'${path}' is not a regular file`);
      lock(fd, path, native);
      const file = new PidFile(path, fd);
      if (file.#isNamed()) return file;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    closeSync(fd);
    return undefined;
  }

  /** Removes it, unless the name has become another file's. Safe to call twice. */
  release(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    try {
      // While the lock is held: nobody else takes this file over in between.
      if (this.#isNamed()) rmSync(this.#path, { force: true });
    } finally {
      closeSync(this.#fd);
    }
  }

  #write(): void {
    nodeCall(() => {
      ftruncateSync(this.#fd);
      writeSync(this.#fd, `${String(process.pid)}\n`, 0);
    });
  }
  #isNamed(): boolean {
    const named = statSync(this.#path, { bigint: true, throwIfNoEntry: false });
    return named !== undefined && isSame(named, fstatSync(this.#fd, { bigint: true }));
  }
}

const isSame = (a: BigIntStats, b: BigIntStats): boolean => a.dev === b.dev && a.ino === b.ino;

const open = (path: string): number => {
  try {
    return nodeCall(() => openSync(path, constants.O_RDWR | constants.O_CREAT, MODE));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`Could not create '${path}': ${reason}`, { cause: error });
  }
};

/** @throws Error when the file is that of another process */
const lock = (fd: number, path: string, native: Native | undefined): void => {
  const recorded = recordedProcess(fd);
  const result = native?.lockRange(fd, 'write', 0n, 1n) ?? (isAnother(recorded) ? -EAGAIN : 0);
  if (result >= 0) return;
  const owner = result === -EAGAIN && recorded !== undefined ? `, process ${String(recorded)}` : '';
  // As QEMU, which does not say whose it is.
  throw new Error(`Cannot lock pid file: ${hostError(-result).message} ('${path}'${owner})`);
};

const recordedProcess = (fd: number): number | undefined => {
  const bytes = Buffer.alloc(TEXT_BYTES);
  const text = bytes.toString('latin1', 0, readSync(fd, bytes, 0, TEXT_BYTES, 0));
  const found = /^([1-9][0-9]{0,9})\n?$/.exec(text)?.[1];
  return found === undefined ? undefined : Number(found);
};

const isAnother = (pid: number | undefined): boolean => {
  // Ours by chance, as the first process of a container has the same one again.
  if (pid === undefined || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Somebody else's, but there.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
};

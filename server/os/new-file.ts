import { constants, lstatSync } from 'node:fs';
import { open, rename, unlink, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { HostError } from '../../devices/core/host-memory.js';
import { fromNodeError, nodeCall } from './libc.js';
import type { LoadNative, Native } from './native.js';

// O_TMPFILE, which node:fs does not name; it contains O_DIRECTORY.
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;
const NO_UNNAMED: ReadonlySet<string> = new Set(['EOPNOTSUPP', 'ENOTSUP', 'EISDIR', 'ENOENT']);

/** Runs an operation of `node:fs/promises`; its failure becomes a HostError. */
export const nodeWork = async <T>(work: Promise<T>): Promise<T> => {
  try {
    return await work;
  } catch (error) {
    throw fromNodeError(error);
  }
};

/**
 * A file that appears under its name when it is complete, and not before: the process may die at
 * any time. Where the file system has no files without a name, a dead process leaves one that is
 * called `.NAME.qmemd-...`.
 */
export class NewFile {
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #native: Native | undefined;
  /** The name that it has for now. */
  #name: string | undefined;
  #isSafe = false;

  private constructor(
    path: string,
    file: FileHandle,
    how: { native: Native | undefined; name: string | undefined },
  ) {
    this.#path = path;
    this.#file = file;
    this.#native = how.native;
    this.#name = how.name;
  }

  /**
   * @throws HostError when the host refuses; EEXIST when there is something that is no regular file
   */
  static async create(path: string, loadNative: LoadNative): Promise<NewFile> {
    checkReplaceable(path);
    const native = loadNative();
    const unnamed = native === undefined ? undefined : await openUnnamed(path);
    if (unnamed !== undefined) return new NewFile(path, unnamed, { native, name: undefined });
    const name = besides(path);
    const file = await nodeWork(open(name, 'wx', 0o600));
    return new NewFile(path, file, { native: undefined, name });
  }

  /** @throws HostError such as ENOSPC */
  async write(bytes: Uint8Array, position: number): Promise<void> {
    this.#isSafe = false;
    for (let done = 0; done < bytes.length;) {
      const rest = bytes.length - done;
      const { bytesWritten } = await nodeWork(this.#file.write(bytes, done, rest, position + done));
      done += bytesWritten;
    }
  }

  /** What was written survives the host from here on. May take long. @throws HostError such as EIO */
  async sync(): Promise<void> {
    if (this.#isSafe) return;
    await nodeWork(this.#file.datasync());
    this.#isSafe = true;
  }
  /**
   * Gives it its name, in place of a regular file that has it; closes it.
   *
   * @throws HostError
   */
  async commit(): Promise<void> {
    await this.sync();
    checkReplaceable(this.#path);
    if (this.#name === undefined) {
      const name = besides(this.#path);
      this.#native?.linkUnnamed(this.#file.fd, name);
      this.#name = name;
    }
    await nodeWork(rename(this.#name, this.#path));
    this.#name = undefined;
    await nodeWork(this.#file.close());
  }
  /** Leaves nothing behind, unless it was committed. Never fails. */
  async discard(): Promise<void> {
    if (this.#name !== undefined) await unlink(this.#name).catch(() => undefined);
    this.#name = undefined;
    await this.#file.close().catch(() => undefined);
  }
}

/** @throws HostError */
const checkReplaceable = (path: string): void => {
  const stats = nodeCall(() => lstatSync(path, { throwIfNoEntry: false }));
  if (stats !== undefined && !stats.isFile())
    throw new HostError('EEXIST', 'it exists and is not a regular file');
};

const besides = (path: string): string => {
  const unique = `${String(process.pid)}-${process.hrtime.bigint().toString(36)}`;
  return join(dirname(path), `.${basename(path).slice(0, 200)}.qmemd-${unique}`);
};

const openUnnamed = async (path: string): Promise<FileHandle | undefined> => {
  try {
    return await nodeWork(open(dirname(path), constants.O_WRONLY | O_TMPFILE, 0o600));
  } catch (error) {
    if (error instanceof HostError && NO_UNNAMED.has(error.code)) return undefined;
    throw error;
  }
};

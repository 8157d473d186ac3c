import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import type { HostMemoryService } from '../../devices/core/host-memory.js';
import { nodeCall } from '../os/libc.js';
import type { SharedPlace } from './options.js';

/** The memory that the peers share. */
export interface SharedObject {
  /** Sent to every client. */
  readonly fd: number;
  /** For people. */
  readonly description: string;
  /** Takes the name away, when it is ours. Safe to call twice. */
  close(): Promise<void>;
}

const FOLDER = '/dev/shm';

/**
 * Makes the object, or opens one of that name and size.
 *
 * @throws Error in plain words
 */
export const openSharedObject = (
  place: SharedPlace,
  size: bigint,
  hostMemory: HostMemoryService,
): SharedObject => {
  if (place.kind === 'name') return openNamed(place.name, size);
  const file = hostMemory.createUnnamed(place.path);
  try {
    file.resize(size);
  } catch (error) {
    file.close();
    throw error;
  }
  return {
    fd: file.fd,
    description: `in ${place.path}`,
    close: () => Promise.resolve(file.close()),
  };
};

const openNamed = (name: string, size: bigint): SharedObject => {
  const path = `${FOLDER}/${name}`;
  const fd = tryCreate(path);
  if (fd === undefined) return openExisting(path, size);
  try {
    nodeCall(() => ftruncateSync(fd, Number(size)));
  } catch (error) {
    closeSync(fd);
    unlinkSync(path);
    throw error;
  }
  return new NamedObject(path, fd);
};

/** Undefined when the name is taken. */
const tryCreate = (path: string): number | undefined => {
  try {
    return openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return undefined;
    throw new Error(`cannot create ${path}: ${reason(error)}`, { cause: error });
  }
};

const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Somebody else's object: it is used as it is, and stays. */
const openExisting = (path: string, size: bigint): SharedObject => {
  const fd = nodeCall(() => openSync(path, constants.O_RDWR | constants.O_NOFOLLOW));
  const stats = fstatSync(fd, { bigint: true });
  if (!stats.isFile() || stats.size !== size) {
    closeSync(fd);
    const what = stats.isFile() ? `has ${String(stats.size)} bytes` : 'is no file';
    throw new Error(`${path} exists and ${what}, not ${String(size)} bytes: choose another name`);
  }
  let open = true;
  return {
    fd,
    description: `${path}, which existed and stays`,
    close: () => {
      if (open) closeSync(fd);
      open = false;
      return Promise.resolve();
    },
  };
};

/** Waits until its parent is gone, then takes the name away if it still is that of descriptor 3. */
const GUARD = 'cat >/dev/null; if [ /proc/self/fd/3 -ef "$1" ]; then rm -f -- "$1"; fi';

/** An object with a name of ours, which goes when the server goes - also when it is killed. */
class NamedObject implements SharedObject {
  readonly fd: number;
  readonly description: string;
  readonly #path: string;
  readonly #guard: ChildProcess;
  readonly #guardGone: Promise<unknown>;
  #open = true;

  constructor(path: string, fd: number) {
    this.fd = fd;
    this.description = path;
    this.#path = path;
    this.#guard = spawn('sh', ['-c', GUARD, 'sh', path], {
      stdio: ['pipe', 'ignore', 'ignore', fd],
      // Signals to the server's group are not for the guard.
      detached: true,
      cwd: '/',
    });
    // Without a guard the name outlives a killed server, and nothing else happens.
    this.#guardGone = once(this.#guard, 'exit').catch(() => undefined);
    this.#guard.stdin?.on('error', () => undefined);
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    if (this.#isOurs()) unlinkSync(this.#path);
    closeSync(this.fd);
    this.#guard.stdin?.end();
    await this.#guardGone;
  }

  /** Whether the name still leads to this object. */
  #isOurs(): boolean {
    const named = statSync(this.#path, { bigint: true, throwIfNoEntry: false });
    const own = fstatSync(this.fd, { bigint: true });
    return named !== undefined && named.ino === own.ino && named.dev === own.dev;
  }
}

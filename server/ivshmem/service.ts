import { hostTimer } from '../host-timer.js';
import type { RootLog } from '../log.js';
import { NativeHostMemory } from '../os/host-memory.js';
import { NativeLoader } from '../os/native.js';
import { PidFile } from '../os/pid-file.js';
import { listenUnix, type Endpoint } from '../transport/unix.js';
import type { IvshmemServerConfig } from './options.js';
import { IvshmemServer } from './server.js';
import { openSharedObject, type SharedObject } from './shared-object.js';

const BACKLOG = 10;

export interface ServiceOptions extends IvshmemServerConfig {
  readonly pidfile: string | undefined;
  readonly log: RootLog;
  /** Behave as if the native package were not installed. */
  readonly nativeDisabled?: boolean;
}

/** The ivshmem server with its socket, its shared memory and its pid file. */
export class IvshmemService {
  readonly #options: ServiceOptions;
  #object: SharedObject | undefined;
  #server: IvshmemServer | undefined;
  #endpoint: Endpoint | undefined;
  #pidfile: PidFile | undefined;

  constructor(options: ServiceOptions) {
    this.#options = options;
  }

  /** Ids of the clients that are connected. */
  get ids(): readonly number[] {
    return this.#server?.ids ?? [];
  }

  /** What is served, for people. */
  get description(): string {
    const { socket, size, vectors } = this.#options;
    const memory = `${String(size)} bytes of memory (${this.#object?.description ?? 'none'})`;
    return `ivshmem server on ${socket}: ${memory}, ${String(vectors)} vectors each`;
  }

  /** @throws Error in plain words; nothing is left behind */
  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async #start(): Promise<void> {
    const { socket, place, size, pidfile, nativeDisabled = false } = this.#options;
    const loader = new NativeLoader({ disabled: nativeDisabled });
    const calls = loader.load();
    if (calls === undefined)
      throw new Error(
        `an ivshmem server passes descriptors, for which the optional package koffi is needed (${loader.status().reason ?? 'unknown'})`,
      );
    if (pidfile !== undefined) this.#pidfile = PidFile.claim(pidfile, loader.load);
    // The socket before the memory: of two servers, the second must not touch the memory of the first.
    this.#endpoint = await listenUnix({
      path: socket,
      backlog: BACKLOG,
      onConnection: (_connection, client) => this.#server?.accept(client),
    });
    this.#object = openSharedObject(place, size, new NativeHostMemory(loader));
    const { fd: memory } = this.#object;
    this.#server = new IvshmemServer({ ...this.#options, calls, memory, timer: hostTimer });
  }

  /** Safe to call twice. */
  async stop(): Promise<void> {
    this.#endpoint?.close();
    this.#endpoint = undefined;
    this.#server?.close();
    await this.#object?.close();
    this.#pidfile?.release();
  }
}

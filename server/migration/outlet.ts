import { randomUUID } from 'node:crypto';
import { close, fsync, open, write } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { promisify } from 'node:util';
import { reasonOf } from '../transport/reason.js';

/** Where the source sends its stream to. */
export interface Outlet {
  /** Whether the destination answers. */
  readonly isTwoWay: boolean;
  /** Begins to deliver what the destination says. */
  listen(handlers: OutletHandlers): void;
  /**
   * Undefined when there is room for more at once.
   *
   * @param onSent the bytes may change again
   * @throws Error when it has failed
   */
  send(bytes: Buffer, onSent?: () => void): Promise<void> | undefined;
  /** All that was sent is in its place for good. */
  finish(): Promise<void>;
  /** Gives up: nothing is left behind. Safe to call twice, and after `finish`. */
  abandon(): void;
}

export interface OutletHandlers {
  readonly onData: (bytes: Buffer) => void;
  /** No more will come and go; `reason` is a sentence. */
  readonly onFailure: (reason: string) => void;
}

/** Bytes that wait for the peer at most. */
const HIGH_WATER = 4 * 1024 * 1024;

/** A socket: the destination answers. */
export class SocketOutlet implements Outlet {
  readonly isTwoWay = true;
  readonly #socket: Socket;
  #failure: string | undefined;
  #drained: (() => void)[] = [];

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('drain', () => this.#wake());
  }

  listen({ onData, onFailure }: OutletHandlers): void {
    const fail = (reason: string): void => {
      if (this.#failure !== undefined) return;
      this.#failure = reason;
      onFailure(reason);
      this.#wake();
    };
    this.#socket.on('data', onData);
    this.#socket.on('error', (error) => fail(`Unable to write to socket: ${reasonOf(error)}`));
    this.#socket.on('end', () => fail('The destination closed the connection'));
    this.#socket.on('close', () => fail('The connection was closed'));
    this.#socket.resume();
  }
  send(bytes: Buffer, onSent?: () => void): Promise<void> | undefined {
    this.#check();
    this.#socket.write(bytes, onSent);
    return this.#socket.writableLength <= HIGH_WATER ? undefined : this.#room();
  }
  async finish(): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.end(resolve));
  }
  abandon(): void {
    if (this.#failure !== undefined) this.#socket.destroy();
    else {
      this.#failure = 'The migration was given up';
      // Only TCP knows of resets; a UNIX socket just ends.
      if (this.#socket.remotePort === undefined) this.#socket.destroy();
      else this.#socket.resetAndDestroy();
    }
    this.#wake();
  }

  async #room(): Promise<void> {
    await new Promise<void>((resolve) => this.#drained.push(resolve));
    this.#check();
  }
  #check(): void {
    if (this.#failure !== undefined) throw new Error(this.#failure);
  }
  #wake(): void {
    for (const wake of this.#drained.splice(0)) wake();
  }
}

const file = {
  open: promisify(open),
  write: promisify(write),
  sync: promisify(fsync),
  close: promisify(close),
};

/** A file, which has its name only when it is complete; or a pipe. */
export class FileOutlet implements Outlet {
  readonly isTwoWay = false;
  readonly #fd: number;
  readonly #names: { readonly partial: string; readonly path: string } | undefined;
  #isOpen = true;
  /** Writes that are under way; they are made one after the other. */
  #last: Promise<void> = Promise.resolve();
  #failure: Error | undefined;
  #waiting = 0;

  private constructor(fd: number, names?: { partial: string; path: string }) {
    this.#fd = fd;
    this.#names = names;
  }

  /** @throws Error when no file can be made beside `path` */
  static async create(path: string): Promise<FileOutlet> {
    const partial = `${path}.${randomUUID().slice(0, 8)}.partial`;
    try {
      return new FileOutlet(await file.open(partial, 'wx', 0o600), { partial, path });
    } catch (error) {
      throw new Error(`Failed to create '${path}': ${reasonOf(error)}`, { cause: error });
    }
  }
  /** @param fd a pipe or an open file, taken over; it is written from where it stands */
  static adopt(fd: number): FileOutlet {
    return new FileOutlet(fd);
  }

  listen(): void {
    // Nobody answers.
  }
  send(bytes: Buffer, onSent?: () => void): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    this.#waiting += bytes.length;
    this.#last = this.#last.then(() => this.#write(bytes)).then(onSent);
    return this.#waiting <= HIGH_WATER ? undefined : this.#settled();
  }
  async finish(): Promise<void> {
    await this.#settled();
    if (this.#names !== undefined) await file.sync(this.#fd);
    this.#isOpen = false;
    await file.close(this.#fd);
    if (this.#names !== undefined) await rename(this.#names.partial, this.#names.path);
  }
  abandon(): void {
    this.#failure ??= new Error('The migration was given up');
    const wasOpen = this.#isOpen;
    this.#isOpen = false;
    void this.#last.then(() => this.#discard(wasOpen));
  }

  async #discard(wasOpen: boolean): Promise<void> {
    // Whatever is left is harmless: nobody knows its name.
    if (wasOpen) await file.close(this.#fd).catch(() => undefined);
    if (this.#names !== undefined) await rm(this.#names.partial, { force: true });
  }
  async #settled(): Promise<void> {
    await this.#last;
    if (this.#failure !== undefined) throw this.#failure;
  }
  async #write(bytes: Buffer): Promise<void> {
    this.#waiting -= bytes.length;
    if (this.#failure !== undefined) return;
    try {
      for (let done = 0; done < bytes.length;) {
        const rest = bytes.subarray(done);
        done += (await file.write(this.#fd, rest)).bytesWritten;
      }
    } catch (error) {
      this.#failure = new Error(`Unable to write: ${reasonOf(error)}`, { cause: error });
    }
  }
}

import { close, write } from 'node:fs';
import type { Socket } from 'node:net';
import { promisify } from 'node:util';
import type { LoadNative } from '../os/native.js';
import { NewFile } from '../os/new-file.js';
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
  /** Resolves when all that was sent has been taken. @throws Error when it has failed */
  flush(): Promise<void>;
  /**
   * After `flush`: all is safe, but not in its place yet. May take long, and ends at once when it is
   * given up. @throws Error when it has failed
   */
  store(): Promise<void>;
  /** After `store`: all is in its place for good, and nothing follows. */
  finish(): Promise<void>;
  /**
   * Cuts the connection, as if the peer had gone; what came from it before still counts. Without
   * effect on a file or a pipe.
   */
  cut(): void;
  /**
   * Gives up: nothing is left behind, and whoever waits for room is told so. Safe to call twice, and
   * after `finish`.
   */
  abandon(): void;
}

export interface OutletHandlers {
  readonly onData: (bytes: Buffer) => void;
  /** No more will come and go; `reason` is a sentence. */
  readonly onFailure: (reason: string) => void;
}

/** Bytes that wait for the peer at most. */
const HIGH_WATER = 4 * 1024 * 1024;

/** A socket, whose destination answers; or a pipe, where nobody does. */
export class SocketOutlet implements Outlet {
  readonly isTwoWay: boolean;
  readonly #socket: Socket;
  #onFailure: OutletHandlers['onFailure'] | undefined;
  #failure: string | undefined;
  /** Writes that have not been taken. */
  #unsent = 0;
  #waiting: (() => void)[] = [];

  constructor(socket: Socket, { isTwoWay = true }: { isTwoWay?: boolean } = {}) {
    this.#socket = socket;
    this.isTwoWay = isTwoWay;
  }

  listen({ onData, onFailure }: OutletHandlers): void {
    this.#onFailure = onFailure;
    this.#socket.on('data', onData);
    this.#socket.on('error', (error) => this.#failToWrite(error));
    this.#socket.on('end', () => this.#fail('The destination closed the connection'));
    this.#socket.on('close', () => this.#fail('The connection was closed'));
    this.#socket.resume();
  }
  send(bytes: Buffer, onSent?: () => void): Promise<void> | undefined {
    this.#check();
    this.#unsent++;
    this.#socket.write(bytes, (error) => {
      if (error) this.#failToWrite(error);
      onSent?.();
      if (--this.#unsent === 0) this.#wake();
    });
    return this.#socket.writableLength <= HIGH_WATER ? undefined : this.flush();
  }
  async flush(): Promise<void> {
    if (this.#unsent > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#check();
  }
  store(): Promise<void> {
    return Promise.resolve();
  }
  async finish(): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.end(resolve));
  }
  cut(): void {
    // One whole turn: that the machine runs elsewhere may have been said already.
    setImmediate(() => setImmediate(() => this.#socket.destroy()));
  }
  abandon(): void {
    if (this.#failure !== undefined) this.#socket.destroy();
    else {
      this.#failure = 'The migration was given up';
      // Only TCP knows of resets; others just end.
      if (this.#socket.remotePort === undefined) this.#socket.destroy();
      else this.#socket.resetAndDestroy();
    }
    this.#wake();
  }

  #check(): void {
    if (this.#failure !== undefined) throw new Error(this.#failure);
  }
  #failToWrite(error: Error): void {
    this.#fail(`Unable to write to ${this.isTwoWay ? 'socket' : 'pipe'}: ${reasonOf(error)}`);
  }
  #fail(reason: string): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    this.#onFailure?.(reason);
    this.#wake();
  }
  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

/** What a FileOutlet writes to; one call at a time. */
interface Written {
  /** @throws Error */
  write(bytes: Buffer): Promise<void>;
  /** Makes it safe, which may take long. @throws Error */
  sync(): Promise<void>;
  /** Keeps what was written. @throws Error */
  commit(): Promise<void>;
  /** Also after a `commit`. Never fails. */
  discard(): Promise<void>;
}

/** A regular file: writing there never waits for anybody. */
export class FileOutlet implements Outlet {
  readonly isTwoWay = false;
  readonly #file: Written;
  /** What is under way; one thing is done after the other. */
  #last: Promise<void> = Promise.resolve();
  #failure: Error | undefined;
  #waiting = 0;
  /** Ends a `store` that is under way. */
  #onAbandon: ((error: Error) => void) | undefined;

  private constructor(file: Written) {
    this.#file = file;
  }

  /**
   * A file that has its name when it is complete, in place of a regular file that has it.
   *
   * @throws Error when no file can be made there, or something else has that name
   */
  static async create(path: string, loadNative: LoadNative): Promise<FileOutlet> {
    const explained = async <T>(work: Promise<T>): Promise<T> => {
      try {
        return await work;
      } catch (error) {
        throw new Error(`Failed to create '${path}': ${reasonOf(error)}`, { cause: error });
      }
    };
    const file = await explained(NewFile.create(path, loadNative));
    let position = 0;
    return new FileOutlet({
      write: async (bytes) => {
        await file.write(bytes, position);
        position += bytes.length;
      },
      sync: () => explained(file.sync()),
      commit: () => explained(file.commit()),
      discard: () => file.discard(),
    });
  }
  /** @param fd an open regular file, taken over; it is written from where it stands */
  static adopt(fd: number): FileOutlet {
    let isOpen = true;
    const end = async (): Promise<void> => {
      if (!isOpen) return;
      isOpen = false;
      await closeFile(fd);
    };
    return new FileOutlet({
      write: async (bytes) => {
        for (let done = 0; done < bytes.length;)
          done += (await writeFile(fd, bytes.subarray(done))).bytesWritten;
      },
      sync: () => Promise.resolve(),
      commit: end,
      discard: () => end().catch(() => undefined),
    });
  }

  listen(): void {
    // Nobody answers.
  }
  send(bytes: Buffer, onSent?: () => void): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    this.#waiting += bytes.length;
    this.#last = this.#last.then(() => this.#write(bytes)).then(onSent);
    return this.#waiting <= HIGH_WATER ? undefined : this.flush();
  }
  cut(): void {
    // As QEMU: only sockets are cut.
  }
  async flush(): Promise<void> {
    await this.#last;
    if (this.#failure !== undefined) throw this.#failure;
  }
  async store(): Promise<void> {
    await this.flush();
    const stored = this.#file.sync();
    this.#last = stored.catch(() => undefined);
    await new Promise<void>((resolve, reject) => {
      this.#onAbandon = reject;
      stored.then(resolve, reject);
    });
  }
  async finish(): Promise<void> {
    const committed = this.flush().then(() => this.#file.commit());
    this.#last = committed.catch(() => undefined);
    await committed;
  }
  abandon(): void {
    this.#failure ??= new Error('The migration was given up');
    this.#onAbandon?.(this.#failure);
    this.#last = this.#last.then(() => this.#file.discard());
  }

  async #write(bytes: Buffer): Promise<void> {
    this.#waiting -= bytes.length;
    if (this.#failure !== undefined) return;
    try {
      await this.#file.write(bytes);
    } catch (error) {
      this.#failure = new Error(`Unable to write: ${reasonOf(error)}`, { cause: error });
    }
  }
}

const writeFile = promisify(write);
const closeFile = promisify(close);

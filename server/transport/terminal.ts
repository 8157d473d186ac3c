import { closeSync, readSync, writeSync } from 'node:fs';
import { READABLE, type Native, type PollHandle } from '../os/native.js';
import type { Terminal } from '../os/terminal.js';
import type { Connection, ConnectionHandlers } from './connection.js';

const PORTION = 4096;

/** The far side of a pseudo terminal. What nobody reads there is lost when the terminal is full. */
export class TerminalConnection implements Connection {
  readonly kind = 'pty';
  readonly buffered = 0;
  readonly #native: Native;
  readonly #terminal: Terminal;
  readonly #into = Buffer.alloc(PORTION);
  #handlers: ConnectionHandlers | undefined;
  #poll: PollHandle | undefined;
  #isClosed = false;

  /** The terminal is the connection's from here on. */
  constructor(native: Native, terminal: Terminal) {
    this.#native = native;
    this.#terminal = terminal;
    native.setNonBlocking(terminal.fd);
  }

  start(handlers: ConnectionHandlers): void {
    this.#handlers = handlers;
    this.#poll = this.#native.poll(this.#terminal.fd, READABLE, () => this.#read());
    this.resume();
  }
  #read(): void {
    let count: number;
    try {
      count = readSync(this.#terminal.fd, this.#into);
    } catch {
      // Nothing there after all; a terminal whose other end we hold has no other trouble.
      return;
    }
    this.#handlers?.onData(Buffer.from(this.#into.subarray(0, count)), []);
  }

  send(message: string): void {
    this.sendBytes(Buffer.from(`${message}\r\n`, 'latin1'));
  }
  sendBytes(bytes: Buffer): void {
    if (this.#isClosed) return;
    try {
      writeSync(this.#terminal.fd, bytes);
    } catch {
      // Full: nobody reads at the other end.
    }
  }
  /** Bytes leave at once. */
  flush(): void {}

  pause(): void {
    this.#poll?.set(0);
  }
  resume(): void {
    this.#poll?.set(READABLE);
  }
  end(): void {
    this.destroy();
  }
  destroy(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#poll?.close();
    closeSync(this.#terminal.fd);
    closeSync(this.#terminal.other);
    process.nextTick(() => this.#handlers?.onClose());
  }
}

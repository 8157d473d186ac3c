import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import type { Native } from '../os/native.js';
import type { Connection, ConnectionHandlers } from './connection.js';

/** The calls that a socket needs of the native layer. */
export type SocketCalls = Pick<Native, 'recvmsg' | 'sendmsg' | 'poll' | 'descriptorLimit'>;

export interface NativeSocket {
  readonly calls: SocketCalls;
  readonly fd: number;
  /** Receives into this; what is handed on is copied out. May be shared. */
  readonly into: Buffer;
  /** Sent before anything else. */
  readonly unsent?: Buffer | undefined;
  /** Closes the descriptor. */
  readonly close: () => void;
}

const READABLE = 1;
const WRITABLE = 2;
const { EAGAIN, EMSGSIZE } = constants.errno;
/** Reads of one callback, so that other connections get their turn. */
const MAX_READS = 16;
/** Descriptors that peers cannot use up: what the daemon itself opens, code included, needs some. */
const SPARE_DESCRIPTORS = 32;
const LOST = 'it sent descriptors that could not be received: the process has too many open';

/** A UNIX socket read by recvmsg, so that descriptors arrive with the bytes they belong to. */
export class NativeConnection implements Connection {
  readonly kind = 'unix';
  readonly #socket: NativeSocket;
  #handlers: ConnectionHandlers | undefined;
  #poll: ReturnType<SocketCalls['poll']> | undefined;
  #waitsFor = 0;
  /** Messages of this turn. */
  #pending = '';
  /** What the operating system did not take yet. */
  #unsent: Buffer[] = [];
  #unsentBytes = 0;
  #isScheduled = false;
  #isCorked = false;
  #isPaused = false;
  #atEnd = false;
  #isEnding = false;
  #isClosed = false;

  constructor(socket: NativeSocket) {
    this.#socket = socket;
  }

  start(handlers: ConnectionHandlers): void {
    this.#handlers = handlers;
    const { calls, fd } = this.#socket;
    this.#waitsFor = READABLE;
    this.#poll = calls.poll(fd, READABLE, (status, ready) => this.#onReady(status, ready));
    if (this.#socket.unsent !== undefined) this.#push(this.#socket.unsent);
  }

  send(message: string): void {
    this.#pending += `${message}\r\n`;
    if (this.#isCorked || this.#isScheduled) return;
    this.#isScheduled = true;
    process.nextTick(() => {
      this.#isScheduled = false;
      this.flush();
    });
  }

  flush(): void {
    if (this.#pending === '' || this.#isClosed) return;
    const bytes = Buffer.from(this.#pending, 'latin1');
    this.#pending = '';
    this.#push(bytes);
  }

  sendBytes(bytes: Buffer): void {
    this.flush();
    if (!this.#isClosed && bytes.length > 0) this.#push(bytes);
  }

  #push(bytes: Buffer): void {
    this.#unsent.push(bytes);
    this.#unsentBytes += bytes.length;
    if (this.#unsent.length === 1) this.#write();
  }

  get buffered(): number {
    return this.#pending.length + this.#unsentBytes;
  }

  pause(): void {
    this.#isPaused = true;
    this.#wait();
  }

  resume(): void {
    this.#isPaused = false;
    this.#wait();
  }

  end(): void {
    if (this.#isEnding) return;
    this.flush();
    this.#isEnding = true;
    this.#wait();
    if (this.#unsentBytes === 0 && !this.#isClosed) this.#finish();
  }

  destroy(): void {
    this.#cut(undefined);
  }

  #cut(reason: string | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#pending = '';
    this.#unsent = [];
    this.#unsentBytes = 0;
    this.#poll?.close();
    this.#socket.close();
    process.nextTick(() => this.#handlers?.onClose(reason));
  }

  #onReady(status: number, ready: number): void {
    if (status < 0) {
      this.destroy();
      return;
    }
    if ((ready & WRITABLE) !== 0) this.#write();
    if ((ready & READABLE) !== 0) this.#read();
  }

  #read(): void {
    const { calls, fd, into } = this.#socket;
    for (let i = 0; i < MAX_READS && !this.#isPaused && !this.#isEnding && !this.#isClosed; i++) {
      const descriptors: number[] = [];
      const n = calls.recvmsg(fd, into, descriptors);
      if (n === -EAGAIN) return;
      if (this.#areTooMany(descriptors)) this.#cut(LOST);
      else if (n < 0) this.#cut(n === -EMSGSIZE ? LOST : undefined);
      else this.#deliver(n, descriptors);
      if (n < into.length) return;
    }
  }

  /** Whether the process is about to have none left; closes them then. */
  #areTooMany(descriptors: readonly number[]): boolean {
    // The system gives the lowest number that is free.
    const tooHigh = this.#socket.calls.descriptorLimit - SPARE_DESCRIPTORS;
    if (!descriptors.some((fd) => fd >= tooHigh)) return false;
    for (const fd of descriptors) closeSync(fd);
    return true;
  }

  /** Hands on what was read; the replies to it leave in one write. */
  #deliver(n: number, descriptors: number[]): void {
    this.#isCorked = true;
    if (n > 0) this.#handlers?.onData(Buffer.from(this.#socket.into.subarray(0, n)), descriptors);
    else {
      this.#atEnd = true;
      this.#wait();
      this.#handlers?.onEnd();
    }
    this.#isCorked = false;
    this.flush();
  }

  #write(): void {
    for (let first = this.#unsent[0]; first !== undefined; first = this.#unsent[0]) {
      const n = this.#socket.calls.sendmsg(this.#socket.fd, first);
      if (n < 0 && n !== -EAGAIN) {
        this.destroy();
        return;
      }
      if (n < 0) break;
      this.#unsentBytes -= n;
      if (n < first.length) this.#unsent[0] = first.subarray(n);
      else this.#unsent.shift();
    }
    const isBlocked = this.#unsent.length > 0;
    const hasWaited = (this.#waitsFor & WRITABLE) !== 0;
    this.#wait();
    if (isBlocked) return;
    if (this.#isEnding) this.#finish();
    else if (hasWaited) this.#handlers?.onDrain();
  }

  #wait(): void {
    const reads = !this.#isPaused && !this.#atEnd && !this.#isEnding;
    const wanted = (reads ? READABLE : 0) | (this.#unsent.length > 0 ? WRITABLE : 0);
    if (wanted === this.#waitsFor || this.#isClosed) return;
    this.#waitsFor = wanted;
    this.#poll?.set(wanted);
  }

  /** Everything is sent: unread input is read away, so that the peer sees an end and no reset. */
  #finish(): void {
    const { calls, fd, into } = this.#socket;
    const descriptors: number[] = [];
    for (let i = 0; i < MAX_READS && calls.recvmsg(fd, into, descriptors) > 0; i++);
    for (const descriptor of descriptors) closeSync(descriptor);
    this.destroy();
  }
}

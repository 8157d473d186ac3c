import { writeSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { LoadNative } from '../os/native.js';
import type { Connection, ConnectionHandlers } from './connection.js';
import { NativeConnection } from './native-connection.js';
import { StreamConnection } from './stream-connection.js';

export interface AcceptedSocket {
  readonly socket: Socket;
  readonly fd: number;
  readonly native: LoadNative;
  readonly into: Buffer;
}

/** Descriptor of a socket; undefined where Node does not show it. */
export const descriptorOf = (socket: Socket): number | undefined => {
  const handle: unknown = Reflect.get(socket, '_handle');
  const fd: unknown =
    typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : -1;
  return typeof fd === 'number' && fd >= 0 ? fd : undefined;
};

/** A client behind one of Node's sockets. */
export const socketConnection = (socket: Socket): Connection =>
  new StreamConnection({
    kind: 'unix',
    input: socket,
    output: socket,
    destroy: () => socket.destroy(),
  });

/**
 * A UNIX socket whose greeting leaves before the native layer is loaded: that takes longer than
 * all the rest of starting. From the next turn on it is what it can be.
 */
export class LateConnection implements Connection {
  readonly kind = 'unix';
  readonly #accepted: AcceptedSocket;
  #inner: Connection | undefined;
  #pending: (string | Buffer)[] = [];
  /** What the operating system did not take. */
  #unsent: Buffer | undefined;
  #isPaused = false;
  #isEnding = false;
  #isDestroyed = false;

  constructor(accepted: AcceptedSocket) {
    this.#accepted = accepted;
  }

  start(handlers: ConnectionHandlers): void {
    setImmediate(() => {
      if (this.#isDestroyed) {
        this.#accepted.socket.destroy();
        handlers.onClose();
      } else this.#settle(handlers);
    });
  }

  #settle(handlers: ConnectionHandlers): void {
    const { native, socket, fd, into } = this.#accepted;
    const calls = native();
    const close = (): void => {
      socket.destroy();
    };
    const unsent = this.#unsent;
    if (calls === undefined && unsent !== undefined) socket.write(unsent);
    const inner =
      calls === undefined
        ? socketConnection(socket)
        : new NativeConnection({ calls, fd, into, close, unsent });
    this.#inner = inner;
    inner.start(handlers);
    for (const item of this.#pending)
      if (typeof item === 'string') inner.send(item);
      else inner.sendBytes(item);
    if (this.#isPaused) inner.pause();
    if (this.#isEnding) inner.end();
  }

  send(message: string): void {
    if (this.#inner === undefined) this.#pending.push(message);
    else this.#inner.send(message);
  }

  sendBytes(bytes: Buffer): void {
    if (this.#inner === undefined) this.#pending.push(bytes);
    else this.#inner.sendBytes(bytes);
  }

  flush(): void {
    if (this.#inner !== undefined) {
      this.#inner.flush();
      return;
    }
    // What is in the way already keeps its place.
    if (this.#pending.length === 0 || this.#isDestroyed || this.#unsent !== undefined) return;
    const bytes = Buffer.concat(
      this.#pending.map((item) =>
        typeof item === 'string' ? Buffer.from(`${item}\r\n`, 'latin1') : item,
      ),
    );
    this.#pending = [];
    const taken = this.#writeNow(bytes);
    if (taken < bytes.length) this.#unsent = bytes.subarray(taken);
  }

  /** Bytes taken: all, for a greeting on a fresh socket. */
  #writeNow(bytes: Buffer): number {
    try {
      return writeSync(this.#accepted.fd, bytes);
    } catch {
      // Full, or gone: the connection to come finds out which.
      return 0;
    }
  }

  get buffered(): number {
    if (this.#inner !== undefined) return this.#inner.buffered;
    const pending = this.#pending.reduce((sum, message) => sum + message.length + 2, 0);
    return pending + (this.#unsent?.length ?? 0);
  }

  pause(): void {
    this.#isPaused = true;
    this.#inner?.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#inner?.resume();
  }

  end(): void {
    this.#isEnding = true;
    this.#inner?.end();
  }

  destroy(): void {
    this.#isDestroyed = true;
    this.#inner?.destroy();
  }
}

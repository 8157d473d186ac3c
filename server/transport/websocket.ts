import type { Duplex } from 'node:stream';
import type { RawData, WebSocket } from 'ws';
import type { Connection, ConnectionHandlers } from './connection.js';

const toBuffer = (data: RawData): Buffer => {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
};

const OPEN = 1;
/** Status of a close without trouble: normal, going away, none given. */
const ORDERLY: readonly number[] = [1000, 1001, 1005];

/**
 * A WebSocket client: text and binary messages in are one stream of bytes, each message out is one
 * text frame without line end.
 */
export class WebSocketConnection implements Connection {
  readonly kind = 'websocket';
  readonly #socket: WebSocket;
  readonly #stream: Duplex;
  #isCorked = false;
  #handlers: ConnectionHandlers | undefined;
  #unsent = 0;
  #isBehind = false;
  #isEnding = false;
  #isClosed = false;

  /** @param stream what carries the frames */
  constructor(socket: WebSocket, stream: Duplex) {
    this.#socket = socket;
    this.#stream = stream;
    // A protocol error is followed by close.
    socket.on('error', () => undefined);
  }

  start(handlers: ConnectionHandlers): void {
    this.#handlers = handlers;
    this.#socket.on('message', (data) => {
      if (!this.#isEnding) handlers.onData(toBuffer(data), []);
    });
    this.#socket.on('close', (code) => {
      // What came before an orderly close is still run; its replies reach nobody.
      if (ORDERLY.includes(code) && !this.#isEnding) handlers.onEnd();
      if (this.#isEnding || !ORDERLY.includes(code)) this.#closed();
    });
  }

  send(message: string): void {
    this.#frame(message);
  }

  sendBytes(bytes: Buffer): void {
    this.#frame(bytes);
  }

  #frame(data: string | Buffer): void {
    if (this.#socket.readyState !== OPEN) return;
    this.#cork();
    this.#unsent++;
    this.#socket.send(data, { binary: typeof data !== 'string' }, () => this.#sent());
    if (this.#socket.bufferedAmount > 0) this.#isBehind = true;
  }

  /**
   * Hands all frames of a turn to the operating system in one write. That is sooner, and a client
   * that is gone costs one failed write instead of one for each reply that it will not read.
   */
  #cork(): void {
    if (this.#isCorked) return;
    this.#isCorked = true;
    this.#stream.cork();
    process.nextTick(() => {
      this.#isCorked = false;
      this.#stream.uncork();
    });
  }

  #sent(): void {
    this.#unsent--;
    if (this.#unsent > 0 || !this.#isBehind || this.#isClosed) return;
    this.#isBehind = false;
    this.#handlers?.onDrain();
  }

  /** Frames leave by themselves. */
  flush(): void {}

  get buffered(): number {
    return this.#socket.bufferedAmount;
  }

  pause(): void {
    if (this.#socket.readyState === OPEN) this.#socket.pause();
  }

  resume(): void {
    if (this.#socket.readyState === OPEN) this.#socket.resume();
  }

  end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    if (this.#socket.readyState > OPEN) this.#closed();
    else {
      this.#socket.resume();
      this.#socket.close(1000);
    }
  }

  destroy(): void {
    this.#isEnding = true;
    this.#socket.terminate();
    process.nextTick(() => this.#closed());
  }

  #closed(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#handlers?.onClose();
  }
}

import type { Readable, Writable } from 'node:stream';
import type { Connection, ConnectionHandlers } from './connection.js';

export interface Streams {
  readonly kind: 'unix' | 'tcp' | 'stdio';
  readonly input: Readable;
  readonly output: Writable;
  /** Ends both directions at once. */
  readonly destroy: () => void;
}

/** A client behind Node's own streams: a socket without the native layer, or stdin and stdout. */
export class StreamConnection implements Connection {
  readonly kind: 'unix' | 'tcp' | 'stdio';
  readonly #streams: Streams;
  #handlers: ConnectionHandlers | undefined;
  /** Messages of this turn. */
  #pending = '';
  #isScheduled = false;
  #isCorked = false;
  /** The operating system has not taken everything. */
  #isBehind = false;
  #isEnding = false;
  #isClosed = false;

  constructor(streams: Streams) {
    this.kind = streams.kind;
    this.#streams = streams;
  }

  start(handlers: ConnectionHandlers): void {
    this.#handlers = handlers;
    const { input, output } = this.#streams;
    const closed = (): void => this.#closed();
    // Standard input closes by itself at its end; what came before is still answered.
    const isOneWay = !Object.is(input, output);
    input.on('data', (bytes: Buffer) => this.#received(bytes));
    input.on('end', () => {
      if (isOneWay) input.off('close', closed);
      if (!this.#isEnding) this.#corked(() => handlers.onEnd());
    });
    for (const stream of new Set([input, output])) {
      stream.on('error', closed);
      stream.on('close', closed);
    }
    input.resume();
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

  sendBytes(bytes: Buffer): void {
    this.flush();
    if (!this.#isClosed && bytes.length > 0) this.#write(bytes);
  }

  flush(): void {
    if (this.#pending === '' || this.#isClosed) return;
    const text = this.#pending;
    this.#pending = '';
    this.#write(text);
  }

  #write(data: string | Buffer): void {
    this.#streams.output.write(data, 'latin1', () => this.#written());
    if (this.#streams.output.writableLength > 0) this.#isBehind = true;
  }

  #written(): void {
    if (!this.#isBehind || this.#isClosed || this.#streams.output.writableLength > 0) return;
    this.#isBehind = false;
    this.#handlers?.onDrain();
  }

  get buffered(): number {
    return this.#pending.length + this.#streams.output.writableLength;
  }

  pause(): void {
    this.#streams.input.pause();
  }

  resume(): void {
    if (!this.#isEnding) this.#streams.input.resume();
  }

  end(): void {
    if (this.#isEnding || this.#isClosed) return;
    this.flush();
    this.#isEnding = true;
    const { input, output } = this.#streams;
    // What the peer still sends is read and forgotten: closing over unread input is a reset.
    input.resume();
    output.write('', () => setImmediate(() => this.destroy()));
  }

  destroy(): void {
    this.#pending = '';
    this.#streams.destroy();
    process.nextTick(() => this.#closed());
  }

  #received(bytes: Buffer): void {
    if (!this.#isEnding) this.#corked(() => this.#handlers?.onData(bytes, []));
  }

  /** Runs `work` and hands what it sent to the operating system in one write. */
  #corked(work: () => void): void {
    this.#isCorked = true;
    work();
    this.#isCorked = false;
    this.flush();
  }

  #closed(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#streams.destroy();
    this.#handlers?.onClose();
  }
}

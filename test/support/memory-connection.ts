import type { Connection, ConnectionHandlers } from '../../server/transport/connection.js';

/** A client in memory: what it is sent is read at once, or kept back while it does not read. */
export class MemoryConnection implements Connection {
  readonly kind = 'unix';
  /** Messages that the client has read. */
  readonly messages: string[] = [];
  /** What was written at once: messages of one write. */
  readonly writes: string[][] = [];
  state: 'open' | 'ended' | 'destroyed' = 'open';
  isPaused = false;
  reads = true;
  #handlers: ConnectionHandlers | undefined;
  #queued: string[] = [];
  #unread: string[] = [];

  get client(): ConnectionHandlers {
    if (this.#handlers === undefined) throw new Error('not started');
    return this.#handlers;
  }

  start(handlers: ConnectionHandlers): void {
    this.#handlers = handlers;
  }

  send(message: string): void {
    this.#queued.push(message);
  }

  sendBytes(bytes: Buffer): void {
    this.flush();
    this.#queued.push(bytes.toString('latin1'));
    this.flush();
  }

  flush(): void {
    if (this.#queued.length === 0 || this.state === 'destroyed') return;
    this.writes.push(this.#queued);
    (this.reads ? this.messages : this.#unread).push(...this.#queued);
    this.#queued = [];
  }

  get buffered(): number {
    return [...this.#unread, ...this.#queued].reduce((sum, { length }) => sum + length + 2, 0);
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  end(): void {
    this.flush();
    this.#close('ended');
  }

  destroy(): void {
    this.#close('destroyed');
  }

  #close(state: 'ended' | 'destroyed'): void {
    if (this.state !== 'open') return;
    this.state = state;
    this.#handlers?.onClose();
  }

  /** Delivers input as one read. */
  feed(input: string | Buffer, descriptors: readonly number[] = []): void {
    this.client.onData(Buffer.from(input as string, 'utf8'), descriptors);
    this.flush();
  }

  /** The client reads everything that waits, and goes on reading. */
  catchUp(): void {
    this.flush();
    this.reads = true;
    while (this.#unread.length > 0) {
      this.messages.push(...this.#unread.splice(0));
      this.client.onDrain();
      this.flush();
    }
  }

  /** Takes the messages read so far. */
  take(): string[] {
    this.flush();
    return this.messages.splice(0);
  }
}

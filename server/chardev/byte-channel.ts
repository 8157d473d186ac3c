import { closeSync } from 'node:fs';
import type { CharFrontEnd, CharListener } from '../../devices/core/char-device.js';
import type { Log } from '../../devices/core/device.js';
import type { Connection } from '../transport/connection.js';

export interface ByteChannelOptions {
  readonly log: Log;
  /** Bytes that the peer may leave unread before it is disconnected. */
  readonly unreadBytes: number;
  /** Peers that may wait for the one before them to leave. */
  readonly waiting: number;
  /** Bytes that are read ahead while no front end listens; a descriptor counts as 1024. */
  readonly heldBytes: number;
}

/** What a peer sent while no front end listened. */
interface Held {
  readonly bytes: Uint8Array;
  readonly descriptors: readonly number[];
}
const DESCRIPTOR_BYTES = 1024;

/**
 * Bytes between a character device and a device of the machine: one peer at a time, further ones
 * wait. While no front end listens a little is read ahead, so that the end of the peer is noticed;
 * as in QEMU it takes with it what nobody has read.
 */
export class ByteChannel {
  readonly #options: ByteChannelOptions;
  #peer: Connection | undefined;
  readonly #waiting: Connection[] = [];
  #listener: CharListener | undefined;
  #held: Held[] = [];
  #heldBytes = 0;
  #isClosed = false;

  constructor(options: ByteChannelOptions) {
    this.#options = options;
  }

  get connected(): boolean {
    return this.#peer !== undefined;
  }

  /** Takes a peer, or lets it wait its turn. */
  accept(connection: Connection): void {
    if (this.#peer === undefined && !this.#isClosed) this.#begin(connection);
    else if (this.#waiting.length < this.#options.waiting && !this.#isClosed)
      this.#waiting.push(connection);
    else {
      this.#options.log.warn({ waiting: this.#waiting.length }, 'peer of chardev refused');
      refuse(connection);
    }
  }

  /** A front end, which the caller may hand out once at a time. */
  attach(onRelease: () => void): CharFrontEnd {
    let isReleased = false;
    const connected = (): boolean => this.connected;
    return {
      get connected() {
        return !isReleased && connected();
      },
      open: (listener) => {
        if (isReleased) return;
        this.#listener = listener;
        // The listener hears of nothing before it has returned from here.
        setImmediate(() => this.#deliver());
      },
      write: (bytes) => {
        if (!isReleased) this.#write(bytes);
      },
      release: () => {
        if (isReleased) return;
        isReleased = true;
        this.#listener = undefined;
        onRelease();
      },
    };
  }

  /** Disconnects the peer; the next one that waits takes its place. */
  cut(): void {
    this.#peer?.destroy();
  }

  /** Disconnects everybody. Safe to call twice. */
  close(): void {
    this.#isClosed = true;
    for (const connection of this.#waiting.splice(0)) refuse(connection);
    this.#peer?.end();
  }

  #begin(connection: Connection): void {
    this.#peer = connection;
    connection.start({
      onData: (bytes, descriptors) => this.#received(bytes, descriptors),
      onDrain: () => undefined,
      // As QEMU: who sends no more has left.
      onEnd: () => connection.destroy(),
      onClose: (reason) => {
        if (reason !== undefined) this.#options.log.warn({ reason }, 'peer of chardev cut off');
        this.#left();
      },
    });
  }

  #received(bytes: Buffer, descriptors: readonly number[]): void {
    if (this.#listener !== undefined && this.#held.length === 0) {
      this.#listener.data(bytes, descriptors);
      return;
    }
    this.#held.push({ bytes, descriptors });
    this.#heldBytes += weight({ bytes, descriptors });
    if (this.#heldBytes >= this.#options.heldBytes) this.#peer?.pause();
  }

  /** Hands on what was held, as long as somebody listens. */
  #deliver(): void {
    while (this.#listener !== undefined) {
      const next = this.#held.shift();
      if (next === undefined) break;
      this.#heldBytes -= weight(next);
      this.#listener.data(next.bytes, next.descriptors);
    }
    if (this.#heldBytes < this.#options.heldBytes) this.#peer?.resume();
  }

  #left(): void {
    this.#deliver();
    for (const { descriptors } of this.#held.splice(0)) closeAll(descriptors);
    this.#heldBytes = 0;
    this.#peer = undefined;
    this.#listener?.closed();
    const next = this.#isClosed ? undefined : this.#waiting.shift();
    if (next !== undefined) this.#begin(next);
  }

  #write(bytes: Uint8Array): void {
    const peer = this.#peer;
    if (peer === undefined) return;
    peer.sendBytes(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    if (peer.buffered <= this.#options.unreadBytes) return;
    this.#options.log.warn({ buffered: peer.buffered }, 'peer of chardev reads nothing');
    peer.destroy();
  }
}

const weight = ({ bytes, descriptors }: Held): number =>
  bytes.length + descriptors.length * DESCRIPTOR_BYTES;

const closeAll = (descriptors: readonly number[]): void => {
  for (const fd of descriptors) closeSync(fd);
};

const ignore = (): void => undefined;

const refuse = (connection: Connection): void => {
  connection.start({
    onData: (_bytes, descriptors) => closeAll(descriptors),
    onDrain: ignore,
    onEnd: ignore,
    onClose: ignore,
  });
  connection.destroy();
};

import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import type { HostTimer } from '../../devices/core/host-timer.js';
import type { Native, PollHandle } from '../os/native.js';
import { READABLE, WRITABLE } from '../os/native.js';
import type { Outgoing } from './outgoing.js';

export type PeerCalls = Pick<Native, 'poll' | 'sendmsg' | 'recvmsg'>;

export interface PeerOptions {
  readonly calls: PeerCalls;
  /** A connected socket. */
  readonly fd: number;
  /** Messages that may wait for a client that does not read. */
  readonly maxQueue: number;
  readonly timer: HostTimer;
  /** Called once with the reason in plain words. */
  readonly onGone: (reason: string) => void;
}

const { EAGAIN, ETOOMANYREFS } = { ETOOMANYREFS: 109, ...constants.errno };
const MESSAGE_BYTES = 8;
/** Host time until descriptors in flight, of which a user may have only so many, may have landed. */
const RETRY_MS = 10;

/** One client of the server: gets messages in order, says nothing. */
export class Peer {
  readonly #options: PeerOptions;
  readonly #queue: Outgoing[] = [];
  readonly #bytes = Buffer.alloc(MESSAGE_BYTES);
  /** Bytes of the first message that are sent. */
  #sent = 0;
  #poll: PollHandle | undefined;
  #cancelRetry: () => void = () => undefined;
  #isGone = false;

  constructor(options: PeerOptions) {
    this.#options = options;
  }

  /** Begins to notice that the client leaves. @throws HostError */
  start(): void {
    const { calls, fd } = this.#options;
    this.#poll = calls.poll(fd, READABLE, (status, ready) => this.#onReady(status, ready));
  }

  /** Queues messages; they leave at once as far as the client reads. */
  send(messages: readonly Outgoing[]): void {
    const room = this.#isGone ? 0 : this.#options.maxQueue - this.#queue.length;
    this.#queue.push(...messages.slice(0, room));
    for (const { done } of messages.slice(room)) done?.();
    if (this.#isGone) return;
    if (messages.length > room) this.#leave('it does not read its messages');
    else this.#write();
  }

  /** Drops what is queued. The socket itself is its owner's. Safe to call twice. */
  close(): void {
    this.#isGone = true;
    this.#cancelRetry();
    this.#poll?.close();
    for (const { done } of this.#queue.splice(0)) done?.();
  }

  #leave(reason: string): void {
    if (this.#isGone) return;
    this.close();
    this.#options.onGone(reason);
  }

  #onReady(status: number, ready: number): void {
    if (status < 0) {
      this.#leave('its socket failed');
      return;
    }
    if ((ready & WRITABLE) !== 0) this.#write();
    if ((ready & READABLE) !== 0 && !this.#isGone) this.#read();
  }

  /** The protocol has nothing for a client to say. */
  #read(): void {
    const descriptors: number[] = [];
    const n = this.#options.calls.recvmsg(this.#options.fd, this.#bytes, descriptors);
    for (const descriptor of descriptors) closeSync(descriptor);
    if (n === -EAGAIN) return;
    this.#leave(n > 0 ? 'it sent bytes, which no client may' : 'it closed the connection');
  }

  #write(): void {
    for (let first = this.#queue[0]; first !== undefined; first = this.#queue[0]) {
      const n = this.#sendPart(first);
      if (n === -ETOOMANYREFS) {
        this.#retryLater();
        return;
      }
      if (n < 0 && n !== -EAGAIN) this.#leave('its socket failed');
      if (n < 0) break;
      this.#sent += n;
      if (this.#sent < MESSAGE_BYTES) continue;
      this.#sent = 0;
      this.#queue.shift();
      first.done?.();
    }
    this.#poll?.set(this.#queue.length > 0 ? READABLE | WRITABLE : READABLE);
  }

  /** The descriptor goes with the first byte. */
  #sendPart({ value, descriptor }: Outgoing): number {
    this.#bytes.writeBigInt64LE(value);
    const descriptors = descriptor === undefined || this.#sent > 0 ? [] : [descriptor];
    return this.#options.calls.sendmsg(
      this.#options.fd,
      this.#bytes.subarray(this.#sent),
      descriptors,
    );
  }

  #retryLater(): void {
    // The socket is writable all the time: waiting for that would burn the processor.
    this.#poll?.set(READABLE);
    this.#cancelRetry();
    this.#cancelRetry = this.#options.timer.after(RETRY_MS, () => this.#write());
  }
}

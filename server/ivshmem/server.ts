import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { HostTimer } from '../../devices/core/host-timer.js';
import type { Log } from '../../devices/core/device.js';
import type { Limits } from '../limits.js';
import type { Native } from '../os/native.js';
import { descriptorOf } from '../transport/late-connection.js';
import { Peer } from './peer.js';
import { PeerVectors, type Outgoing } from './outgoing.js';

export interface IvshmemServerParts {
  readonly calls: Pick<Native, 'poll' | 'sendmsg' | 'recvmsg' | 'eventfd'>;
  /** The shared memory; stays its owner's. */
  readonly memory: number;
  /** Of each peer. */
  readonly vectors: number;
  readonly limits: Pick<Limits, 'ivshmem-peers' | 'ivshmem-queue'>;
  readonly timer: HostTimer;
  readonly log: Log;
}

const PROTOCOL_VERSION = 0n;
const SHARED_MEMORY = -1n;
const IDS = 0x10000;

interface Member {
  readonly id: number;
  readonly peer: Peer;
  readonly vectors: PeerVectors;
  readonly socket: Socket;
}

/**
 * Tells every client of the shared memory and of each other.
 *
 * @see reference/pci-and-memory-devices.md §9.5
 */
export class IvshmemServer {
  readonly #parts: IvshmemServerParts;
  readonly #members = new Map<number, Member>();
  #nextId = 0;

  constructor(parts: IvshmemServerParts) {
    this.#parts = parts;
  }

  /** Ids of the clients that are connected. */
  get ids(): readonly number[] {
    return [...this.#members.keys()];
  }

  /** Takes over a client's socket; one too many is closed. */
  accept(socket: Socket): void {
    const fd = descriptorOf(socket);
    const full = this.#members.size >= this.#parts.limits['ivshmem-peers'];
    const vectors = full ? undefined : this.#createVectors();
    if (fd === undefined || vectors === undefined) {
      const limit = full ? this.#parts.limits['ivshmem-peers'] : undefined;
      this.#parts.log.warn({ limit }, 'no room for another ivshmem client');
      socket.destroy();
      return;
    }
    this.#add(socket, fd, vectors);
  }

  #add(socket: Socket, fd: number, vectors: PeerVectors): void {
    const id = this.#takeId();
    const peer = new Peer({
      calls: this.#parts.calls,
      fd,
      maxQueue: this.#parts.limits['ivshmem-queue'],
      timer: this.#parts.timer,
      onGone: (reason) => this.#remove(id, reason),
    });
    const member = { id, peer, vectors, socket };
    this.#members.set(id, member);
    this.#parts.log.info({ peer: id }, 'ivshmem client connected');
    try {
      peer.start();
    } catch {
      peer.close();
      this.#remove(id, 'its socket cannot be watched');
      return;
    }
    this.#introduce(id, member);
  }

  /** The order of §9.5; whoever turns out to be gone on the way is left out. */
  #introduce(id: number, { peer, vectors }: Member): void {
    const memory: Outgoing = { value: SHARED_MEMORY, descriptor: this.#parts.memory };
    peer.send([{ value: PROTOCOL_VERSION }, { value: BigInt(id) }, memory]);
    for (const other of this.#others(id)) other.peer.send(vectors.messages(id));
    for (const other of this.#others(id)) peer.send(other.vectors.messages(other.id));
    if (this.#members.has(id)) peer.send(vectors.messages(id));
  }

  /** Everybody but `id` who is there when the turn comes; nobody any more once `id` is gone. */
  *#others(id: number): Generator<Member> {
    for (const member of [...this.#members.values()])
      if (member.id !== id && this.#members.has(id) && this.#members.has(member.id)) yield member;
  }

  /** The next id that nobody has; there is one, for there are fewer clients than ids. */
  #takeId(): number {
    while (this.#members.has(this.#nextId)) this.#nextId = (this.#nextId + 1) % IDS;
    const id = this.#nextId;
    this.#nextId = (id + 1) % IDS;
    return id;
  }

  /** Undefined when the host has no more. */
  #createVectors(): PeerVectors | undefined {
    const descriptors: number[] = [];
    try {
      for (let vector = 0; vector < this.#parts.vectors; vector++)
        descriptors.push(this.#parts.calls.eventfd());
      return new PeerVectors(descriptors);
    } catch (error) {
      for (const descriptor of descriptors) closeSync(descriptor);
      this.#parts.log.warn({ err: error }, 'no event counters for another ivshmem client');
      return undefined;
    }
  }

  #remove(id: number, reason: string): void {
    const member = this.#members.get(id);
    if (member === undefined) return;
    this.#members.delete(id);
    member.vectors.release();
    member.socket.destroy();
    this.#parts.log.info({ peer: id, reason }, 'ivshmem client has left');
    for (const { peer } of this.#members.values()) peer.send([{ value: BigInt(id) }]);
  }

  /** Lets go of every client; what the clients were given keeps working. Safe to call twice. */
  close(): void {
    const members = [...this.#members.values()];
    this.#members.clear();
    for (const { peer, vectors, socket } of members) {
      peer.close();
      vectors.release();
      socket.destroy();
    }
  }
}

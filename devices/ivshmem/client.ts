import type { QmpError } from '../../schema/error.js';
import { refused } from '../../schema/error.js';
import type { CharFrontEnd } from '../core/char-device.js';
import type { DeviceContext } from '../core/device.js';
import type { EventNotifier } from '../core/event-notifier.js';
import { HostError } from '../core/host-memory.js';
import type { HostFile, HostMapping } from '../core/host-memory.js';
import { MessageReader } from './message-reader.js';
import type { ServerMessage } from './message-reader.js';
import { Peers } from './peers.js';
import type { Doorbells } from './registers.js';
import type { ServerView } from './server-view.js';

/** @see reference/pci-and-memory-devices.md §9.5 */
const PROTOCOL_VERSION = 0n;
const MAX_ID = 0xffffn;
const SHARED_MEMORY = -1n;

/** Host time for the server to send everything up to the shared memory. */
const CONNECT_MS = 10_000;
/** Mistakes of one server that are logged; a broken one must not fill the log. */
const MAX_COMPLAINTS = 100;

type Services = Pick<
  DeviceContext,
  'activity' | 'eventNotifiers' | 'hostMemory' | 'hostTimer' | 'log'
>;

export interface IvshmemClientOptions {
  readonly services: Services;
  /** A connected socket; given back by `close`, and still connected then. */
  readonly server: CharFrontEnd;
  /** Vectors of this device. */
  readonly vectors: number;
  /** False when the memory of the server is not wanted: it is checked and let go of. */
  readonly mapsMemory: boolean;
  /** Somebody rang `vector` of ours, once or more often. */
  readonly interrupt: (vector: number) => void;
}

interface Waiting {
  resolve(): void;
  reject(error: unknown): void;
}

const isPowerOfTwo = (value: bigint): boolean => value > 0n && (value & (value - 1n)) === 0n;

/**
 * A device's side of the ivshmem server protocol: memory, own id, and the event counters of all
 * peers. When the server is gone, everything it has handed out keeps working.
 *
 * @see reference/pci-and-memory-devices.md §9.5
 */
export class IvshmemClient implements Doorbells {
  readonly #options: IvshmemClientOptions;
  readonly #reader: MessageReader;
  readonly #peers: Peers;
  /** Counters of this device's own vectors; they wait while it is stopped. */
  readonly #own: EventNotifier[] = [];
  readonly #leaveActivity: () => void;
  #next: 'version' | 'id' | 'memory' | 'anything' | 'nothing' = 'version';
  #waiting: Waiting | undefined;
  #id = 0;
  #file: HostFile | undefined;
  #memory: HostMapping | undefined;
  #complaints = 0;

  constructor(options: IvshmemClientOptions) {
    const { services, vectors } = options;
    this.#options = options;
    this.#reader = new MessageReader((fd) => services.eventNotifiers.discard(fd));
    this.#peers = new Peers({ notifiers: services.eventNotifiers, vectors });
    this.#leaveActivity = services.activity.onChange((stopped) => {
      for (const counter of this.#own) counter.pause(stopped);
    });
  }

  get id(): number {
    return this.#id;
  }
  /** The server's memory; undefined when it is not mapped. */
  get memory(): HostMapping | undefined {
    return this.#memory;
  }
  view(): ServerView {
    return { id: this.#id, connected: this.#next !== 'nothing', peers: this.#peers.list };
  }
  ring(peer: number, vector: number): void {
    this.#peers.ring(peer, vector);
  }

  /**
   * Takes what the server says up to the shared memory; peers come later.
   *
   * @throws QmpError with the texts of §9.5; `close` then leaves nothing behind
   */
  async connect(): Promise<void> {
    const { server, services } = this.#options;
    const done = new Promise<void>((resolve, reject) => (this.#waiting = { resolve, reject }));
    const cancel = services.hostTimer.after(CONNECT_MS, () =>
      this.#fail(refused('read from server failed: Connection timed out')),
    );
    try {
      server.open({
        data: (bytes, descriptors) => this.#receive(bytes, descriptors),
        closed: () => this.#lost(),
      });
      await done;
    } finally {
      cancel();
      this.#waiting = undefined;
    }
  }

  /** Lets go of server, peers and memory. Safe to call twice. */
  close(): void {
    this.#next = 'nothing';
    this.#leaveActivity();
    this.#own.splice(0);
    this.#options.server.release();
    this.#reader.close();
    this.#peers.close();
    this.#memory?.close();
    this.#memory = undefined;
    this.#file?.close();
    this.#file = undefined;
  }

  #lost(): void {
    this.#fail(refused('read from server failed: the server closed the connection'));
    if (this.#next === 'nothing') return;
    this.#next = 'nothing';
    this.#reader.close();
    this.#options.services.log.info({ id: this.#id }, 'ivshmem server is gone');
  }

  #fail(error: QmpError): void {
    if (this.#waiting === undefined) return;
    this.#next = 'nothing';
    this.#waiting.reject(error);
    this.#waiting = undefined;
  }

  #receive(bytes: Uint8Array, descriptors: readonly number[]): void {
    for (const message of this.#reader.push(bytes, descriptors))
      try {
        this.#handle(message);
      } catch (error) {
        this.#complain(error);
      }
  }

  /** Before the memory is there a mistake ends the device, later it is logged. */
  #complain(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    if (this.#waiting !== undefined) this.#fail(refused(reason, error));
    else if (this.#complaints++ < MAX_COMPLAINTS)
      this.#options.services.log.warn({ reason }, 'mistake of the ivshmem server');
  }

  /** @throws Error with the texts of §9.5; its descriptor is closed then */
  #handle({ value, descriptor }: ServerMessage): void {
    switch (this.#next) {
      case 'version':
        this.#takeVersion(value, descriptor);
        return;
      case 'id':
        this.#takeId(value, descriptor);
        return;
      case 'memory':
      case 'anything':
        this.#takeAny(value, descriptor);
        return;
      case 'nothing':
        this.#discard(descriptor);
    }
  }

  #takeVersion(value: bigint, descriptor: number | undefined): void {
    this.#discard(descriptor);
    if (value !== PROTOCOL_VERSION)
      throw new Error(
        `server sent version ${String(value)}, expecting ${String(PROTOCOL_VERSION)}`,
      );
    if (descriptor !== undefined) throw new Error('server sent invalid version message');
    this.#next = 'id';
  }

  #takeId(value: bigint, descriptor: number | undefined): void {
    this.#discard(descriptor);
    if (value < 0n || value > MAX_ID || descriptor !== undefined)
      throw new Error('server sent invalid ID message');
    this.#id = Number(value);
    this.#next = 'memory';
  }

  #takeAny(value: bigint, descriptor: number | undefined): void {
    if (value < SHARED_MEMORY || value > MAX_ID) {
      this.#discard(descriptor);
      throw new Error(`server sent invalid message ${String(value)}`);
    }
    if (value === SHARED_MEMORY) this.#takeMemory(descriptor);
    else if (descriptor !== undefined) this.#takeCounter(Number(value), descriptor);
    else this.#takeLeave(Number(value));
  }

  #takeMemory(descriptor: number | undefined): void {
    if (this.#next !== 'memory') {
      this.#discard(descriptor);
      throw new Error('server sent unexpected shared memory message');
    }
    if (descriptor === undefined)
      throw new Error("server didn't provide fd with shared memory message");
    this.#file = this.#options.services.hostMemory.adopt(descriptor);
    const size = this.#file.length();
    if (size === undefined)
      throw new Error("can't determine size of shared memory sent by server: it is no file");
    if (!isPowerOfTwo(size))
      throw new Error(`size ${String(size)} of shared memory sent by server is no power of two`);
    if (this.#options.mapsMemory) this.#memory = this.#map(this.#file, size);
    else this.#file.close();
    this.#next = 'anything';
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }

  #map(file: HostFile, size: bigint): HostMapping {
    try {
      return file.map(0n, size);
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      throw new Error(`can't map shared memory sent by server: ${error.message}`, { cause: error });
    }
  }

  #takeCounter(id: number, descriptor: number): void {
    const { vector, counter } = this.#peers.add(id, descriptor);
    if (id !== this.#id) return;
    counter.watch(() => this.#options.interrupt(vector));
    if (this.#options.services.activity.stopped) counter.pause(true);
    this.#own.push(counter);
  }

  #takeLeave(id: number): void {
    if (id === this.#id) throw new Error(`invalid peer ${String(id)}`);
    this.#peers.remove(id);
  }

  #discard(descriptor: number | undefined): void {
    if (descriptor !== undefined) this.#options.services.eventNotifiers.discard(descriptor);
  }
}

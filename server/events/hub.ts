import { randomUUID } from 'node:crypto';
import type { HostTimer } from '../../devices/core/host-timer.js';
import type { EventData, EventDef } from '../../schema/lang.js';
import { hostTimer } from '../host-timer.js';
import { StampedEvent } from './stamped-event.js';
import type { Timestamp } from './stamped-event.js';
import { Throttle } from './throttle.js';

/** Somebody who gets every event of a machine as it is published. */
export interface EventSink {
  /** `dropped` is what the ring gave up for this event. */
  onEvent(event: StampedEvent, dropped: StampedEvent | undefined): void;
}

export interface EventHubOptions {
  /** Events kept for replay. Default 4096. */
  readonly ringSize?: number;
  readonly timer?: HostTimer;
  readonly wallClock?: () => Timestamp;
  /** UUID of this start of the machine. Default a random one. */
  readonly stream?: string;
}

const hostWallClock = (): Timestamp => {
  const ms = Date.now();
  return { seconds: Math.floor(ms / 1000), microseconds: (ms % 1000) * 1000 };
};

/** What became of events on their way to clients, once for each client. */
export interface EventTally {
  sent: number;
  /** Subscribed events that slow or late clients did not get. */
  lost: number;
}

/**
 * The event stream of one machine: stamps, limits the rate, numbers, keeps the latest for replay,
 * and hands each event to every sink in the same order.
 *
 * @see reference/qmp-protocol.md §5
 */
export class EventHub {
  /** UUID of this start of the machine. */
  readonly stream: string;
  /** Kept by those who deliver. */
  readonly tally: EventTally = { sent: 0, lost: 0 };
  readonly #wallClock: () => Timestamp;
  readonly #throttle: Throttle;
  readonly #ringSize: number;
  readonly #ring: StampedEvent[] = [];
  readonly #sinks = new Set<EventSink>();
  #sequence = 0;

  constructor(options: EventHubOptions = {}) {
    this.stream = options.stream ?? randomUUID();
    this.#wallClock = options.wallClock ?? hostWallClock;
    this.#throttle = new Throttle(options.timer ?? hostTimer);
    this.#ringSize = options.ringSize ?? 4096;
  }

  /** Number of the latest event; 0 before the first. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Number of the oldest event that can be replayed; `sequence + 1` when there is none. */
  get oldest(): number {
    return this.#sequence - this.#ring.length + 1;
  }

  /** The event of that number, as long as the ring holds it. */
  get(seq: number): StampedEvent | undefined {
    return seq < this.oldest || seq > this.#sequence
      ? undefined
      : this.#ring[(seq - 1) % this.#ringSize];
  }

  emit<E extends EventDef>(definition: E, data: EventData<E>): void {
    const members = data as Readonly<Record<string, unknown>>;
    const timestamp = this.#wallClock();
    this.#throttle.pass(definition, members, () => this.#publish(definition, members, timestamp));
  }

  /** A message that belongs to one session only and takes no number of its own. */
  stamp<E extends EventDef>(definition: E, data: EventData<E>, seq: number): StampedEvent {
    return new StampedEvent(definition, data as Record<string, unknown>, this.#wallClock(), seq);
  }

  /** Delivers from the next event on; returns the detach. */
  attach(sink: EventSink): () => void {
    this.#sinks.add(sink);
    return () => {
      this.#sinks.delete(sink);
    };
  }

  /** Events held back by a rate limit are forgotten; nothing is delivered any more. */
  close(): void {
    this.#throttle.close();
    this.#sinks.clear();
  }

  #publish(
    definition: EventDef,
    data: Readonly<Record<string, unknown>>,
    timestamp: Timestamp,
  ): void {
    const event = new StampedEvent(definition, data, timestamp, ++this.#sequence);
    const slot = (event.seq - 1) % this.#ringSize;
    const dropped = this.#ring[slot];
    this.#ring[slot] = event;
    for (const sink of this.#sinks) sink.onEvent(event, dropped);
  }
}

import { EVENTS_LOST } from '../../schema/events.js';
import type { EventHub } from './hub.js';
import type { StampedEvent } from './stamped-event.js';

/**
 * A session's place in the event stream: it takes events from the ring when it has room for them,
 * so that replay and catching up after slow reading are the same, and tells what it missed.
 */
export class Subscription {
  readonly #hub: EventHub;
  /** Undefined: all. */
  readonly #names: ReadonlySet<string> | undefined;
  /** Number of the next event to look at. */
  #next: number;
  #lost = 0;
  #lastLost = 0;
  /** How many events after `since` the ring held no longer at the start. */
  readonly lostBefore: number;

  /** @param since number of the last event that is known already */
  constructor(hub: EventHub, names: readonly string[] | undefined, since: number) {
    this.#hub = hub;
    this.#names = names === undefined || names.includes('*') ? undefined : new Set(names);
    this.#next = Math.max(since + 1, hub.oldest);
    this.lostBefore = this.#next - since - 1;
    hub.tally.lost += this.lostBefore;
  }

  #wants(event: StampedEvent): boolean {
    return this.#names?.has(event.name) ?? true;
  }

  /** Notes that the ring has given up an event. */
  drop(event: StampedEvent): void {
    if (event.seq < this.#next) return;
    this.#next = event.seq + 1;
    if (!this.#wants(event)) return;
    this.#lost++;
    this.#hub.tally.lost++;
    this.#lastLost = event.seq;
  }

  /** The next event to send, or undefined when there is none yet. */
  take(): StampedEvent | undefined {
    if (this.#lost > 0) {
      const count = BigInt(this.#lost);
      this.#lost = 0;
      return this.#hub.stamp(EVENTS_LOST, { count }, this.#lastLost);
    }
    while (this.#next <= this.#hub.sequence) {
      const event = this.#hub.get(this.#next++);
      if (event !== undefined && this.#wants(event)) return event;
    }
    return undefined;
  }
}

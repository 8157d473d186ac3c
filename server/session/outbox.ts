import type { EventHub, EventSink } from '../events/hub.js';
import type { Subscription } from '../events/subscription.js';
import type { StampedEvent } from '../events/stamped-event.js';
import type { Connection } from '../transport/connection.js';

export interface EventOutboxOptions {
  readonly hub: EventHub;
  readonly connection: Connection;
  readonly pretty: boolean;
  /** Unread event bytes above which the client is behind. */
  readonly limit: number;
  /** The client reads too slowly to be told everything, and has not subscribed. */
  readonly onOverflow: () => void;
}

/**
 * Events on their way to one client. QEMU's own events are sent as they come; a client that
 * subscribed gets them from the ring, and what it missed is counted.
 */
export class EventOutbox implements EventSink {
  readonly #options: EventOutboxOptions;
  #detach: (() => void) | undefined;
  #subscription: Subscription | undefined;
  #isHeld = false;
  /** Upper bound of the event bytes that the client has not read. */
  #unread = 0;

  constructor(options: EventOutboxOptions) {
    this.#options = options;
  }

  /** Begins delivery: negotiation is over. */
  open(): void {
    this.#detach ??= this.#options.hub.attach(this);
  }

  close(): void {
    this.#detach?.();
    this.#detach = undefined;
  }

  /** Replaces what the client gets; nothing is sent before `release`. */
  subscribe(subscription: Subscription): void {
    this.#subscription = subscription;
    this.#isHeld = true;
  }

  /** The return of the subscription has been sent: events may follow it. */
  release(): void {
    this.#isHeld = false;
    this.catchUp();
  }

  /** Sends what the client subscribed to, as far as it keeps up. */
  catchUp(): void {
    if (this.#isHeld || this.#detach === undefined) return;
    while (!this.#isBehind()) {
      const event = this.#subscription?.take();
      if (event === undefined) return;
      this.#send(event, true);
    }
  }

  onEvent(event: StampedEvent, dropped: StampedEvent | undefined): void {
    if (this.#subscription !== undefined) {
      if (dropped !== undefined) this.#subscription.drop(dropped);
      this.catchUp();
      return;
    }
    if (event.isOwn) return;
    if (this.#isBehind()) this.#options.onOverflow();
    else this.#send(event, false);
  }

  #isBehind(): boolean {
    const { connection, limit } = this.#options;
    if (this.#unread < limit) return false;
    // Only what the operating system does not take is unread, and only that is followed by a drain.
    connection.flush();
    this.#unread = Math.min(this.#unread, connection.buffered);
    return this.#unread >= limit;
  }

  #send(event: StampedEvent, numbered: boolean): void {
    const { connection, hub, pretty } = this.#options;
    const text = event.text({ pretty, numbered });
    this.#unread += text.length;
    hub.tally.sent++;
    connection.send(text);
  }
}

import { writeJson } from '../framing/writer.js';
import { EventOutbox } from './outbox.js';
import type { Connection } from '../transport/connection.js';
import type { EventHub } from '../events/hub.js';
import { Subscription } from '../events/subscription.js';

/** What a client of the events endpoint asks for. */
export interface FeedRequest {
  /** Undefined: all. */
  readonly names: readonly string[] | undefined;
  /** Number of the last event that the client has. Undefined: it wants what comes from now on. */
  readonly since: number | undefined;
  /** The stream that `since` counts in, as the client knows it. */
  readonly stream: string | undefined;
}

/** What was asked for and is kept no longer; events of any name count. */
interface Gap {
  /** `ring`: too old; `stream`: of an earlier start of the machine, all of it. */
  readonly reason: 'ring' | 'stream';
  readonly from: number;
  /** Absent when nobody knows how far the earlier stream went. */
  readonly to?: number;
}

const nothing = (): void => undefined;

/** The clients of a machine's events endpoint: they are told events and nothing else. */
export class EventFeed {
  readonly #hub: EventHub;
  readonly #limit: number;
  readonly #connections = new Set<Connection>();

  /** @param limit unread event bytes above which a client is behind */
  constructor(hub: EventHub, limit: number) {
    this.#hub = hub;
    this.#limit = limit;
  }

  get clients(): number {
    return this.#connections.size;
  }

  /** Sends the first message, what the client missed, and then every event it asked for. */
  accept(connection: Connection, request: FeedRequest): void {
    const hub = this.#hub;
    const { sequence, stream } = hub;
    const isOther = this.#isOtherStream(request);
    const since = isOther ? 0 : (request.since ?? sequence);
    const subscription = new Subscription(hub, request.names, since);
    const lost = subscription.lostBefore;
    const gaps = this.#gaps(request, isOther, since, lost);
    const outbox = new EventOutbox({
      hub,
      connection,
      pretty: false,
      limit: this.#limit,
      onOverflow: nothing,
    });
    this.#connections.add(connection);
    connection.start({
      // Whoever talks here expects answers that will not come.
      onData: () => connection.end(),
      onDrain: () => outbox.catchUp(),
      onEnd: () => connection.end(),
      onClose: () => {
        outbox.close();
        this.#connections.delete(connection);
      },
    });
    connection.send(
      writeJson({ stream, sequence, lost, gaps: gaps.length > 0 ? gaps : undefined }),
    );
    outbox.subscribe(subscription);
    outbox.open();
    outbox.release();
  }

  /** Cuts everybody off, after what is queued. */
  close(): void {
    for (const connection of this.#connections) connection.end();
  }

  /** A number from the future belongs to an earlier stream too. */
  #isOtherStream({ since, stream }: FeedRequest): boolean {
    if (since === undefined) return false;
    return (stream !== undefined && stream !== this.#hub.stream) || since > this.#hub.sequence;
  }

  #gaps({ since = 0 }: FeedRequest, isOther: boolean, from: number, lost: number): Gap[] {
    const gaps: Gap[] = isOther ? [{ reason: 'stream', from: since + 1 }] : [];
    if (lost > 0) gaps.push({ reason: 'ring', from: from + 1, to: from + lost });
    return gaps;
  }
}

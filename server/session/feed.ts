import { writeJson } from '../framing/writer.js';
import { EventOutbox } from './outbox.js';
import type { Connection } from '../transport/connection.js';
import type { EventHub } from '../events/hub.js';
import { resume, type ResumeRequest } from '../events/resume.js';

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
  accept(connection: Connection, request: ResumeRequest): void {
    const hub = this.#hub;
    const { subscription, resumed } = resume(hub, request);
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
    connection.send(writeJson(resumed));
    outbox.subscribe(subscription);
    outbox.open();
    outbox.release();
  }

  /** Cuts everybody off, after what is queued. */
  close(): void {
    for (const connection of this.#connections) connection.end();
  }
}

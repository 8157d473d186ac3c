import { closeSync } from 'node:fs';
import type { Log } from '../../devices/core/device.js';
import type { EventHub } from '../events/hub.js';
import { writeJson } from '../framing/writer.js';
import type { Limits } from '../limits.js';
import type { DescriptorBudget } from '../machine/descriptor-budget.js';
import type { Connection } from '../transport/connection.js';
import { DescriptorNames } from './descriptor-names.js';
import { Session } from './session.js';
import type { SessionContext } from './session.js';
import type { QmpTarget } from './target.js';

export interface MonitorOptions {
  readonly target: QmpTarget;
  readonly events: EventHub;
  readonly log: Log;
  readonly limits: Limits;
  /** Of the machine: what its monitors keep under names counts there. */
  readonly descriptorBudget: DescriptorBudget;
  /**
   * Until then negotiation is not answered: whoever has an answer may count on a machine that waits
   * for a migration.
   */
  readonly awaited?: Promise<void> | undefined;
  /** As `-qmp-pretty`: many lines for each message. Default false. */
  readonly pretty?: boolean;
}

/** How long `close` waits for replies and slow readers before it cuts them off. */
const GRACE_MS = 1000;

/** One QMP endpoint of a machine: serves any number of clients, each with a session of its own. */
export class Monitor {
  readonly #context: SessionContext;
  readonly #sessions = new Set<Session>();
  readonly #descriptors: DescriptorNames;
  #onEmpty: (() => void) | undefined;
  #isClosed = false;

  constructor(options: MonitorOptions) {
    this.#descriptors = new DescriptorNames(options.descriptorBudget);
    this.#context = { pretty: false, ...options, descriptors: this.#descriptors };
  }

  /** How many clients are connected. */
  get clients(): number {
    return this.#sessions.size;
  }

  /** Serves a client, or tells it that there are too many. */
  accept(connection: Connection): void {
    const limit = this.#context.limits.clients;
    if (this.#isClosed || this.#sessions.size >= limit) {
      const reason = this.#isClosed
        ? 'the monitor is closing'
        : `the monitor has ${String(limit)} clients already, its limit`;
      this.#context.log.warn({ clients: this.#sessions.size }, 'client refused');
      refuse(connection, reason);
      return;
    }
    const session: Session = new Session(this.#context, connection, () => this.#remove(session));
    this.#sessions.add(session);
    session.start();
  }

  /** Ends all clients: what is queued for them is sent, but not waited for without end. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const session of this.#sessions) session.end();
    if (this.#sessions.size > 0) await this.#emptied();
    this.#descriptors.close();
  }

  #emptied(): Promise<void> {
    return new Promise((resolve) => {
      const deadline = setTimeout(() => {
        for (const session of this.#sessions) session.destroy();
      }, GRACE_MS);
      this.#onEmpty = () => {
        clearTimeout(deadline);
        resolve();
      };
    });
  }

  #remove(session: Session): void {
    this.#sessions.delete(session);
    if (this.#sessions.size === 0) this.#onEmpty?.();
  }
}

const closeNow = (fd: number): void => closeSync(fd);
const ignore = (): undefined => undefined;

const refuse = (connection: Connection, desc: string): void => {
  const handlers = {
    onData: (_bytes: Buffer, descriptors: readonly number[]) => descriptors.forEach(closeNow),
    onDrain: ignore,
    onEnd: ignore,
    onClose: ignore,
  };
  connection.start(handlers);
  connection.send(writeJson({ error: { class: 'GenericError', desc } }));
  connection.end();
};

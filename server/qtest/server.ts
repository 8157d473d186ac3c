import { closeSync } from 'node:fs';
import type { QtestConfig } from '../config.js';
import type { Limits } from '../limits.js';
import type { RootLog } from '../log.js';
import type { Machine } from '../machine/machine.js';
import type { Connection } from '../transport/connection.js';
import { QtestLogFile } from './log.js';
import { QtestSession } from './session.js';

export interface QtestServerOptions {
  readonly config: QtestConfig;
  readonly limits: Limits;
  readonly log: RootLog;
}

/** How long a client that does not read may keep its connection after the end. */
const GRACE_MS = 1000;

const refuse = (connection: Connection, reason: string): void => {
  connection.start({
    onData: (_bytes, descriptors) => descriptors.forEach((descriptor) => closeSync(descriptor)),
    onDrain: () => undefined,
    onEnd: () => undefined,
    onClose: () => undefined,
  });
  connection.sendBytes(Buffer.from(`FAIL ${reason}\n`));
  connection.end();
};

/**
 * The guest side of one machine by the qtest protocol, for any number of clients. Clients may come
 * while the machine is being built; they are answered once it is there.
 *
 * @see reference/pci-and-memory-devices.md §10
 */
export class QtestServer {
  readonly #options: QtestServerOptions;
  readonly #record: QtestLogFile | undefined;
  readonly #sessions = new Set<QtestSession>();
  #waiting: Connection[] = [];
  #machine: Machine | undefined;

  /** @throws Error when the log cannot be written */
  constructor(options: QtestServerOptions) {
    this.#options = options;
    const { config, log } = options;
    if (config.log !== undefined && config.log.path !== 'none')
      this.#record = new QtestLogFile(config.log, log);
  }

  accept(connection: Connection): void {
    const { limits, log } = this.#options;
    if (this.#sessions.size + this.#waiting.length >= limits.clients) {
      log.warn({ limit: limits.clients }, 'qtest client refused');
      refuse(connection, `there are ${String(limits.clients)} qtest clients already, the limit`);
    } else if (this.#machine === undefined) this.#waiting.push(connection);
    else this.#serve(connection, this.#machine);
  }

  /** The machine is there. */
  attach(machine: Machine): void {
    this.#machine = machine;
    machine.migration.gate.onSettled(() => this.#sessions.forEach((session) => session.wake()));
    for (const connection of this.#waiting.splice(0)) this.#serve(connection, machine);
  }

  /** Ends all sessions. Safe to call twice. */
  close(): void {
    for (const connection of this.#waiting.splice(0)) connection.destroy();
    for (const session of this.#sessions) session.end();
    const destroy = (): void => this.#sessions.forEach((session) => session.destroy());
    setTimeout(destroy, GRACE_MS).unref();
    this.#record?.close();
  }

  #serve(connection: Connection, machine: Machine): void {
    const { limits, log } = this.#options;
    const session = new QtestSession({
      connection,
      machine,
      limits,
      log,
      record: this.#record?.session(),
      onClose: () => this.#sessions.delete(session),
    });
    this.#sessions.add(session);
    session.start();
  }
}

import type { Machine } from '../../server/machine/machine.js';
import { Arrival } from '../../server/migration/arrival.js';
import type { Outlet, OutletHandlers } from '../../server/migration/outlet.js';
import { Progress } from '../../server/migration/progress.js';
import { Outgoing } from '../../server/migration/source.js';

/** Both ends of a migration in one process: what is sent arrives at once. */
class Loopback implements Outlet {
  readonly isTwoWay = true;
  readonly #arrival: Arrival;
  #handlers: OutletHandlers | undefined;

  constructor(machine: Machine) {
    this.#arrival = new Arrival({
      machine,
      answer: (bytes) => this.#answer(bytes),
      onActive: () => undefined,
      onCommit: () => {
        this.#answer(this.#arrival.confirmation());
        this.#arrival.run();
        machine.migration.gate.open();
      },
    });
  }

  listen(handlers: OutletHandlers): void {
    this.#handlers = handlers;
  }
  send(bytes: Buffer): undefined {
    try {
      this.#arrival.push(bytes);
    } catch (error) {
      this.#arrival.refuse(error instanceof Error ? error.message : String(error));
      void this.#arrival.abandon();
    }
  }
  flush(): Promise<void> {
    return Promise.resolve();
  }
  finish(): Promise<void> {
    return Promise.resolve();
  }
  cut(): void {
    // Nobody asks for it here.
  }
  abandon(): void {
    void this.#arrival.abandon();
  }
  /** A source that has just spoken listens in the next turn. */
  #answer(bytes: Buffer): void {
    setImmediate(() => this.#handlers?.onData(bytes));
  }
}

/** Moves a machine to another one of this process. @returns `query-migrate` of the source */
export const move = async (
  source: Machine,
  destination: Machine,
): Promise<Record<string, unknown>> => {
  const progress = new Progress({ emit: () => undefined, events: () => false });
  const open = (): Promise<Outlet> => Promise.resolve(new Loopback(destination));
  await new Outgoing({ machine: source, progress, open }).run();
  return progress.info();
};

import type { Machine } from '../../server/machine/machine.js';
import { Arrival } from '../../server/migration/arrival.js';
import type { OutletHandlers } from '../../server/migration/outlet.js';
import { NearOutlet, sendTo } from './outlets.js';

/** Both ends of a migration in one process: what is sent arrives at once. */
class Loopback extends NearOutlet {
  readonly isTwoWay = true;
  readonly #arrival: Arrival;
  #handlers: OutletHandlers | undefined;

  constructor(machine: Machine) {
    super();
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

  override listen(handlers: OutletHandlers): void {
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
  override abandon(): void {
    void this.#arrival.abandon();
  }
  /** A source that has just spoken listens in the next turn. */
  #answer(bytes: Buffer): void {
    setImmediate(() => this.#handlers?.onData(bytes));
  }
}

/** Moves a machine to another one of this process. @returns `query-migrate` of the source */
export const move = (source: Machine, destination: Machine): Promise<Record<string, unknown>> =>
  sendTo(source, new Loopback(destination));

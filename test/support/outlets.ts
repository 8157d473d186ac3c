import type { Machine } from '../../server/machine/machine.js';
import type { Outlet, OutletHandlers } from '../../server/migration/outlet.js';
import { Progress } from '../../server/migration/progress.js';
import { Outgoing } from '../../server/migration/source.js';

/** An outlet within this process, which takes everything at once. */
export abstract class NearOutlet implements Outlet {
  abstract readonly isTwoWay: boolean;
  listen(_handlers: OutletHandlers): void {
    // Nobody answers.
  }
  abstract send(bytes: Buffer, onSent?: () => void): undefined;
  flush(): Promise<void> {
    return Promise.resolve();
  }
  store(): Promise<void> {
    return Promise.resolve();
  }
  finish(): Promise<void> {
    return Promise.resolve();
  }
  cut(): void {
    // Nobody asks for it here.
  }
  abandon(): void {
    // Nothing to undo.
  }
}

/** Keeps what is sent. */
export class Tape extends NearOutlet {
  readonly isTwoWay = false;
  readonly #bytes: Buffer[] = [];
  /** Called with each piece, before the next one is made. */
  readonly #onSent: ((bytes: Buffer) => void) | undefined;

  constructor(onSent?: (bytes: Buffer) => void) {
    super();
    this.#onSent = onSent;
  }
  send(bytes: Buffer): undefined {
    this.#bytes.push(Buffer.from(bytes));
    this.#onSent?.(bytes);
  }
  get stream(): Buffer {
    return Buffer.concat(this.#bytes);
  }
}

/** Sends a machine there. @returns `query-migrate` of the source */
export const sendTo = async (
  machine: Machine,
  outlet: Outlet,
): Promise<Record<string, unknown>> => {
  const progress = new Progress({ emit: () => undefined, events: () => false });
  await new Outgoing({ machine, progress, open: () => Promise.resolve(outlet) }).run();
  return progress.info();
};

/** The stream of a machine that goes into a file. */
export const record = async (
  machine: Machine,
  onSent?: (bytes: Buffer) => void,
): Promise<Buffer> => {
  const tape = new Tape(onSent);
  const info = await sendTo(machine, tape);
  if (info['status'] !== 'completed') throw new Error(JSON.stringify(info));
  return tape.stream;
};

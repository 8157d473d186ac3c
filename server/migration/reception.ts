import type { Readable } from 'node:stream';
import type { Machine } from '../machine/machine.js';
import { Destination } from './destination.js';
import type { Progress } from './progress.js';

/** Connections that may wait to be the source, and those that are still told that they are not. */
const MOST_WAITING = 16;
const TAKEN = 'another source was first';

export interface ReceptionOptions {
  readonly machine: Machine;
  readonly progress: Progress;
  /** Called once, with the outcome. */
  readonly onEnd: (isHere: boolean) => void;
}

/** All that connect to a machine that waits: the first one that says something is its source. */
export class Reception {
  readonly #options: ReceptionOptions;
  readonly #waiting = new Set<Destination>();
  #chosen: Destination | undefined;
  /** Those that are open, whatever they are. */
  readonly #inputs = new Set<Readable>();

  constructor(options: ReceptionOptions) {
    this.#options = options;
  }

  /** @param isOnly nobody else can come: it is the source whatever it says */
  receive(input: Readable, isOnly: boolean): void {
    const { machine, progress, onEnd } = this.#options;
    const most = MOST_WAITING + (this.#chosen === undefined ? 0 : 1);
    if (this.#inputs.size >= most) {
      this.#warn(`more than ${String(MOST_WAITING)} wait`);
      input.destroy();
      return;
    }
    this.#inputs.add(input);
    input.once('close', () => this.#inputs.delete(input));
    const destination = new Destination({
      ...{ machine, progress, input, onEnd },
      onChosen: () => this.#choose(destination),
      onSilence: (reason) => {
        this.#waiting.delete(destination);
        this.#warn(reason);
      },
    });
    if (this.#chosen !== undefined) destination.refuse(TAKEN);
    else if (isOnly) destination.choose();
    else this.#waiting.add(destination);
  }
  /** The connection of the source ends as if it had gone; those that wait go, too. */
  cut(): void {
    this.#chosen?.cut();
    for (const destination of this.#waiting) destination.cut();
  }
  /** Gives up: nothing is left behind when it resolves. Without effect once the machine is here. */
  async abandon(reason: string): Promise<void> {
    for (const destination of this.#waiting) destination.drop();
    this.#waiting.clear();
    await this.#chosen?.abandon(reason);
    for (const input of this.#inputs) input.destroy();
  }

  #choose(destination: Destination): void {
    this.#chosen = destination;
    this.#waiting.delete(destination);
    for (const other of this.#waiting) other.refuse(TAKEN);
    this.#waiting.clear();
  }
  #warn(reason: string): void {
    this.#options.machine.options.log.warn(
      { reason },
      'a connection for an incoming migration was no source',
    );
  }
}

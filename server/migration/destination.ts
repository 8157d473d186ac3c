import type { Readable } from 'node:stream';
import { Socket } from 'node:net';
import type { Machine } from '../machine/machine.js';
import { reasonOf } from '../transport/reason.js';
import { Arrival } from './arrival.js';
import type { Progress } from './progress.js';

export interface DestinationOptions {
  readonly machine: Machine;
  readonly progress: Progress;
  /** Whoever sends: a socket is answered. */
  readonly input: Readable;
  /** It is the source: what becomes of it is what becomes of the migration. Called at most once. */
  readonly onChosen: () => void;
  /** It has gone without a byte, and was not chosen. Nothing else is called then. */
  readonly onSilence: (reason: string) => void;
  /** Called once when it was chosen, with the outcome. */
  readonly onEnd: (isHere: boolean) => void;
}

/** How long one that was refused may take to read why, in milliseconds. */
const LINGER_MS = 10_000;

/**
 * Takes one machine in from one connection or file. It is the source as soon as it has said who it is,
 * or something that is wrong.
 */
export class Destination {
  readonly #options: DestinationOptions;
  readonly #arrival: Arrival;
  /** Undefined for a stream that nobody answers. */
  readonly #socket: Socket | undefined;
  #isOver = false;
  #isChosen = false;
  #isSilent = true;
  /** The machine ends: that it has not come is nobody's fault. */
  #isAbandoned = false;
  /** What takes back all that came. */
  #givenBack: Promise<void> | undefined;

  constructor(options: DestinationOptions) {
    this.#options = options;
    const { input, machine } = options;
    this.#socket = input instanceof Socket && input.writable ? input : undefined;
    this.#arrival = new Arrival({
      machine,
      answer: (bytes) => void this.#socket?.write(bytes),
      onActive: () => {
        this.choose();
        options.progress.become('active');
      },
      onCommit: () => this.#commit(),
    });
    input.on('data', (bytes: Buffer) => this.#receive(bytes));
    input.on('end', () => this.#ended());
    input.on('error', (error) => this.#fail(`Unable to read: ${reasonOf(error)}`));
    input.on('close', () => this.#fail('The connection was closed'));
    input.resume();
  }

  /** Makes it the source before it has said anything. */
  choose(): void {
    if (this.#isChosen) return;
    this.#isChosen = true;
    this.#options.onChosen();
  }
  /** It is not the source, and is told why. */
  refuse(reason: string): void {
    this.#isOver = true;
    this.#tell(reason);
  }
  /** It is not the source. */
  drop(): void {
    this.#isOver = true;
    this.#options.input.destroy();
  }
  /**
   * Gives up: nothing is left behind when it resolves. Without effect once the machine is here.
   */
  async abandon(reason: string): Promise<void> {
    this.#isAbandoned = true;
    this.#fail(reason);
    await this.#givenBack;
  }

  /** The connection ends as if the source had gone. Without effect on a file or a pipe. */
  cut(): void {
    this.#socket?.destroy();
  }

  #receive(bytes: Buffer): void {
    if (this.#isOver || this.#arrival.isCommitted) return;
    this.#isSilent = false;
    try {
      this.#arrival.push(bytes);
      // Whoever sends through a pipe or a socket may keep it open; a file ends by itself.
      if (this.#arrival.isComplete && this.#options.input instanceof Socket) this.#arrival.end();
    } catch (error) {
      // It was told that the machine runs here, and must not hear the opposite.
      if (this.#arrival.isCommitted) return;
      this.#fail(error instanceof Error ? error.message : String(error), true);
    }
  }
  #ended(): void {
    if (this.#isOver) return;
    try {
      this.#arrival.end();
    } catch (error) {
      this.#fail(error instanceof Error ? error.message : String(error));
    }
  }

  /** The source knows of it before the machine runs; a source that is gone without it has kept it. */
  #commit(): void {
    if (this.#socket === undefined) {
      this.#run();
      return;
    }
    this.#socket.write(this.#arrival.confirmation(), (error) => {
      if (this.#isOver) return;
      if (error && !this.#arrival.isTaken)
        this.#fail(`Unable to write to socket: ${reasonOf(error)}`);
      else this.#run();
    });
  }
  #run(): void {
    this.#isOver = true;
    this.#arrival.run();
    this.#options.progress.become('completed');
    this.#socket?.end();
    this.#options.onEnd(true);
  }
  /** @param isTold whether the source is to read the reason */
  #fail(reason: string, isTold = false): void {
    if (this.#isOver || this.#arrival.isTaken) return;
    this.#isOver = true;
    if (isTold) this.#tell(reason);
    else this.#options.input.destroy();
    if (this.#isSilent && !this.#isChosen) {
      this.#options.onSilence(reason);
      return;
    }
    this.choose();
    this.#givenBack = this.#giveBack(reason);
  }
  /** What is still on its way is read, so that the reason is not lost with a reset. */
  #tell(reason: string): void {
    const socket = this.#socket;
    if (socket === undefined) {
      this.#options.input.destroy();
      return;
    }
    this.#arrival.refuse(reason);
    socket.end();
    socket.resume();
    const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref();
    socket.once('close', () => clearTimeout(timer));
  }
  /** It has failed when the next one may come. */
  async #giveBack(reason: string): Promise<void> {
    await this.#arrival.abandon();
    const { machine, progress } = this.#options;
    if (!this.#isAbandoned) machine.options.log.error({ reason }, 'load of migration failed');
    progress.become('failed', reason);
    this.#options.onEnd(false);
  }
}

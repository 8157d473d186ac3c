import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';

/** Length of the windows in which bytes are counted, in milliseconds. */
const WINDOW_MS = 100;
/** How long others wait for their turn at most. */
const TURN_MS = 0.5;

/** Keeps a sender below so many bytes in a second, and lets others have their turn. */
export class Pace {
  /** Bytes in a second; asked anew in every window. */
  readonly #limit: () => number;
  #windowAt = performance.now();
  #spent = 0;
  #turnAt = performance.now();

  readonly #signal: AbortSignal;

  constructor(limit: () => number, signal: AbortSignal) {
    this.#limit = limit;
    this.#signal = signal;
  }

  /** Call after each piece. @param isLimited false in the last phase, which is to be short. @throws when given up */
  async spend(bytes: number, isLimited: boolean): Promise<void> {
    this.#spent += bytes;
    if (isLimited && this.#left() > 0) await this.#wait();
    const now = performance.now();
    if (now - this.#windowAt >= WINDOW_MS) this.#open(now, 0);
    if (now - this.#turnAt <= TURN_MS) return;
    await turn(undefined, { signal: this.#signal });
    this.#turnAt = performance.now();
  }

  /** Milliseconds until what was spent in this window is paid, beyond its length; 0 is no limit. */
  #left(): number {
    const limit = this.#limit();
    if (limit === 0) return 0;
    const due = (this.#spent * 1000) / limit;
    return due <= WINDOW_MS ? 0 : this.#windowAt + due - performance.now();
  }
  /** The limit may change meanwhile. */
  async #wait(): Promise<void> {
    for (let left = this.#left(); left > 0; left = this.#left())
      await sleep(Math.max(1, Math.min(left, WINDOW_MS)), undefined, { signal: this.#signal });
    this.#turnAt = performance.now();
    this.#open(this.#turnAt, 0);
  }
  #open(now: number, spent: number): void {
    this.#windowAt = now;
    this.#spent = spent;
  }
}

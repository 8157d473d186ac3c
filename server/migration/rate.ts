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
    const now = performance.now();
    this.#spent += bytes;
    if (now - this.#windowAt >= WINDOW_MS) this.#open(now, bytes);
    const allowed = (this.#limit() * WINDOW_MS) / 1000;
    if (isLimited && this.#spent > allowed) await this.#wait(now, allowed);
    else if (now - this.#turnAt > TURN_MS) {
      await turn(undefined, { signal: this.#signal });
      this.#turnAt = performance.now();
    }
  }

  /** What was sent beyond a window is paid in the next ones. */
  async #wait(now: number, allowed: number): Promise<void> {
    const windows = this.#spent / Math.max(allowed, 1);
    const left = this.#windowAt + Math.min(windows, 10) * WINDOW_MS - now;
    await sleep(Math.max(1, left), undefined, { signal: this.#signal });
    this.#open(performance.now(), 0);
    this.#turnAt = this.#windowAt;
  }
  #open(now: number, spent: number): void {
    this.#windowAt = now;
    this.#spent = spent;
  }
}

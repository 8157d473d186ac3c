/** Writes that a stopped device keeps, unless the machine says otherwise. */
export const LATCHED_WRITES = 1024;

/**
 * What was asked of a stopped device, in order: it is done when the device may act again. Beyond the
 * limit it is lost, and counted.
 */
export class Latch {
  readonly #limit: number;
  #waiting: (() => void)[] = [];
  #dropped = 0;
  #replaying = false;

  constructor(limit = LATCHED_WRITES) {
    this.#limit = limit;
  }

  /** How much waits. */
  get latched(): number {
    return this.#waiting.length;
  }
  /** How much was lost beyond the limit since the device was stopped last. */
  get dropped(): number {
    return this.#dropped;
  }

  /** The device was stopped: counting begins. */
  begin(): void {
    this.#dropped = 0;
  }
  /** Keeps `replay` for later. */
  add(replay: () => void): void {
    if (this.#waiting.length < this.#limit) this.#waiting.push(replay);
    else this.#dropped++;
  }
  /** Forgets all that waits. */
  clear(): void {
    this.#waiting = [];
  }
  /** The device was reset: forgets what came before, but not what comes behind a replayed reset. */
  reset(): void {
    if (!this.#replaying) this.clear();
  }
  /** Does what waits, until the device is stopped again. */
  replay(stopped: () => boolean): void {
    this.#replaying = true;
    try {
      while (!stopped()) {
        const next = this.#waiting.shift();
        if (next === undefined) return;
        next();
      }
    } finally {
      this.#replaying = false;
    }
  }
}

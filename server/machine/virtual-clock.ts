import type { Clock } from '../../devices/core/clock.js';

interface Timer {
  readonly deadline: bigint;
  readonly fire: () => void;
}

/**
 * Virtual time of one machine in nanoseconds. It follows host time while the machine runs and
 * stands still otherwise.
 */
export class VirtualClock implements Clock {
  readonly #hostNow: () => bigint;
  readonly #timers = new Set<Timer>();
  #base = 0n;
  #startedAt: bigint | undefined;
  #wake: NodeJS.Timeout | undefined;

  constructor(hostNow: () => bigint = () => process.hrtime.bigint()) {
    this.#hostNow = hostNow;
  }

  now(): bigint {
    return this.#startedAt === undefined
      ? this.#base
      : this.#base + (this.#hostNow() - this.#startedAt);
  }
  at(deadline: bigint, fire: () => void): () => void {
    const timer = { deadline, fire };
    this.#timers.add(timer);
    this.#arm();
    return () => {
      this.#timers.delete(timer);
      this.#arm();
    };
  }
  start(): void {
    this.#startedAt ??= this.#hostNow();
    this.#arm();
  }
  stop(): void {
    this.#base = this.now();
    this.#startedAt = undefined;
    this.#arm();
  }
  /** Forgets every timer. */
  close(): void {
    this.#timers.clear();
    this.#arm();
  }

  #arm(): void {
    clearTimeout(this.#wake);
    this.#wake = undefined;
    if (this.#startedAt === undefined || this.#timers.size === 0) return;
    let first: bigint | undefined;
    for (const { deadline } of this.#timers)
      if (first === undefined || deadline < first) first = deadline;
    const waitNs = (first ?? 0n) - this.now();
    const waitMs = waitNs <= 0n ? 0 : Number(waitNs / 1_000_000n) + 1;
    this.#wake = setTimeout(() => this.#fire(), Math.min(waitMs, 2 ** 31 - 1));
    this.#wake.unref();
  }
  #fire(): void {
    const now = this.now();
    for (const timer of [...this.#timers].sort((a, b) => (a.deadline < b.deadline ? -1 : 1)))
      if (timer.deadline <= now && this.#timers.delete(timer)) timer.fire();
    this.#arm();
  }
}

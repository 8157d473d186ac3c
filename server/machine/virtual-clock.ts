import type { Clock } from '../../devices/core/clock.js';

interface Timer {
  readonly deadline: bigint;
  readonly fire: () => void;
}

/** Who moves a clock: host time, or a client of the qtest protocol (`-accel qtest`). */
export type ClockDriver = 'host' | 'client';

export interface VirtualClockOptions {
  /** Default `host`. */
  readonly driver?: ClockDriver;
  /** Monotonic host time in nanoseconds. */
  readonly hostNow?: () => bigint;
}

const earlier = (a: Timer, b: Timer): number =>
  a.deadline < b.deadline ? -1 : a.deadline > b.deadline ? 1 : 0;

/**
 * Virtual time of one machine in nanoseconds. It follows host time while the machine runs and
 * stands still otherwise; or it stands still until a client moves it. Timers fire while the machine
 * runs.
 */
export class VirtualClock implements Clock {
  readonly driver: ClockDriver;
  readonly #hostNow: () => bigint;
  readonly #timers = new Set<Timer>();
  #base = 0n;
  #running = false;
  /** Host time at which host time began to count. */
  #startedAt: bigint | undefined;
  #wake: NodeJS.Timeout | undefined;

  constructor({
    driver = 'host',
    hostNow = () => process.hrtime.bigint(),
  }: VirtualClockOptions = {}) {
    this.driver = driver;
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
    this.#running = true;
    if (this.driver === 'host') this.#startedAt ??= this.#hostNow();
    this.#arm();
  }
  stop(): void {
    this.#base = this.now();
    this.#running = false;
    this.#startedAt = undefined;
    this.#arm();
  }
  /** Gives a clock that stands still another time; timers stay where they are. */
  set(time: bigint): void {
    if (this.#startedAt === undefined) this.#base = time;
  }
  /** Forgets every timer. */
  close(): void {
    this.#timers.clear();
    this.#arm();
  }

  /** When the next timer fires; undefined while none is set or the machine is stopped. */
  get deadline(): bigint | undefined {
    return this.#running ? this.#first()?.deadline : undefined;
  }
  /**
   * Moves a client's clock forward to `time`, each timer firing at its own moment. As QEMU: while
   * the machine is stopped the time moves and timers wait.
   */
  advance(time: bigint): void {
    for (let next = this.deadline; next !== undefined && next <= time; next = this.deadline) {
      if (next > this.#base) this.#base = next;
      this.#fireDue();
    }
    if (time > this.#base) this.#base = time;
  }

  #first(): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers)
      if (first === undefined || timer.deadline < first.deadline) first = timer;
    return first;
  }
  #arm(): void {
    clearTimeout(this.#wake);
    this.#wake = undefined;
    const first = this.#running ? this.#first() : undefined;
    if (first === undefined) return;
    const waitNs = first.deadline - this.now();
    // Time that a client moves brings no timer by itself; one that is due already is not late.
    if (this.driver === 'client' && waitNs > 0n) return;
    const waitMs = waitNs <= 0n ? 0 : Number(waitNs / 1_000_000n) + 1;
    this.#wake = setTimeout(() => this.#fire(), Math.min(waitMs, 2 ** 31 - 1));
    this.#wake.unref();
  }
  #fire(): void {
    this.#fireDue();
    this.#arm();
  }
  #fireDue(): void {
    const now = this.now();
    for (const timer of [...this.#timers].sort(earlier))
      if (timer.deadline <= now && this.#timers.delete(timer)) timer.fire();
  }
}

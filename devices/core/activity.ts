import type { Clock } from './clock.js';
import { Latch } from './latch.js';

/**
 * Whether one device may act. While somebody holds it (state STOP of the device-state interface, or
 * the last phase of a migration) it raises no interrupt, does no DMA, and neither its registers nor
 * its memory change.
 *
 * @see reference/vfio-device-state.md §3
 */
export class Activity {
  /** What software wrote to its registers while it was stopped. */
  readonly latch: Latch;
  #holds = 0;
  readonly #hooks = new Set<(stopped: boolean) => void>();
  readonly #resetHooks = new Set<() => void>();

  /** @param options `latched`: how many writes wait while the device is stopped */
  constructor({ latched }: { readonly latched?: number | undefined } = {}) {
    this.latch = new Latch(latched);
  }

  get stopped(): boolean {
    return this.#holds > 0;
  }

  /**
   * Stops the device until what is returned is called; holds add up. It acts no more when this
   * returns.
   */
  hold(): () => void {
    this.#holds++;
    if (this.#holds === 1) {
      this.latch.begin();
      this.#tell();
    }
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#holds--;
      if (this.#holds === 0) this.#tell();
    };
  }

  /** Calls `hook` after the device stopped, and after it may act again; returns the unsubscribe. */
  onChange(hook: (stopped: boolean) => void): () => void {
    this.#hooks.add(hook);
    return () => void this.#hooks.delete(hook);
  }

  /** Runs `action` now, or as soon as the device may act. */
  whenActive(action: () => void): void {
    if (!this.stopped) {
      action();
      return;
    }
    const forget = this.onChange((stopped) => {
      if (stopped) return;
      forget();
      action();
    });
  }

  /** The device is about to be reset: what was latched is forgotten, and state STOP ends. */
  reset(): void {
    this.latch.reset();
    for (const hook of [...this.#resetHooks]) hook();
  }
  /** Calls `hook` before every reset of the device; returns the unsubscribe. */
  onReset(hook: () => void): () => void {
    this.#resetHooks.add(hook);
    return () => void this.#resetHooks.delete(hook);
  }

  #tell(): void {
    for (const hook of [...this.#hooks]) hook(this.stopped);
    this.latch.replay(() => this.stopped);
  }
}

interface Timer {
  readonly deadline: bigint;
  readonly fire: () => void;
  cancel: () => void;
}

/** The clock as one device sees it: it stands still while the device is stopped. */
export class DeviceClock implements Clock {
  readonly #clock: Clock;
  readonly #timers = new Set<Timer>();
  /** How far this clock is behind. */
  #behind = 0n;
  #stoppedAt: bigint | undefined;

  constructor(clock: Clock, activity: Activity) {
    this.#clock = clock;
    activity.onChange((stopped) => {
      if (stopped) this.#stop();
      else this.#go();
    });
  }

  now(): bigint {
    return this.#stoppedAt ?? this.#clock.now() - this.#behind;
  }

  at(deadline: bigint, fire: () => void): () => void {
    const timer: Timer = { deadline, fire, cancel: () => undefined };
    this.#timers.add(timer);
    if (this.#stoppedAt === undefined) this.#arm(timer);
    return () => {
      timer.cancel();
      this.#timers.delete(timer);
    };
  }

  #arm(timer: Timer): void {
    timer.cancel = this.#clock.at(timer.deadline + this.#behind, () => {
      this.#timers.delete(timer);
      timer.fire();
    });
  }
  #stop(): void {
    this.#stoppedAt = this.now();
    for (const timer of this.#timers) timer.cancel();
  }
  #go(): void {
    if (this.#stoppedAt === undefined) return;
    this.#behind = this.#clock.now() - this.#stoppedAt;
    this.#stoppedAt = undefined;
    for (const timer of this.#timers) this.#arm(timer);
  }
}

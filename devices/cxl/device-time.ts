import type { DeviceState, StateValue } from '../core/device.js';
import { fields, flag, unsigned } from '../core/saved-state.js';
import type { Clock } from '../core/clock.js';

/** The time of a device in nanoseconds: 0 until software sets it, then it runs with the machine. */
export class DeviceTime {
  readonly #clock: Clock;
  #set = false;
  #value = 0n;
  #at = 0n;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): bigint {
    if (!this.#set) return 0n;
    return BigInt.asUintN(64, this.#value + this.#clock.now() - this.#at);
  }
  set(value: bigint): void {
    this.#set = true;
    this.#value = value;
    this.#at = this.#clock.now();
  }

  save(): DeviceState {
    return { set: this.#set, value: this.now() };
  }
  /** Checks a saved state and returns what applies it. @throws QmpError when it does not fit */
  prepareLoad(state: StateValue | undefined): () => void {
    const { set, value } = savedTime(state, 'saved device time');
    return () => {
      this.#set = set;
      this.#value = value;
      this.#at = this.#clock.now();
    };
  }
}

const savedTime = fields({ set: flag, value: unsigned() });

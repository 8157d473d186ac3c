import type { ConfigSpace } from './config-space.js';
import { CAPABILITY } from './registers.js';

const PMC = 2;
const PMCSR = 4;
const STATE_MASK = 0x3;
const SUPPORTS_D1 = 0x200;
const SUPPORTS_D2 = 0x400;

/**
 * The power state (D0 to D3) in the power management capability: software reaches the supported
 * states only, and leaves a deeper one only for D0.
 *
 * @see PCI Power Management 1.2 §5.3; reference/pci-and-memory-devices.md §1.5, §1.6
 */
export class PowerState {
  readonly #config: ConfigSpace;
  #state = 0;

  constructor(config: ConfigSpace) {
    this.#config = config;
  }

  get #at(): number | undefined {
    return this.#config.findCapability(CAPABILITY.POWER_MANAGEMENT);
  }

  /** True in D0, also for functions without the capability. */
  get isOn(): boolean {
    return this.#state === 0;
  }

  /**
   * After a write by software: takes the state over from the register, or puts the register back
   * when it may not change.
   *
   * @returns whether the state changed
   */
  configWritten(offset: number, size: number): boolean {
    const at = this.#at;
    if (at === undefined || offset >= at + PMCSR + 2 || at + PMCSR >= offset + size) return false;
    const status = this.#config.get(at + PMCSR, 2);
    const before = this.#state;
    const wanted = status & STATE_MASK;
    if (this.#reaches(wanted, this.#config.get(at + PMC, 2))) this.#state = wanted;
    else this.#config.set(at + PMCSR, 2, (status & ~STATE_MASK) | before);
    return this.#state !== before;
  }

  /** Takes the state over from a loaded register. */
  load(): void {
    const at = this.#at;
    this.#state = at === undefined ? 0 : this.#config.get(at + PMCSR, 2) & STATE_MASK;
  }

  #reaches(wanted: number, capabilities: number): boolean {
    if (wanted === 1 && (capabilities & SUPPORTS_D1) === 0) return false;
    if (wanted === 2 && (capabilities & SUPPORTS_D2) === 0) return false;
    return wanted === 0 || wanted >= this.#state;
  }

  reset(): void {
    const at = this.#at;
    this.#state = 0;
    if (at === undefined) return;
    this.#config.set(at + PMCSR, 2, this.#config.get(at + PMCSR, 2) & ~STATE_MASK);
  }
}

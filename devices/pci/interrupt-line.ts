import type { ConfigSpace } from './config-space.js';
import { InterruptCounts } from './interrupt-counts.js';
import type { InterruptSource } from './interrupt-counts.js';
import { COMMAND, CONFIG, STATUS } from './registers.js';

/**
 * The INTx line of one function: the status bit shows its level, INTX_DISABLE keeps it from the
 * bus.
 *
 * @see reference/pci-and-memory-devices.md §1.10
 */
export class InterruptLine {
  readonly #config: ConfigSpace;
  /** Tells the bus that pin 0 to 3 is asserted (1) or no longer (-1); false when there is none. */
  readonly #tell: (pin: number, change: 1 | -1) => boolean;
  readonly #counts = new InterruptCounts();
  #level = false;
  /** What the bus was told. */
  #forwarded = false;

  constructor(config: ConfigSpace, tell: (pin: number, change: 1 | -1) => boolean) {
    this.#config = config;
    this.#tell = tell;
  }

  get level(): boolean {
    return this.#level;
  }

  /** Without an interrupt pin the line stays down. */
  set(level: boolean): void {
    const config = this.#config;
    this.#level = level && config.get(CONFIG.INTERRUPT_PIN, 1) !== 0;
    const status = config.get(CONFIG.STATUS, 2) & ~STATUS.INTERRUPT;
    config.set(CONFIG.STATUS, 2, this.#level ? status | STATUS.INTERRUPT : status);
    this.update();
  }

  /** Tells the bus when level or command register changed. */
  update(): void {
    const disabled = (this.#config.get(CONFIG.COMMAND, 2) & COMMAND.INTX_DISABLE) !== 0;
    this.#forward(this.#level && !disabled);
  }

  /** Takes the assertion back before the function leaves its bus. */
  leave(): void {
    this.#forward(false);
  }

  /** Undefined without an interrupt pin. */
  interrupts(): InterruptSource | undefined {
    const pin = this.#config.get(CONFIG.INTERRUPT_PIN, 1);
    if (pin === 0) return undefined;
    const waiting = this.#level && !this.#forwarded;
    return {
      kind: 'intx',
      enabled: (this.#config.get(CONFIG.COMMAND, 2) & COMMAND.INTX_DISABLE) === 0,
      vectors: this.#counts.describe(1, () => waiting),
    };
  }

  #forward(level: boolean): void {
    if (level === this.#forwarded) return;
    const pin = this.#config.get(CONFIG.INTERRUPT_PIN, 1) - 1;
    if (!this.#tell(pin, level ? 1 : -1)) return;
    this.#forwarded = level;
    if (level) this.#counts.count(0, true);
  }
}

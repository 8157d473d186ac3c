import type { MemoryRegion } from '../core/memory-region.js';
import type { Interrupts } from '../platform/interrupts.js';

/** The old bus of a board, behind its PCI-to-ISA bridge: ports and 16 interrupt lines. */
export class IsaBus {
  readonly name = 'isa.0';
  readonly typeName = 'ISA';
  /** Nothing is plugged while the machine runs. */
  readonly hotplug = undefined;
  /** Part of the board, not a device that may be stopped. */
  readonly bridge = undefined;
  /** Number of the next serial port that asks for none. */
  nextSerial = 0;
  readonly #io: MemoryRegion;
  readonly #interrupts: Interrupts;

  constructor(io: MemoryRegion, interrupts: Interrupts) {
    this.#io = io;
    this.#interrupts = interrupts;
  }

  /** Puts registers at port `base`; returns what takes them away. */
  map(registers: MemoryRegion, base: number): () => void {
    this.#io.add(registers, BigInt(base));
    return () => this.#io.remove(registers);
  }

  /** One line of one device: sets its level, which is false at first. */
  line(irq: number): (level: boolean) => void {
    let isUp = false;
    return (level) => {
      if (level === isUp) return;
      isUp = level;
      this.#interrupts.adjust(irq, level ? 1 : -1);
    };
  }
}

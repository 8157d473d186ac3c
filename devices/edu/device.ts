import type { DeviceContext, DeviceState, ResetType } from '../core/device.js';
import { MemoryRegion } from '../core/memory-region.js';
import type { PropertyValues } from '../core/property.js';
import { fields, map, part, unsigned } from '../core/saved-state.js';
import { PciFunction } from '../pci/function.js';
import type { PciDevice } from '../pci/function.js';
import { Msi } from '../pci/msi.js';
import { DmaEngine } from './dma.js';
import type { DmaRegister } from './dma.js';
import type { EduProperties } from './properties.js';
import {
  EDU_IDENTITY,
  IDENTIFICATION,
  REASON,
  REGISTER,
  REGISTERS_BAR,
  REGISTERS_SIZE,
  STATUS,
} from './registers.js';

const DWORD = 0xffff_ffffn;
/** What registers that are not there read. */
const ALL_ONES = 0xffff_ffff_ffff_ffffn;
/** From here on the factorial has 32 factors of two: nothing of it is left in 32 bits. */
const VANISHING = 34n;

const DMA_REGISTERS: ReadonlyMap<number, DmaRegister> = new Map([
  [REGISTER.DMA_SOURCE, 'source'],
  [REGISTER.DMA_DESTINATION, 'destination'],
  [REGISTER.DMA_COUNT, 'count'],
  [REGISTER.DMA_COMMAND, 'command'],
]);

const isWidth = (offset: number, size: number): boolean =>
  size === 4 || (size === 8 && offset >= REGISTER.DMA_SOURCE);

/** The factorial in 32 bits. */
const factorial = (of: bigint): bigint => {
  if (of >= VANISHING) return 0n;
  let product = 1n;
  for (let factor = of; factor > 0n; factor--) product = (product * factor) & DWORD;
  return product;
};

/**
 * The device for learning to write drivers: a few registers, an interrupt, DMA. The factorial is
 * there as soon as it is asked for, so the busy bit never shows.
 *
 * @see QEMU docs/specs/edu.rst
 */
export class Edu implements PciDevice {
  readonly pci: PciFunction;
  readonly #dma: DmaEngine;
  #msi: Msi | undefined;
  #liveness = 0n;
  #factorial = 0n;
  #status = 0n;
  #reasons = 0n;

  constructor(context: DeviceContext, properties: PropertyValues<typeof EduProperties>) {
    this.pci = new PciFunction({
      typeName: context.typeName,
      id: context.id,
      identity: EDU_IDENTITY,
      log: context.log,
      activity: context.activity,
      resetDevice: (type) => this.reset(type),
    });
    this.#dma = new DmaEngine({
      clock: context.clock,
      dma: this.pci.dma,
      log: context.log,
      mask: properties.dma_mask,
      onDone: () => this.#raise(REASON.DMA),
    });
  }

  realize(): void {
    this.#msi = new Msi(this.pci, { vectors: 1, bits64: true });
    const registers = MemoryRegion.mmio(
      'edu-mmio',
      REGISTERS_SIZE,
      {
        read: (offset, size) => (isWidth(offset, size) ? this.#read(offset) : ALL_ONES),
        write: (offset, size, value) => {
          if (isWidth(offset, size)) this.#write(offset, value);
        },
      },
      { valid: { min: 4, max: 8 }, impl: { min: 4, max: 8 } },
    );
    this.pci.registerBar(REGISTERS_BAR, registers, { type: 'memory' });
  }

  unrealize(): void {
    this.#dma.close();
    this.pci.close();
    this.#msi = undefined;
  }

  /** As QEMU: the registers keep what they hold, and a transfer goes on. */
  reset(_type: ResetType): void {
    this.pci.reset();
  }

  #read(offset: number): bigint {
    const dma = DMA_REGISTERS.get(offset);
    if (dma !== undefined) return this.#dma.read(dma);
    switch (offset) {
      case REGISTER.IDENTIFICATION:
        return IDENTIFICATION;
      case REGISTER.LIVENESS:
        return this.#liveness;
      case REGISTER.FACTORIAL:
        return this.#factorial;
      case REGISTER.STATUS:
        return this.#status;
      case REGISTER.INTERRUPT_STATUS:
        return this.#reasons;
      default:
        return ALL_ONES;
    }
  }

  #write(offset: number, value: bigint): void {
    const dma = DMA_REGISTERS.get(offset);
    if (dma !== undefined) this.#dma.write(dma, value);
    else if (offset === REGISTER.LIVENESS) this.#liveness = value ^ DWORD;
    else if (offset === REGISTER.FACTORIAL) this.#compute(value);
    else if (offset === REGISTER.STATUS) this.#status = value & STATUS.INTERRUPT;
    else if (offset === REGISTER.INTERRUPT_RAISE) this.#raise(value);
    else if (offset === REGISTER.INTERRUPT_ACKNOWLEDGE) this.#acknowledge(value);
  }

  #compute(of: bigint): void {
    this.#factorial = factorial(of);
    if (this.#status !== 0n) this.#raise(REASON.FACTORIAL);
  }

  #raise(reasons: bigint): void {
    this.#reasons |= reasons;
    if (this.#reasons === 0n) return;
    if (this.#msi?.enabled === true) this.#msi.notify(0);
    else this.pci.setInterrupt(true);
  }

  #acknowledge(reasons: bigint): void {
    this.#reasons &= ~reasons;
    if (this.#reasons === 0n && this.#msi?.enabled === false) this.pci.setInterrupt(false);
  }

  save(): DeviceState {
    return {
      pci: this.pci.save(),
      dma: this.#dma.save(),
      liveness: this.#liveness,
      factorial: this.#factorial,
      status: this.#status,
      reasons: this.#reasons,
    };
  }

  load(state: DeviceState): void {
    const saved = savedEdu(state, 'saved edu');
    const apply = [this.pci.prepareLoad(saved.pci), this.#dma.prepareLoad(saved.dma)];
    for (const run of apply) run();
    this.#liveness = saved.liveness;
    this.#factorial = saved.factorial;
    this.#status = saved.status & STATUS.INTERRUPT;
    this.#reasons = saved.reasons;
  }
}

const savedEdu = fields({
  pci: map,
  dma: part,
  liveness: unsigned(32),
  factorial: unsigned(32),
  status: unsigned(32),
  reasons: unsigned(),
});

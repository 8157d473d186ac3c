import { refused } from '../../schema/error.js';
import type { DeviceContext, DeviceState, ResetType } from '../core/device.js';
import type { AccessSize } from '../core/host-memory.js';
import type { MemdevBackend } from '../core/memdev.js';
import { MemoryRegion } from '../core/memory-region.js';
import type { PropertyValues } from '../core/property.js';
import { PciFunction } from '../pci/function.js';
import type { PciDevice } from '../pci/function.js';
import type { IvshmemPlainProperties } from './properties.js';
import {
  IVSHMEM_IDENTITY,
  MEMORY_BAR,
  REGISTER,
  REGISTERS_BAR,
  REGISTERS_SIZE,
} from './registers.js';

/**
 * Shared memory in a BAR, without a server and thus without interrupts.
 *
 * @see reference/pci-and-memory-devices.md §9.1 to §9.3
 */
export class IvshmemPlain implements PciDevice {
  readonly pci: PciFunction;
  readonly #context: DeviceContext;
  readonly #properties: PropertyValues<typeof IvshmemPlainProperties>;
  #claimed: MemdevBackend | undefined;
  #interruptMask = 0n;
  #interruptStatus = 0n;

  constructor(context: DeviceContext, properties: PropertyValues<typeof IvshmemPlainProperties>) {
    this.#context = context;
    this.#properties = properties;
    this.pci = new PciFunction({
      typeName: context.typeName,
      id: context.id,
      identity: IVSHMEM_IDENTITY,
      log: context.log,
      resetDevice: (type) => this.reset(type),
    });
  }

  /** @throws QmpError without a memdev, or when it is busy or of a size that no BAR has */
  realize(): void {
    const { memdev } = this.#properties;
    if (memdev === undefined) throw refused("You must specify a 'memdev'");
    memdev.claim(this.#context.path);
    this.#claimed = memdev;
    try {
      this.#registerBars(memdev);
    } catch (error) {
      this.unrealize();
      throw error;
    }
    if (this.#properties.master === 'auto') this.#properties.master = 'on';
  }

  #registerBars(memdev: MemdevBackend): void {
    const registers = MemoryRegion.mmio(
      'ivshmem-mmio',
      REGISTERS_SIZE,
      {
        read: (offset) => this.#readRegister(offset),
        write: (offset, _size: AccessSize, value) => this.#writeRegister(offset, value),
      },
      { impl: { min: 4, max: 4 } },
    );
    const memory = MemoryRegion.ram(`ivshmem ${memdev.id}`, { memory: memdev.memory });
    this.pci.registerBar(REGISTERS_BAR, registers, { type: 'memory' });
    this.pci.registerBar(MEMORY_BAR, memory, { type: 'memory', bits64: true, prefetch: true });
  }

  unrealize(): void {
    this.pci.close();
    this.#claimed?.release();
    this.#claimed = undefined;
  }

  /** Mask and status are cleared; the shared memory stays. */
  reset(_type: ResetType): void {
    this.pci.reset();
    this.#interruptMask = 0n;
    this.#interruptStatus = 0n;
  }

  #readRegister(offset: number): bigint {
    if (offset === REGISTER.INTERRUPT_MASK) return this.#interruptMask;
    if (offset !== REGISTER.INTERRUPT_STATUS) return 0n;
    const status = this.#interruptStatus;
    this.#interruptStatus = 0n;
    return status;
  }

  #writeRegister(offset: number, value: bigint): void {
    if (offset === REGISTER.INTERRUPT_MASK) this.#interruptMask = value;
    else if (offset === REGISTER.INTERRUPT_STATUS) this.#interruptStatus = value;
  }

  save(): DeviceState {
    return {
      pci: this.pci.save(),
      interruptMask: this.#interruptMask,
      interruptStatus: this.#interruptStatus,
    };
  }

  load(state: DeviceState): void {
    const { pci, interruptMask, interruptStatus } = state;
    if (
      typeof pci !== 'object' ||
      typeof interruptMask !== 'bigint' ||
      typeof interruptStatus !== 'bigint'
    )
      throw refused(`saved registers do not fit device type ${this.#context.typeName}`);
    this.pci.load(pci as DeviceState);
    this.#interruptMask = interruptMask;
    this.#interruptStatus = interruptStatus;
  }
}

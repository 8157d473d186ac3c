import type { Activity } from '../core/activity.js';
import type { DeviceState, StateValue } from '../core/device.js';
import { MemoryRegion } from '../core/memory-region.js';
import { fields, unsigned } from '../core/saved-state.js';

const REGISTERS_SIZE = 256n;

/** BAR0; offsets in bytes. reference/pci-and-memory-devices.md §9.2 */
export const REGISTER = {
  /** RW; stored only. */
  INTERRUPT_MASK: 0x00,
  /** RW; reading clears. */
  INTERRUPT_STATUS: 0x04,
  /** RO; 0 without a server. */
  IV_POSITION: 0x08,
  /** WO; rings nobody without a server. */
  DOORBELL: 0x0c,
} as const;

/** Where doorbells lead to. */
export interface Doorbells {
  /** Own id among the peers. */
  readonly id: number;
  ring(peer: number, vector: number): void;
}

/** The vector is documented with 16 bits; as QEMU, 8 of them count. §9.2 */
const VECTOR_MASK = 0xffn;

/** The register block of the inter-VM shared memory devices; `doorbells` once there is a server. */
export class IvshmemRegisters {
  doorbells: Doorbells | undefined;
  readonly #activity: Activity;
  #interruptMask = 0n;
  #interruptStatus = 0n;

  constructor(activity: Activity) {
    this.#activity = activity;
  }

  region(): MemoryRegion {
    const ops = {
      read: (offset: number) => this.#read(offset),
      write: (offset: number, _size: number, value: bigint) => this.#write(offset, value),
    };
    return MemoryRegion.mmio('ivshmem-mmio', REGISTERS_SIZE, ops, { impl: { min: 4, max: 4 } });
  }

  #read(offset: number): bigint {
    if (offset === REGISTER.INTERRUPT_MASK) return this.#interruptMask;
    if (offset === REGISTER.IV_POSITION) return BigInt(this.doorbells?.id ?? 0);
    if (offset !== REGISTER.INTERRUPT_STATUS) return 0n;
    const status = this.#interruptStatus;
    if (!this.#activity.stopped) this.#interruptStatus = 0n;
    return status;
  }

  /** As QEMU: a write to any byte of a register is a write to the register, a read is not. */
  #write(offset: number, value: bigint): void {
    const register = offset & 0xfc;
    if (register === REGISTER.INTERRUPT_MASK) this.#interruptMask = value;
    else if (register === REGISTER.INTERRUPT_STATUS) this.#interruptStatus = value;
    else if (register === REGISTER.DOORBELL)
      this.doorbells?.ring(Number(value >> 16n), Number(value & VECTOR_MASK));
  }

  /** Mask and status are cleared; the position stays. */
  reset(): void {
    this.#interruptMask = 0n;
    this.#interruptStatus = 0n;
  }

  save(): DeviceState {
    return { interruptMask: this.#interruptMask, interruptStatus: this.#interruptStatus };
  }

  /**
   * Checks a saved state.
   *
   * @returns what applies it
   * @throws QmpError when it does not fit
   */
  prepareLoad(state: StateValue): () => void {
    const { interruptMask, interruptStatus } = savedRegisters(state, 'saved registers');
    return () => {
      this.#interruptMask = interruptMask;
      this.#interruptStatus = interruptStatus;
    };
  }
}

const savedRegisters = fields({ interruptMask: unsigned(32), interruptStatus: unsigned(32) });

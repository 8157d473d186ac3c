import type { AddressSpace } from '../../core/address-space.js';

const ADDRESS_PORT = 0xcf8n;
const DATA_PORT = 0xcfcn;
const ENABLE = 0x8000_0000;

/** Where a function is: bus, and slot * 8 + function. */
export interface FunctionAddress {
  readonly bus: number;
  readonly devfn: number;
}

/**
 * Configuration cycles by the two ports, as software on the processor makes them.
 *
 * @see reference/pci-and-memory-devices.md §1.9
 */
export class ConfigCycles {
  readonly #ports: AddressSpace;

  /** @param ports the I/O space of the machine */
  constructor(ports: AddressSpace) {
    this.#ports = ports;
  }

  /** @param register below 0x100, a multiple of `size` */
  read(at: FunctionAddress, register: number, size: 1 | 2 | 4): number {
    this.#select(at, register);
    return Number(this.#ports.read(DATA_PORT + BigInt(register & 3), size));
  }
  write(at: FunctionAddress, register: number, size: 1 | 2 | 4, value: number): void {
    this.#select(at, register);
    this.#ports.write(DATA_PORT + BigInt(register & 3), size, BigInt(value));
  }

  /** Offset of the first capability of `id` that `matches`; undefined without one. */
  findCapability(
    at: FunctionAddress,
    id: number,
    matches: (offset: number) => boolean = () => true,
  ): number | undefined {
    let offset = this.read(at, 0x34, 1);
    for (let seen = 0; offset >= 0x40 && seen < 48; seen++) {
      if (this.read(at, offset, 1) === id && matches(offset)) return offset;
      offset = this.read(at, offset + 1, 1);
    }
    return undefined;
  }

  #select({ bus, devfn }: FunctionAddress, register: number): void {
    const address = ENABLE + bus * 0x1_0000 + devfn * 0x100 + (register & 0xfc);
    this.#ports.write(ADDRESS_PORT, 4, BigInt(address));
  }
}

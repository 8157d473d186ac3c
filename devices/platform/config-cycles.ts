import type { AccessSize } from '../core/host-memory.js';
import { MemoryRegion } from '../core/memory-region.js';
import type { PciFunction } from '../pci/function.js';

/** Finds what answers a configuration cycle. */
export type FindFunction = (busNumber: number, devfn: number) => PciFunction | undefined;

/** Configuration address register, I/O port 0xcf8. PCI Local Bus 3.0 §3.2.2.3.2. */
const ADDRESS_PORT = 0xcf8n;
/** Configuration data register, I/O ports 0xcfc-0xcff. */
const DATA_PORT = 0xcfcn;
const ENABLE = 0x8000_0000;
/** The ports reach only this much of the configuration space. */
const PORT_REACH = 0x100;

/** As a bus reads: whatever is missing is all ones. */
export const readConfigBytes = (
  fn: PciFunction | undefined,
  offset: number,
  size: number,
  limit: number,
): number => {
  if (fn === undefined || offset >= limit) return 2 ** (8 * size) - 1;
  if (offset % size === 0) return fn.readConfig(offset, size as 1 | 2 | 4);
  let value = 0;
  for (let i = 0; i < size && offset + i < limit; i++)
    value += fn.readConfig(offset + i, 1) * 2 ** (8 * i);
  return value;
};

const writeConfigBytes = (
  fn: PciFunction | undefined,
  offset: number,
  access: { size: number; value: number; limit: number },
): void => {
  const { size, value, limit } = access;
  if (fn === undefined || offset >= limit) return;
  if (offset % size === 0) {
    fn.writeConfig(offset, size as 1 | 2 | 4, value);
    return;
  }
  for (let i = 0; i < size && offset + i < limit; i++)
    fn.writeConfig(offset + i, 1, Math.floor(value / 2 ** (8 * i)) % 0x100);
};

/**
 * The two configuration ports. The address port takes aligned 4-byte writes only; the effective
 * register is the latched value OR the low bits of the data port.
 *
 * @see reference/pci-and-memory-devices.md §1.9
 */
export class ConfigPorts {
  readonly #find: FindFunction;
  #address = 0;

  constructor(find: FindFunction) {
    this.#find = find;
  }

  /** What was written to the address port; 32 bits. */
  get address(): number {
    return this.#address;
  }
  set address(address: number) {
    this.#address = address;
  }

  /** Puts the ports into the I/O space. */
  attach(io: MemoryRegion): void {
    const index = MemoryRegion.mmio('pci-conf-idx', 4n, {
      read: () => BigInt(this.#address),
      write: (offset, size, value) => {
        if (offset === 0 && size === 4) this.#address = Number(value);
      },
    });
    const data = MemoryRegion.mmio('pci-conf-data', 4n, {
      read: (offset, size) => this.#read(offset, size),
      write: (offset, size, value) => this.#write(offset, size, Number(value)),
    });
    io.add(index, ADDRESS_PORT);
    io.add(data, DATA_PORT);
  }

  #target(port: number): { fn: PciFunction | undefined; register: number } {
    const latched = this.#address;
    const fn = this.#find((latched >> 16) & 0xff, (latched >> 8) & 0xff);
    return { fn, register: (latched & 0xff) | port };
  }

  #read(port: number, size: AccessSize): bigint {
    if (this.#address < ENABLE) return (1n << BigInt(8 * size)) - 1n;
    const { fn, register } = this.#target(port);
    return BigInt(readConfigBytes(fn, register, size, PORT_REACH));
  }

  #write(port: number, size: AccessSize, value: number): void {
    if (this.#address < ENABLE) return;
    const { fn, register } = this.#target(port);
    writeConfigBytes(fn, register, { size, value, limit: PORT_REACH });
  }
}

/** Register of the q35 host bridge that places the window. Intel Q35 datasheet §5.1.16 PCIEXBAR. */
export const PCIEXBAR = { offset: 0x60, size: 8, reset: 0xb000_0000n } as const;
const PCIEXBAR_ENABLE = 1n;
/** Address bits 35:28; the shorter windows also use 27 and 26. */
const PCIEXBAR_ADDRESS = 0xf_f000_0000n;
const WINDOWS = [
  { size: 256n << 20n, extra: 0n },
  { size: 128n << 20n, extra: 1n << 27n },
  { size: 64n << 20n, extra: 3n << 26n },
] as const;

/**
 * The memory-mapped configuration window. Software switches and moves it through the host bridge;
 * the reserved length leaves it as it was.
 *
 * @see PCI Express Base 5.0 §7.2.2 Enhanced Configuration Access Mechanism
 */
export class EcamWindow {
  readonly #memory: MemoryRegion;
  readonly #find: FindFunction;
  #region: MemoryRegion | undefined;

  constructor(memory: MemoryRegion, find: FindFunction) {
    this.#memory = memory;
    this.#find = find;
  }

  /** Follows a new value of PCIEXBAR. */
  update(value: bigint): void {
    const window = WINDOWS[Number((value >> 1n) & 3n)];
    if (window === undefined) return;
    this.#remove();
    if ((value & PCIEXBAR_ENABLE) === 0n) return;
    this.#region = this.#window(window.size);
    this.#memory.add(this.#region, value & (PCIEXBAR_ADDRESS | window.extra));
  }

  #remove(): void {
    if (this.#region !== undefined) this.#memory.remove(this.#region);
    this.#region = undefined;
  }

  #window(size: bigint): MemoryRegion {
    const target = (offset: number): PciFunction | undefined =>
      this.#find(offset >> 20, (offset >> 12) & 0xff);
    return MemoryRegion.mmio('pcie-mmcfg-mmio', size, {
      read: (offset, width) =>
        BigInt(readConfigBytes(target(offset), offset & 0xfff, width, 0x1000)),
      write: (offset, width, value) =>
        writeConfigBytes(target(offset), offset & 0xfff, {
          size: width,
          value: Number(value),
          limit: 0x1000,
        }),
    });
  }
}

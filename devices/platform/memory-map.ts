import { QmpError } from '../../schema/error.js';
import type { AccessSize, HostMemory } from '../core/host-memory.js';
import { MemoryRegion } from '../core/memory-region.js';
import type { PlatformOptions } from './platform.js';

const KiB = 1024n;
const GiB4 = 1n << 32n;
const WHOLE = 1n << 64n;

/** RAM of the machine types ends below these addresses when it would reach `from`. */
export const RAM_SPLIT = {
  pc: { from: 0xe000_0000n, low: 0xc000_0000n },
  q35: { from: 0xb000_0000n, low: 0x8000_0000n },
} as const;

/** Where RAM above 4 GiB ends, or would begin. */
export const ramEnd = (kind: 'pc' | 'q35', ramSize: bigint): bigint => {
  const { from, low } = RAM_SPLIT[kind];
  return GiB4 + (ramSize >= from ? ramSize - low : 0n);
};

/** Fixed addresses of a PC. reference/pci-and-memory-devices.md §6.2. */
const MAP = {
  /** Video memory, option ROMs and BIOS: what PCI has here lies over RAM. */
  LEGACY: { base: 0xa_0000n, size: 384n * KiB },
  VIDEO: { base: 0xa_0000n, size: 128n * KiB },
  OPTION_ROMS: { base: 0xc_0000n, size: 128n * KiB },
  LOW_BIOS: { base: 0xe_0000n, size: 128n * KiB },
  IO_APIC: { base: 0xfec0_0000n, size: 4n * KiB },
  HPET: { base: 0xfed0_0000n, size: KiB },
  MESSAGES: { base: 0xfee0_0000n },
  BIOS: { base: 0xfffc_0000n, size: 256n * KiB },
} as const;
const MESSAGES_PRIORITY = 4096;

/**
 * Guest memory that is mapped when it is first touched. When the host refuses it, there is none:
 * nobody can be told, as what touches it may be a message in the middle of a command.
 */
class LazyMemory implements HostMemory {
  readonly size: bigint;
  readonly readonly = false;
  readonly #options: RamOptions;
  #memory: HostMemory | undefined;

  constructor(options: RamOptions) {
    this.size = options.ramSize;
    this.#options = options;
  }
  get #mapped(): HostMemory {
    return (this.#memory ??= this.#open());
  }
  #open(): HostMemory {
    try {
      return this.#options.ram();
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      this.#options.host.log.warn({ reason: error.message }, 'the machine runs without memory');
      return absentMemory(this.size);
    }
  }
  get descriptor(): HostMemory['descriptor'] {
    return this.#mapped.descriptor;
  }
  read(offset: bigint, into: Uint8Array): boolean {
    return this.#mapped.read(offset, into);
  }
  write(offset: bigint, from: Uint8Array): boolean {
    return this.#mapped.write(offset, from);
  }
  readInt(offset: bigint, size: AccessSize): bigint {
    return this.#mapped.readInt(offset, size);
  }
  writeInt(offset: bigint, size: AccessSize, value: bigint): void {
    this.#mapped.writeInt(offset, size, value);
  }
  onWrite(hook: (offset: bigint, len: number) => void): () => void {
    return this.#mapped.onWrite(hook);
  }
}

/** Memory whose bytes are gone. */
const absentMemory = (size: bigint): HostMemory => ({
  size,
  readonly: false,
  descriptor: undefined,
  read: (_offset, into) => {
    into.fill(0);
    return false;
  },
  write: () => false,
  readInt: () => 0n,
  writeInt: () => undefined,
  onWrite: () => () => undefined,
});

/** Registers or ROM that nobody models: reads 0, takes nothing, hides what lies below. */
export const hollow = (name: string, size: bigint): MemoryRegion =>
  MemoryRegion.mmio(name, size, { read: () => 0n, write: () => undefined });

export interface MemoryMap {
  readonly system: MemoryRegion;
  /** Where BARs appear. */
  readonly pci: MemoryRegion;
}

type RamOptions = Pick<PlatformOptions, 'ramSize' | 'ram' | 'host'>;

const ramRegion = (options: RamOptions): MemoryRegion =>
  MemoryRegion.ram('pc.ram', { memory: new LazyMemory(options) });

/** Memory of a machine without a board: RAM at 0 and nothing else. */
export const plainMemory = (options: RamOptions): MemoryRegion => {
  const system = MemoryRegion.container('system', WHOLE);
  if (options.ramSize > 0n) system.add(ramRegion(options), 0n);
  return system;
};

/** Memory of pc and q35. BARs lie below everything else, so RAM hides what is programmed over it. */
export const boardMemory = (
  options: RamOptions & {
    readonly kind: 'pc' | 'q35';
    readonly messages: MemoryRegion;
    /** VGA is there. */
    readonly defaults: boolean;
  },
): MemoryMap => {
  const system = MemoryRegion.container('system', WHOLE);
  const pci = MemoryRegion.container('pci', WHOLE);
  addRam(system, options);
  system.add(pci, 0n, -1);
  if (options.defaults) pci.add(hollow('vga-lowmem', MAP.VIDEO.size), MAP.VIDEO.base, 1);
  pci.add(hollow('pc.rom', MAP.OPTION_ROMS.size), MAP.OPTION_ROMS.base, 1);
  pci.add(hollow('isa-bios', MAP.LOW_BIOS.size), MAP.LOW_BIOS.base, 1);
  pci.add(hollow('pc.bios', MAP.BIOS.size), MAP.BIOS.base);
  const { base, size } = MAP.LEGACY;
  system.add(MemoryRegion.alias('legacy', pci, base, size), base, 1);
  system.add(hollow('ioapic', MAP.IO_APIC.size), MAP.IO_APIC.base);
  system.add(hollow('hpet', MAP.HPET.size), MAP.HPET.base);
  system.add(options.messages, MAP.MESSAGES.base, MESSAGES_PRIORITY);
  return { system, pci };
};

const addRam = (
  system: MemoryRegion,
  options: RamOptions & { readonly kind: 'pc' | 'q35' },
): void => {
  const { ramSize, kind } = options;
  if (ramSize === 0n) return;
  const { from, low } = RAM_SPLIT[kind];
  const below = ramSize >= from ? low : ramSize;
  const ram = ramRegion(options);
  system.add(MemoryRegion.alias('ram-below-4g', ram, 0n, below), 0n);
  if (ramSize > below)
    system.add(MemoryRegion.alias('ram-above-4g', ram, below, ramSize - below), GiB4);
};

import { AddressSpace } from '../../devices/core/address-space.js';
import type { Log } from '../../devices/core/device.js';
import type { AccessSize, HostMemory } from '../../devices/core/host-memory.js';
import type { MemdevBackend } from '../../devices/core/memdev.js';
import { bytesFromInt, intFromBytes, MemoryRegion } from '../../devices/core/memory-region.js';
import { PciBus } from '../../devices/pci/bus.js';
import type { PciBusOptions } from '../../devices/pci/bus.js';
import { PciFunction } from '../../devices/pci/function.js';
import type { PciIdentity } from '../../devices/pci/function.js';
import { refused } from '../../schema/error.js';

/** A log that keeps nothing but warnings. */
export const fakeLog = (warnings: string[] = []): Log => ({
  trace: () => undefined,
  debug: () => undefined,
  info: () => undefined,
  warn: (_data, message) => void warnings.push(message),
  error: () => undefined,
});

/** Host memory in an ordinary array. */
export class ArrayMemory implements HostMemory {
  readonly bytes: Uint8Array;
  readonly readonly = false;
  readonly descriptor = undefined;
  readonly #hooks = new Set<(offset: bigint, len: number) => void>();
  constructor(size: number) {
    this.bytes = new Uint8Array(size);
  }
  get size(): bigint {
    return BigInt(this.bytes.length);
  }
  read(offset: bigint, into: Uint8Array): boolean {
    const at = Number(offset);
    if (at + into.length > this.bytes.length) throw new RangeError('beyond the memory');
    into.set(this.bytes.subarray(at, at + into.length));
    return true;
  }
  write(offset: bigint, from: Uint8Array): boolean {
    this.bytes.set(from, Number(offset));
    for (const hook of this.#hooks) hook(offset, from.length);
    return true;
  }
  readInt(offset: bigint, size: AccessSize): bigint {
    const bytes = new Uint8Array(size);
    this.read(offset, bytes);
    return intFromBytes(bytes);
  }
  writeInt(offset: bigint, size: AccessSize, value: bigint): void {
    const bytes = new Uint8Array(size);
    bytesFromInt(value, bytes);
    this.write(offset, bytes);
  }
  onWrite(hook: (offset: bigint, len: number) => void): () => void {
    this.#hooks.add(hook);
    return () => this.#hooks.delete(hook);
  }
}

/** A memory backend in an ordinary array, with the path of who holds it. */
export const fakeMemdev = (
  size = 1 << 20,
  id = 'm1',
): MemdevBackend & { owner(): string | undefined; flushes(): number; memory: ArrayMemory } => {
  let owner: string | undefined;
  let flushes = 0;
  return {
    id,
    isNamed: false,
    memory: new ArrayMemory(size),
    owner: () => owner,
    get inUse() {
      return owner !== undefined;
    },
    flushes: () => flushes,
    claim: (path) => {
      if (owner !== undefined) throw refused(`can't use already busy memdev: ${id}`);
      owner = path;
    },
    release: () => void (owner = undefined),
    flush: () => {
      flushes++;
      return Promise.resolve();
    },
  };
};

/** A root bus over 64 KiB of RAM and an empty PCI space, with what it told the interrupt router. */
export const fakeRoot = (options: Partial<PciBusOptions> & { number?: number } = {}) => {
  const system = MemoryRegion.container('system', 1n << 64n);
  const memory = MemoryRegion.container('pci', 1n << 64n);
  const io = MemoryRegion.container('io', 0x10000n);
  const ram = new ArrayMemory(0x10000);
  system.add(memory, 0n, -1);
  system.add(MemoryRegion.ram('ram', { memory: ram }), 0n);
  const interrupts: string[] = [];
  const systemMemory = new AddressSpace(system, 'zeros');
  const bus = new PciBus({
    name: 'pcie.0',
    typeName: 'PCIE',
    express: true,
    memory,
    io,
    root: {
      number: options.number ?? 0,
      systemMemory,
      routeInterrupt: (slot, pin, level) =>
        void interrupts.push(`${String(slot)}:${String(pin)}:${level ? 'up' : 'down'}`),
    },
    ...options,
  });
  return { bus, systemMemory, ports: new AddressSpace(io, 'ones'), ram, interrupts };
};

export const ENDPOINT: PciIdentity = {
  vendorId: 0x1b00,
  deviceId: 0x1110,
  revision: 1,
  classCode: 0x0500,
  interruptPin: 1,
  express: true,
};
export const BRIDGE_IDENTITY: PciIdentity = {
  vendorId: 0x1b36,
  deviceId: 0x000c,
  revision: 0,
  classCode: 0x0604,
  interruptPin: 1,
  express: true,
  header: 'bridge',
};

export const fakeFunction = (
  identity: Partial<PciIdentity> = {},
  options: { typeName?: string; id?: string; log?: Log } = {},
): PciFunction =>
  new PciFunction({
    typeName: options.typeName ?? 'testdev',
    id: options.id,
    identity: { ...ENDPOINT, ...identity },
    log: options.log ?? fakeLog(),
  });

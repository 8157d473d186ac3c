import { refused } from '../../schema/error.js';
import type { AddressSpace } from '../core/address-space.js';
import type { MemoryDevice, MemoryDevicePart, MemoryModulePart } from '../core/memory-device.js';
import { MemoryRegion } from '../core/memory-region.js';
import { ramEnd } from './memory-map.js';

/** `-m slots=,maxmem=` and `-machine nvdimm=`: room for memory devices. */
export interface MemorySlotsConfig {
  readonly slots: number;
  /** Bytes of all memory, what the machine starts with included. */
  readonly maxSize: bigint;
  readonly nvdimm: boolean;
}
export const NO_MEMORY_SLOTS: MemorySlotsConfig = {
  slots: 0,
  maxSize: 0n,
  nvdimm: false,
};

const GIB = 1n << 30n;
/** Memory devices start at multiples of this and have multiples of it as size, as QEMU on x86. */
const ALIGNMENT = 2n << 20n;

const hex = (value: bigint): string => `0x${value.toString(16)}`;
const alignUp = (value: bigint, to: bigint): bigint => ((value + to - 1n) / to) * to;

const alignmentOf = (part: MemoryDevicePart): bigint =>
  part.kind === 'virtio-mem' && part.blockSize > ALIGNMENT ? part.blockSize : ALIGNMENT;

const isModule = (part: MemoryDevicePart): part is MemoryModulePart => part.kind !== 'virtio-mem';

const modulesBase = (kind: 'pc' | 'q35', ramSize: bigint): bigint =>
  alignUp(ramEnd(kind, ramSize), GIB);

/**
 * Where the room for modules ends; undefined when there is none. As QEMU: each slot may waste
 * 1 GiB on alignment.
 */
export const modulesEnd = (
  kind: 'none' | 'pc' | 'q35',
  ramSize: bigint,
  config: MemorySlotsConfig = NO_MEMORY_SLOTS,
): bigint | undefined => {
  if (kind === 'none' || config.maxSize <= ramSize) return undefined;
  const room = config.maxSize - ramSize + BigInt(config.slots) * GIB;
  return modulesBase(kind, ramSize) + room;
};

interface Plugged {
  readonly part: MemoryDevicePart;
  readonly size: bigint;
  readonly region: MemoryRegion;
}

/**
 * The memory slots of a board, and the addresses above the RAM that memory devices answer: those in
 * slots and those on a bus.
 *
 * @see reference/qmp-protocol.md §8.5
 */
export class MemorySlots {
  readonly #config: MemorySlotsConfig;
  readonly #ramSize: bigint;
  readonly #memory: AddressSpace;
  readonly #supported: boolean;
  readonly #nodes: () => number;
  readonly #base: bigint;
  readonly #end: bigint;
  readonly #plugged = new Map<MemoryDevice, Plugged>();

  constructor(
    kind: 'none' | 'pc' | 'q35',
    ramSize: bigint,
    memory: AddressSpace,
    config: MemorySlotsConfig = NO_MEMORY_SLOTS,
    nodes = (): number => 0,
  ) {
    this.#nodes = nodes;
    this.#config = config;
    this.#ramSize = ramSize;
    this.#memory = memory;
    this.#supported = kind !== 'none';
    this.#base = kind === 'none' ? 0n : modulesBase(kind, ramSize);
    this.#end = modulesEnd(kind, ramSize, config) ?? this.#base;
  }

  /** NUMA nodes. As QEMU: room for memory devices brings one, even if nobody named any. */
  get nodes(): number {
    const room = this.#config.slots > 0 || this.#config.maxSize > this.#ramSize;
    return Math.max(this.#nodes(), room ? 1 : 0);
  }
  /** First address behind the room for memory devices. */
  get end(): bigint {
    return this.#end;
  }
  /** Bytes that the guest has of all memory devices. */
  get pluggedSize(): bigint {
    return this.devices.reduce((sum, { size }) => sum + size, 0n);
  }
  /** Bytes of addresses that memory devices take. */
  get #used(): bigint {
    return [...this.#plugged.values()].reduce((sum, { size }) => sum + size, 0n);
  }
  /** The memory devices, by address, with the bytes that the guest has of them. */
  get devices(): readonly { readonly device: MemoryDevice; readonly size: bigint }[] {
    return [...this.#plugged]
      .map(([device, { part, size }]) => ({
        device,
        size: part.kind === 'virtio-mem' ? part.size() : size,
      }))
      .sort((a, b) => (a.device.memoryDevice.addr < b.device.memoryDevice.addr ? -1 : 1));
  }

  /** What is in each slot; undefined for an empty one. */
  get modules(): readonly (MemoryModulePart | undefined)[] {
    const modules = new Array<MemoryModulePart | undefined>(this.#config.slots).fill(undefined);
    for (const { part } of this.#plugged.values()) if (isModule(part)) modules[part.slot] = part;
    return modules;
  }

  /** @throws QmpError when the machine has no slots at all */
  checkSupported(typeName: string): void {
    if (!this.#supported)
      throw refused(`Device '${typeName}' can not be hotplugged on this machine`);
  }

  /**
   * Chooses slot and address of a memory device that is to be realized. Nothing is taken before `plug`.
   *
   * @throws QmpError with the texts of reference/qmp-protocol.md §8.5
   */
  place(device: MemoryDevice): void {
    const part = device.memoryDevice;
    if (part.kind === 'virtio-mem') {
      part.addr = this.#chooseAddress(part);
      this.#checkOwnNode(part);
    } else this.#placeModule(part);
  }
  #placeModule(part: MemoryModulePart): void {
    if (part.kind === 'nvdimm' && !this.#config.nvdimm)
      throw refused("nvdimm is not enabled: missing 'nvdimm' in '-M'");
    const slot = this.#chooseSlot(part.slot);
    const addr = this.#chooseAddress(part);
    this.#checkNode(part);
    part.slot = slot;
    part.addr = addr;
  }
  /** Takes the slot and makes the memory appear. */
  plug(device: MemoryDevice): void {
    const part = device.memoryDevice;
    const { id } = part.findMemdev();
    const region =
      part.kind === 'virtio-mem'
        ? part.region()
        : MemoryRegion.ram(`dimm ${id}`, { memory: part.memory() });
    this.#memory.root.add(region, part.addr);
    this.#plugged.set(device, { part, size: region.size, region });
  }
  unplug(device: MemoryDevice): void {
    const plugged = this.#plugged.get(device);
    if (plugged === undefined) return;
    this.#memory.root.remove(plugged.region);
    this.#plugged.delete(device);
  }

  /** Asks the guest to let go. @throws QmpError for what no guest can let go of */
  requestUnplug(device: MemoryDevice): void {
    const part = device.memoryDevice;
    if (part.kind === 'nvdimm') throw refused('nvdimm device hot unplug is not supported yet.');
    if (part.kind === 'virtio-mem') {
      part.checkUnplug();
      return;
    }
    part.unplugPending = true;
  }
  isPending(device: MemoryDevice): boolean {
    return isModule(device.memoryDevice) && device.memoryDevice.unplugPending;
  }
  /** The guest refused: nothing is pending any more. */
  rejectUnplug(device: MemoryDevice): void {
    if (isModule(device.memoryDevice)) device.memoryDevice.unplugPending = false;
  }

  #chooseSlot(wanted: number): number {
    const { slots } = this.#config;
    if (wanted !== -1 && (wanted < 0 || wanted >= slots))
      throw refused(
        `invalid slot number ${String(wanted)}, valid range is [0-${BigInt.asUintN(64, BigInt(slots) - 1n).toString()}]`,
      );
    if (slots <= 0) throw refused("no slots where allocated, please specify the 'slots' option");
    const taken = new Set(
      [...this.#plugged.values()].map(({ part }) => (part.kind === 'virtio-mem' ? -1 : part.slot)),
    );
    if (wanted !== -1) {
      if (taken.has(wanted)) throw refused(`slot ${String(wanted)} is busy`);
      return wanted;
    }
    for (let slot = 0; slot < slots; slot++) if (!taken.has(slot)) return slot;
    throw refused('no free slots available');
  }

  #chooseAddress(part: MemoryDevicePart): bigint {
    const { addr: wanted } = part;
    const { size } = part.findMemdev().memory;
    const total = this.#config.maxSize - this.#ramSize;
    if (part.kind === 'virtio-mem' && total <= 0n)
      throw refused(
        'memory devices (e.g. for memory hotplug) are not enabled, please specify the maxmem option',
      );
    if (this.#used + size > total)
      throw refused(
        `not enough space, currently ${hex(this.#used)} in use of total space for memory devices ${hex(total > 0n ? total : 0n)}`,
      );
    const alignment = alignmentOf(part);
    if (wanted % alignment !== 0n)
      throw refused(`address must be aligned to ${hex(alignment)} bytes`);
    if (size % alignment !== 0n)
      throw refused(`backend memory size must be multiple of ${hex(alignment)}`);
    return wanted === 0n ? this.#firstFit(size, alignment) : this.#checkAddress(wanted, size);
  }
  #checkAddress(addr: bigint, size: bigint): bigint {
    if (addr < this.#base || addr + size > this.#end)
      throw refused(
        `can't add memory device [${hex(addr)}:${hex(size)}], usable range for memory devices [${hex(this.#base)}:${hex(this.#end - this.#base)}]`,
      );
    const clash = this.#overlapping(addr, size);
    if (clash !== undefined)
      throw refused(`address range conflicts with memory device id='${clash.part.id ?? ''}'`);
    return addr;
  }
  #firstFit(size: bigint, alignment: bigint): bigint {
    let addr = alignUp(this.#base, alignment);
    for (
      let clash = this.#overlapping(addr, size);
      clash !== undefined;
      clash = this.#overlapping(addr, size)
    )
      addr = alignUp(clash.part.addr + clash.size, alignment);
    if (addr + size > this.#end)
      throw refused(
        'could not find position in guest address space for memory device - memory fragmented due to alignments',
      );
    return addr;
  }
  #overlapping(addr: bigint, size: bigint): Plugged | undefined {
    return [...this.#plugged.values()].find(
      (other) => addr < other.part.addr + other.size && other.part.addr < addr + size,
    );
  }
  #checkOwnNode({ node }: MemoryDevicePart): void {
    const { nodes } = this;
    // As QEMU, which lacks the space.
    if (node >= Math.max(nodes, 1))
      throw refused(
        `'node' property has value '${String(node)}', which exceedsthe number of numa nodes: ${String(nodes)}`,
      );
  }
  #checkNode({ node }: MemoryDevicePart): void {
    const { nodes } = this;
    if (node >= Math.max(nodes, 1))
      throw refused(
        `'DIMM property node has value ${String(node)}' which exceeds the number of numa nodes: ${String(nodes)}`,
      );
  }
}

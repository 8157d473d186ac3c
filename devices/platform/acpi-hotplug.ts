import { refused } from '../../schema/error.js';
import type { AddressSpace } from '../core/address-space.js';
import type { DeviceState } from '../core/device.js';
import { MemoryRegion } from '../core/memory-region.js';
import type { HotplugController, PciBus } from '../pci/bus.js';
import type { PciFunction } from '../pci/function.js';
import { expired, type PendingUnplug } from '../pci/hotplug.js';
import type { PlatformHost } from './platform.js';
import { savedBits, savedList, savedNumber } from './saved-numbers.js';

/** Offsets from the base port; reference/pci-and-memory-devices.md §1.14. */
const REGISTER = { UP: 0x00, DOWN: 0x04, EJECT: 0x08, REMOVABLE: 0x0c, SELECT: 0x10, INDEX: 0x14 };
const BLOCK_SIZE = 0x18n;
/** Buses beyond this number cannot be selected. */
const MAX_BUSES = 256;
/** Largest firmware index of an onboard device. */
const MAX_ACPI_INDEX = 16383;
const ALL_SLOTS = 0xffff_ffffn;
const ALL_BITS = 0xffff_ffff_ffff_ffffn;

/** The slots of one bus. Masks have one bit per slot. */
interface SlotBus {
  readonly bus: PciBus;
  up: bigint;
  down: bigint;
  removable: bigint;
}

export interface AcpiHotplugOptions {
  readonly host: PlatformHost;
  /** First port of the register block. */
  readonly base: bigint;
  /** The guest's ports, for its hotplug driver. */
  readonly ports: () => AddressSpace;
  /** Functions that never leave: parts of the board and bridges that were there at start. */
  readonly pinned: (fn: PciFunction) => boolean;
  readonly roots: () => readonly PciBus[];
  /** A device was added to `bus`: its slot needs power. */
  readonly powerOn: (bus: PciBus) => void;
}

const slotBit = (fn: PciFunction): bigint => 1n << BigInt(fn.devfn >> 3);

/** The lowest set bit of a mask; undefined when it is empty. */
const lowestSlot = (mask: bigint): number | undefined => {
  for (let slot = 0; slot < 32; slot++) if ((mask >> BigInt(slot)) & 1n) return slot;
  return undefined;
};

/** PCI hotplug by ACPI: a register block that the guest's firmware methods read and write. */
export class AcpiHotplug implements HotplugController {
  readonly kind = 'acpi';
  readonly region: MemoryRegion;
  readonly #options: AcpiHotplugOptions;
  /** By number (`acpi-pcihp-bsel`). */
  readonly #buses = new Map<number, SlotBus>();
  readonly #pending = new Map<PciFunction, PendingUnplug>();
  #selected = 0;
  #index = 0n;

  constructor(options: AcpiHotplugOptions) {
    this.#options = options;
    this.region = MemoryRegion.mmio(
      'acpi-pci-hotplug',
      BLOCK_SIZE,
      {
        read: (offset) => this.#read(offset),
        write: (offset, _size, value) => this.#write(offset, value),
      },
      { valid: { min: 4, max: 4 } },
    );
  }

  /** Numbers the buses, in the order of the guest's tables. */
  number(buses: readonly PciBus[]): void {
    for (const [bsel, bus] of buses.slice(0, MAX_BUSES).entries())
      this.#buses.set(bsel, { bus, up: 0n, down: 0n, removable: ALL_SLOTS });
    this.#countRemovable();
  }

  bsel(bus: PciBus): number | undefined {
    for (const [bsel, entry] of this.#buses) if (entry.bus === bus) return bsel;
    return undefined;
  }

  /** The bus is gone. */
  drop(bus: PciBus): void {
    const bsel = this.bsel(bus);
    if (bsel !== undefined) this.#buses.delete(bsel);
  }

  /** Any slot will do; an acpi-index must be in range and unique. */
  prePlug(fn: PciFunction): void {
    const { acpiIndex } = fn;
    if (acpiIndex === 0) return;
    if (acpiIndex > MAX_ACPI_INDEX)
      throw refused(`acpi-index should be less or equal to ${String(MAX_ACPI_INDEX)}`);
    if (this.#options.roots().some((bus) => this.#hasIndex(bus, acpiIndex)))
      throw refused(`a PCI device with acpi-index = ${String(acpiIndex)} already exist`);
  }
  #hasIndex(bus: PciBus, acpiIndex: number): boolean {
    return (
      bus.functions.some((other) => other.acpiIndex === acpiIndex) ||
      bus.childBuses().some((child) => this.#hasIndex(child, acpiIndex))
    );
  }

  plug(fn: PciFunction, hotplugged: boolean): void {
    if (!hotplugged || fn.bus === undefined) return;
    this.#options.powerOn(fn.bus);
    const entry = this.#entryOf(fn.bus);
    if (entry !== undefined) entry.up |= slotBit(fn);
  }

  unplugRequest(fn: PciFunction, name: string): void {
    const pending = this.#pending.get(fn);
    if (pending !== undefined && !expired(pending, this.#options.host.clock))
      throw refused(`Device ${name} is already in the process of unplug`);
    const entry = fn.bus && this.#entryOf(fn.bus);
    if (entry === undefined)
      throw refused(`Unsupported bus. Bus doesn't have property 'acpi-pcihp-bsel' set`);
    // As QEMU: the request expires with the present millisecond.
    this.#pending.set(fn, { expiresMs: this.#options.host.clock.now() / 1_000_000n });
    entry.down |= slotBit(fn);
  }

  isPending(fn: PciFunction): boolean {
    return this.#pending.has(fn);
  }

  /** The device was pulled out. ACPI has no way to say so; its slot is just empty. */
  yanked(fn: PciFunction): void {
    this.#pending.delete(fn);
    for (const entry of this.#buses.values()) {
      const left = entry.bus.functions.filter((other) => other !== fn);
      const kept = left.reduce((mask, other) => mask | slotBit(other), 0n);
      entry.up &= kept;
      entry.down &= kept;
    }
  }

  /** As the guest's firmware methods: selects the bus and ejects the slot. */
  guestEject(fn: PciFunction): void {
    const bsel = fn.bus && this.bsel(fn.bus);
    if (bsel === undefined) throw refused('The bus of the device has no ACPI hotplug number');
    const { base, ports } = this.#options;
    const slot = slotBit(fn);
    ports().write(base + BigInt(REGISTER.SELECT), 4, BigInt(bsel));
    ports().write(base + BigInt(REGISTER.EJECT), 4, slot);
  }

  save(): DeviceState {
    return {
      selected: this.#selected,
      index: this.#index,
      buses: [...this.#buses].map(([bsel, { up, down }]) => ({ bsel, up, down })),
      pending: [...this.#pending].flatMap(([fn, { expiresMs }]) => {
        const bsel = fn.bus && this.bsel(fn.bus);
        return bsel === undefined ? [] : [{ bsel, devfn: fn.devfn, expiresMs }];
      }),
    };
  }
  /** Checks a saved state and returns what applies it. @throws QmpError when it does not fit */
  prepareLoad(state: DeviceState): () => void {
    const selected = savedNumber(state, 'selected', 0xffff_ffff);
    const index = savedBits(state, 'index', ALL_BITS);
    const masks = savedList(state, 'buses').map((bus) => ({
      entry: this.#savedBus(bus),
      up: savedBits(bus, 'up', ALL_SLOTS),
      down: savedBits(bus, 'down', ALL_SLOTS),
    }));
    const pending = savedList(state, 'pending').map((one) => {
      const fn = this.#savedBus(one).bus.function(savedNumber(one, 'devfn', 0xff));
      if (fn === undefined) throw refused('a device that is to leave is not there');
      return [fn, { expiresMs: savedBits(one, 'expiresMs', ALL_BITS) }] as const;
    });
    return () => {
      this.#selected = selected;
      this.#index = index;
      for (const { entry, up, down } of masks) Object.assign(entry, { up, down });
      this.#pending.clear();
      for (const [fn, one] of pending) this.#pending.set(fn, one);
    };
  }
  #savedBus(state: DeviceState): SlotBus {
    const bsel = savedNumber(state, 'bsel', MAX_BUSES - 1);
    const entry = this.#buses.get(bsel);
    if (entry === undefined) throw refused(`there is no bus with ACPI number ${String(bsel)}`);
    return entry;
  }

  /** System reset: slots that wait for their eject are ejected, lowest bus and slot first. */
  reset(): void {
    for (const [, entry] of [...this.#buses].sort(([a], [b]) => a - b)) {
      while (entry.down !== 0n) this.#eject(entry, entry.down);
      entry.up = 0n;
    }
    this.#countRemovable();
  }

  #countRemovable(): void {
    for (const entry of this.#buses.values()) {
      entry.removable = ALL_SLOTS;
      for (const fn of entry.bus.functions)
        if (this.#options.pinned(fn)) entry.removable &= ~slotBit(fn);
    }
  }

  #entryOf(bus: PciBus): SlotBus | undefined {
    const bsel = this.bsel(bus);
    return bsel === undefined ? undefined : this.#buses.get(bsel);
  }

  #read(offset: number): bigint {
    if (this.#selected >= MAX_BUSES) return 0n;
    const entry = this.#buses.get(this.#selected);
    switch (offset) {
      case REGISTER.UP: {
        const up = entry?.up ?? 0n;
        if (entry !== undefined) entry.up = 0n;
        return up;
      }
      case REGISTER.DOWN:
        return entry?.down ?? 0n;
      case REGISTER.REMOVABLE:
        return entry?.removable ?? ALL_SLOTS;
      case REGISTER.SELECT:
        return BigInt(this.#selected);
      case REGISTER.INDEX: {
        const index = this.#index;
        this.#index = 0n;
        return index;
      }
      default:
        return 0n;
    }
  }

  #write(offset: number, value: bigint): void {
    if (offset === REGISTER.SELECT) {
      this.#selected = Number(value);
      return;
    }
    const entry = this.#buses.get(this.#selected);
    if (entry === undefined) return;
    if (offset === REGISTER.EJECT) this.#eject(entry, value);
    if (offset === REGISTER.INDEX) this.#index = this.#acpiIndex(entry, value);
  }

  /** The `acpi-index` of function 0 in the lowest slot of `mask`. */
  #acpiIndex(entry: SlotBus, mask: bigint): bigint {
    const slot = lowestSlot(mask);
    const fn = slot === undefined ? undefined : entry.bus.function(slot * 8);
    return BigInt(fn?.acpiIndex ?? 0);
  }

  /** Ejects the lowest slot of `mask`, all its functions in ascending order. */
  #eject(entry: SlotBus, mask: bigint): void {
    const slot = lowestSlot(mask);
    if (slot === undefined) return;
    this.#done(entry, 1n << BigInt(slot));
    for (const fn of entry.bus.functions.filter((one) => one.devfn >> 3 === slot)) {
      // As QEMU: what stays is still waited for.
      if (this.#options.pinned(fn)) continue;
      this.#pending.delete(fn);
      this.#options.host.remove(fn);
    }
  }

  #done(entry: SlotBus, bit: bigint): void {
    entry.up &= ~bit;
    entry.down &= ~bit;
  }
}

import { refused } from '../../schema/error.js';
import type { DeviceContext, DeviceState, ResetType } from '../core/device.js';
import { bool, ofBoard, ofPlace, uint16, uint8 } from '../core/property.js';
import type { PropertyValues } from '../core/property.js';
import { fields, list, map } from '../core/saved-state.js';
import { PciBus } from './bus.js';
import { PciFunction, type PciDevice } from './function.js';
import { PciBridge } from './pci-bridge.js';
import { CONFIG } from './registers.js';
import type { PlatformServices } from '../platform/platform.js';

const NUMA_UNASSIGNED = 128;

export const expanderProperties = {
  bus_nr: ofBoard(uint8(0, 'bus number of the new root')),
  numa_node: ofPlace(uint16(NUMA_UNASSIGNED, 'node of the new root; 128 for none')),
  bypass_iommu: ofPlace(bool(false, 'accepted for compatibility')),
} as const;

/** What differs between the expanders. reference/pci-and-memory-devices.md §1.12. */
const KINDS = {
  'pxb-cxl': { deviceId: 0x000b, express: true, busType: 'pxb-cxl-bus' },
  'pxb-pcie': { deviceId: 0x000b, express: true, busType: 'pxb-pcie-bus' },
  pxb: { deviceId: 0x0009, express: false, busType: 'PCI' },
} as const;

const RED_HAT = 0x1b36;
const STATUS_CAPABLE = 0x00a0;
/** The inner bridge asks firmware for no room. */
const NO_WISH = (1n << 64n) - 1n;

/**
 * An expander: a function on the first root bus that brings a further root bus. That of pxb-pcie
 * and pxb-cxl takes ports and bridges; that of pxb holds one conventional bridge, named after the expander.
 */
export class Expander implements PciDevice {
  readonly pci: PciFunction;
  readonly #kind: keyof typeof KINDS;
  readonly #context: DeviceContext;
  readonly #properties: PropertyValues<typeof expanderProperties>;
  #root: PciBus | undefined;
  #bridge: PciBridge | undefined;

  constructor(
    kind: keyof typeof KINDS,
    context: DeviceContext,
    properties: PropertyValues<typeof expanderProperties>,
  ) {
    this.#kind = kind;
    this.#context = context;
    this.#properties = properties;
    this.pci = new PciFunction({
      typeName: context.typeName,
      id: context.id,
      identity: {
        ...{ vendorId: RED_HAT, deviceId: KINDS[kind].deviceId, revision: 0, classCode: 0x0600 },
        express: false,
      },
      log: context.log,
      activity: context.activity,
      resetDevice: (type) => this.reset(type),
    });
    this.pci.config.set(CONFIG.STATUS, 2, STATUS_CAPABLE);
  }

  /** The root bus that it brings, once realized. Buses are found by way of the platform's roots. */
  get rootBus(): PciBus | undefined {
    return this.#root;
  }
  realize(): void {
    const { platform } = this.#context;
    const parent = this.pci.bus;
    if (platform === undefined || parent === undefined)
      throw refused('PXB devices can be attached only to root bus');
    this.#check(parent, platform);
    this.#root = this.#createRoot(parent, platform);
    platform.addRoot(this.#root, this.pci);
    if (this.#kind === 'pxb') this.#addBridge(this.#root, platform);
  }

  /** @throws QmpError with the texts of reference/pci-and-memory-devices.md §1.12 */
  #check(parent: PciBus, platform: PlatformServices): void {
    if (parent.express && this.#kind === 'pxb')
      throw refused('pxb devices cannot reside on a PCIe bus');
    if (!parent.express && this.#kind !== 'pxb')
      throw refused(`${this.#kind} devices cannot reside on a PCI bus`);
    const { numa_node: node, bus_nr: number } = this.#properties;
    if (node !== NUMA_UNASSIGNED) throw refused(`Illegal numa node ${String(node)}`);
    if (!parent.isRoot) throw refused('PXB devices can be attached only to root bus');
    const others = [...platform.roots.filter((root) => root !== parent), ...parent.childBuses()];
    if (others.some((bus) => bus.number === number))
      throw refused(`Bus ${String(number)} is already in use`);
  }

  #createRoot(parent: PciBus, platform: PlatformServices): PciBus {
    const { express, busType } = KINDS[this.#kind];
    const own = this.#context.id ?? platform.nextBusName(busType);
    const root = new PciBus({
      name: this.#kind === 'pxb' ? 'pxb-internal' : own,
      typeName: busType,
      express,
      memory: parent.memory,
      io: parent.io,
      root: {
        number: this.#properties.bus_nr,
        systemMemory: platform.memory,
        routeInterrupt: (slot, pin, level) => this.#route(parent, slot, pin, level),
      },
    });
    root.beforePlug = (fn) => {
      if (!fn.isBridge)
        throw refused(`PCI: Only PCI/PCIe bridges can be plugged into ${this.#kind}`);
    };
    return root;
  }

  /** As QEMU: the expander's own slot has no part in the swizzle. */
  #route(parent: PciBus, slot: number, pin: number, level: boolean): void {
    const own = this.pci.slot;
    parent.changeInterrupt(own, (pin + slot + 3 * own) % 4, level ? 1 : -1);
  }

  #addBridge(root: PciBus, platform: PlatformServices): void {
    const bridge = new PciBridge(
      { ...this.#context, typeName: 'pci-bridge' },
      {
        ...{ chassis_nr: this.#properties.bus_nr, msi: 'auto', shpc: false },
        ...{ 'bus-reserve': 0xffff_ffff, 'io-reserve': NO_WISH, 'mem-reserve': NO_WISH },
        ...{ 'pref32-reserve': NO_WISH, 'pref64-reserve': NO_WISH },
      },
    );
    root.attach(bridge.pci, 0);
    try {
      bridge.realize();
    } catch (error) {
      root.detach(bridge.pci);
      platform.removeRoot(root);
      this.#root = undefined;
      throw error;
    }
    this.#bridge = bridge;
  }

  unrealize(): void {
    if (this.#bridge !== undefined) {
      this.#bridge.unrealize();
      this.#root?.detach(this.#bridge.pci);
    }
    if (this.#root !== undefined) this.#context.platform?.removeRoot(this.#root);
    this.#bridge = undefined;
    this.#root = undefined;
    this.pci.close();
  }
  reset(type: ResetType): void {
    this.pci.reset();
    this.#bridge?.reset(type);
  }
  save(): DeviceState {
    const bridge = this.#bridge === undefined ? [] : [this.#bridge.save()];
    return { function: this.pci.save(), bridge };
  }
  load(state: DeviceState): void {
    const saved = savedExpander(state, `saved ${this.pci.typeName}`);
    const inner = this.#bridge?.pci;
    if (saved.bridge.length !== (inner === undefined ? 0 : 1))
      throw refused(`saved state does not fit device type ${this.pci.typeName}`);
    const apply = [
      this.pci.prepareLoad(saved.function),
      ...saved.bridge.map((bridge) => inner?.prepareLoad(bridge)),
    ];
    for (const run of apply) run?.();
  }
}

const savedExpander = fields({ function: map, bridge: list(map, 1) });

import type { ResetType } from '../core/device.js';
import type { AddressSpace } from '../core/address-space.js';
import type { MemoryRegion } from '../core/memory-region.js';
import { chooseAddress } from './slot-address.js';
import type { AddressRequest } from './slot-address.js';
import type { PciFunction } from './function.js';
import { BRIDGE, BRIDGE_CONTROL, PORT_TYPE } from './registers.js';

/** What a host bridge gives its root bus. */
export interface PciRoot {
  /** Bus number of the root bus. */
  readonly number: number;
  /** Where DMA goes. */
  readonly systemMemory: AddressSpace;
  /**
   * Level of one interrupt pin (0 to 3) of one slot of the root bus, OR-ed over all functions
   * behind that slot; called on changes only.
   */
  routeInterrupt(slot: number, pin: number, level: boolean): void;
}

/** Serves the hot-plug slots of one or more buses. */
export interface HotplugController {
  readonly kind: 'acpi' | 'native' | 'shpc';
  /** @throws QmpError when the slot refuses */
  prePlug(fn: PciFunction, bus: PciBus, hotplugged: boolean): void;
  plug(fn: PciFunction, hotplugged: boolean): void;
  /**
   * `device_del`: marks the slot pending, or lets the function go at once.
   *
   * @param name the argument as the client gave it
   * @throws QmpError when refused
   */
  unplugRequest(fn: PciFunction, name: string): void;
  /** @throws QmpError when the controller has no slot for this address */
  checkAddress?(devfn: number): void;
  /** The function was torn out without asking: what its slot shows then. */
  yanked(fn: PciFunction): void;
  /** True while a `device_del` of `fn` waits for the guest. */
  isPending(fn: PciFunction): boolean;
  /** Lets go of the slot of `fn` as a guest's driver does, by port or configuration accesses. */
  guestEject(fn: PciFunction): void;
}

export type PciBusTypeName = 'PCI' | 'PCIE' | 'pxb-pcie-bus' | 'CXL' | 'pxb-cxl-bus';

export interface PciBusOptions {
  readonly name: string;
  readonly typeName: PciBusTypeName;
  readonly express: boolean;
  /** The spaces in which its functions map their BARs. */
  readonly memory: MemoryRegion;
  readonly io: MemoryRegion;
  /** Root buses have a root, others a bridge. */
  readonly root?: PciRoot;
  readonly bridge?: PciFunction;
}

const SLOTS = 32;

/**
 * One PCI bus: up to 32 slots of 8 functions, at a root or behind a bridge.
 *
 * @see reference/pci-and-memory-devices.md §1.1, §1.9, §1.10, §1.13
 */
export class PciBus {
  readonly name: string;
  readonly typeName: PciBusTypeName;
  readonly express: boolean;
  readonly memory: MemoryRegion;
  readonly io: MemoryRegion;
  /** The function that this bus lies behind; undefined for a root bus. */
  readonly bridge: PciFunction | undefined;
  /** Without one: "Bus '<name>' does not support hotplugging". */
  hotplug: HotplugController | undefined;
  /** An extra rule of the bus. @throws QmpError when `fn` may not be plugged */
  beforePlug: ((fn: PciFunction) => void) | undefined;
  readonly #root: PciRoot | undefined;
  readonly #functions = new Map<number, PciFunction>();
  /** By devfn, until one comes or goes. */
  #sorted: readonly PciFunction[] | undefined;
  readonly #reserved = new Set<number>();
  /** Functions that assert a pin, by slot * 4 + pin; root buses only. */
  readonly #asserted = new Map<number, number>();

  constructor(options: PciBusOptions) {
    this.name = options.name;
    this.typeName = options.typeName;
    this.express = options.express;
    this.memory = options.memory;
    this.io = options.io;
    this.#root = options.root;
    this.bridge = options.bridge;
    if ((this.#root === undefined) === (this.bridge === undefined))
      throw new RangeError(`bus ${this.name} needs either a root or a bridge`);
    if (this.bridge !== undefined) this.bridge.secondaryBus = this;
  }

  get isRoot(): boolean {
    return this.#root !== undefined;
  }
  /** The root above this bus. */
  get root(): PciRoot {
    const root = this.#root ?? this.bridge?.bus?.root;
    if (root === undefined) throw new Error(`bus ${this.name} is not connected to a root`);
    return root;
  }
  /** Its number: given for a root bus, else what software wrote to the bridge. */
  get number(): number {
    return this.#root?.number ?? this.bridge?.config.get(BRIDGE.SECONDARY_BUS, 1) ?? 0;
  }
  /** True when configuration accesses beyond 0xff get here: it and all buses above are express. */
  get extended(): boolean {
    return this.express && (this.isRoot || this.bridge?.bus?.extended === true);
  }
  /** True for the bus of a root or downstream port, whose only device is device 0. */
  get isPort(): boolean {
    const type = this.bridge?.portType;
    return type === PORT_TYPE.ROOT_PORT || type === PORT_TYPE.DOWNSTREAM;
  }

  /** Ascending devfn. */
  get functions(): readonly PciFunction[] {
    return (this.#sorted ??= [...this.#functions.values()].sort((a, b) => a.devfn - b.devfn));
  }
  /** Functions in the order in which they came. */
  get arrivals(): readonly PciFunction[] {
    return [...this.#functions.values()];
  }
  function(devfn: number): PciFunction | undefined {
    return this.#functions.get(devfn);
  }
  /** Function 0 of the device that `devfn` belongs to. */
  functionZero(devfn: number): PciFunction | undefined {
    return this.#functions.get(this.isPort ? 0 : devfn & ~7);
  }

  /** Keeps a slot free. */
  reserveSlot(slot: number): void {
    this.#reserved.add(slot);
  }
  isReserved(slot: number): boolean {
    return this.#reserved.has(slot);
  }
  get isFull(): boolean {
    for (let slot = 0; slot < SLOTS; slot++)
      if (!this.isReserved(slot) && !this.#functions.has(slot * 8)) return false;
    return true;
  }

  /**
   * Finds the address of a function to be plugged; changes nothing.
   *
   * @returns its devfn
   * @throws QmpError with the texts of reference/pci-and-memory-devices.md §3.4
   */
  chooseAddress(fn: PciFunction, request: AddressRequest): number {
    const devfn = chooseAddress(this, fn, request);
    this.hotplug?.checkAddress?.(devfn);
    return devfn;
  }

  /** Puts `fn` at `devfn`, which must be free. */
  attach(fn: PciFunction, devfn: number, options?: { readonly hotplugged?: boolean }): void {
    if (this.#functions.has(devfn)) throw new RangeError(`devfn ${String(devfn)} is taken`);
    this.#functions.set(devfn, fn);
    this.#sorted = undefined;
    fn.attached(this, devfn, options?.hotplugged ?? false);
    if (this.isPort && fn.slot !== 0)
      fn.log.warn(
        { slot: fn.slot, type: fn.typeName },
        'slot is not valid: the parent device only allows plugging into slot 0',
      );
  }

  detach(fn: PciFunction): void {
    if (this.#functions.get(fn.devfn) !== fn) return;
    fn.detached();
    this.#functions.delete(fn.devfn);
    this.#sorted = undefined;
  }

  /** The buses of its bridges, newest first. */
  childBuses(): readonly PciBus[] {
    const buses: PciBus[] = [];
    for (const { secondaryBus } of this.#functions.values())
      if (secondaryBus !== undefined) buses.unshift(secondaryBus);
    return buses;
  }

  /** The function that a configuration access from this root reaches. */
  findFunction(busNumber: number, devfn: number): PciFunction | undefined {
    return this.findBus(busNumber)?.function(devfn);
  }

  /** Routes a bus number from this bus downwards, through bridges whose range covers it. */
  findBus(busNumber: number): PciBus | undefined {
    if (this.number === busNumber) return this;
    for (const child of this.childBuses()) {
      if (child.#covers(busNumber)) return child.findBus(busNumber);
    }
    return undefined;
  }

  /** True when the bridge of this bus passes accesses to `busNumber` on. */
  #covers(busNumber: number): boolean {
    const config = this.bridge?.config;
    if (config === undefined) return false;
    if ((config.get(BRIDGE.CONTROL, 2) & BRIDGE_CONTROL.BUS_RESET) !== 0) return false;
    return (
      config.get(BRIDGE.SECONDARY_BUS, 1) <= busNumber &&
      busNumber <= config.get(BRIDGE.SUBORDINATE_BUS, 1)
    );
  }

  /** Resets every device on this bus and behind its bridges, the farthest first. */
  reset(type: ResetType): void {
    for (const fn of this.functions) {
      fn.secondaryBus?.reset(type);
      fn.resetDevice(type);
    }
  }

  /** One function more (1) or less (-1) asserts `pin` of `slot`; travels up to the root. */
  changeInterrupt(slot: number, pin: number, change: 1 | -1): void {
    if (this.#root === undefined) {
      const { bridge } = this;
      bridge?.bus?.changeInterrupt(bridge.slot, (pin + slot) % 4, change);
      return;
    }
    const key = slot * 4 + pin;
    const before = this.#asserted.get(key) ?? 0;
    this.#asserted.set(key, before + change);
    if (before === 0 || before + change === 0)
      this.#root.routeInterrupt(slot, pin, before + change > 0);
  }
}

import type { DeviceContext, DeviceType, Log } from '../../devices/core/device.js';
import { OwnMemories } from '../../devices/core/own-memory.js';
import type { PropertyValues, Properties } from '../../devices/core/property.js';
import type { IsaBus } from '../../devices/isa/bus.js';
import { PciBus } from '../../devices/pci/bus.js';
import type { PciFunction } from '../../devices/pci/function.js';
import { addOptionRom } from '../../devices/pci/option-rom.js';
import {
  checkCommonPciProperties,
  type CommonPciProperties,
} from '../../devices/pci/properties.js';
import type { HostMemoryService } from '../../devices/core/host-memory.js';
import type { MemorySlots } from '../../devices/platform/memory-slots.js';
import type { BoardDevice, Platform } from '../../devices/platform/platform.js';
import type { StateControl } from '../../devices/state/control.js';
import { DEFAULT_LENGTHS } from '../../devices/state/regions.js';
import { deviceNotFound, refused } from '../../schema/error.js';
import { findBus, type BusTree } from './buses.js';
import { BusObject } from './bus-object.js';
import {
  boardType,
  deviceEntry,
  checkActive,
  exposeDevice,
  type DeviceEntry,
} from './device-entry.js';
import { PropertyBag, type Settings } from './device-properties.js';
import { isIdentifier } from './identifier.js';
import { QomObject, resolvePath } from './qom.js';
import type { TypeRegistry } from './type-registry.js';

/** A device to be made: `device_add` or `-device`. */
export interface DeviceRequest {
  readonly driver: string;
  readonly id: string | undefined;
  readonly bus: string | undefined;
  readonly settings: Settings;
}

export interface DeviceTableOptions {
  readonly root: QomObject;
  readonly peripheral: QomObject;
  readonly anonymous: QomObject;
  readonly unattached: QomObject;
  readonly types: TypeRegistry;
  readonly platform: () => Platform;
  readonly memorySlots: () => MemorySlots;
  readonly hostMemory: HostMemoryService;
  readonly context: (entry: Pick<DeviceContext, 'id' | 'path' | 'typeName'>) => DeviceContext;
  readonly globals: (type: DeviceType) => readonly (readonly [string, string])[];
  readonly log: Log;
  /** Cold-plug is over: what comes now is hot-plugged. */
  readonly ready: () => boolean;
  readonly stateControl: (entry: DeviceEntry) => StateControl;
  /** A device has left; `DEVICE_DELETED` is due. */
  readonly deleted: (entry: DeviceEntry, path: string) => void;
}

/** The devices of one machine: made, found, taken away. */
export class DeviceTable implements BusTree {
  readonly #options: DeviceTableOptions;
  readonly #entries = new Set<DeviceEntry>();
  readonly #byFunction = new Map<PciFunction, DeviceEntry>();
  readonly #busObjects = new Map<PciBus, BusObject>();
  #isaObject: BusObject | undefined;
  #nextAnonymous = 0;
  #nextUnattached = 0;

  constructor(options: DeviceTableOptions) {
    this.#options = options;
  }

  get entries(): Iterable<DeviceEntry> {
    return this.#entries;
  }
  get roots(): readonly PciBus[] {
    return this.#options.platform().roots;
  }
  get hosts(): Platform['hosts'] {
    return this.#options.platform().hosts;
  }
  childBuses(bus: PciBus): readonly PciBus[] {
    return bus.arrivals.toReversed().flatMap((fn) => fn.secondaryBus ?? []);
  }
  busesOfDevice(bus: PciBus, name: string): readonly PciBus[] | undefined {
    const on = this.#newestFirst(bus);
    const entry = on.find(({ id }) => id === name) ?? on.find(({ type }) => type.name === name);
    if (entry === undefined) return undefined;
    return entry.pci?.secondaryBus === undefined ? [] : [entry.pci.secondaryBus];
  }
  ofFunction(fn: PciFunction): DeviceEntry | undefined {
    return this.#byFunction.get(fn);
  }
  /** The object under which a bus stands in the tree. */
  busObject(bus: PciBus): QomObject | undefined {
    return this.#busObjects.get(bus);
  }

  /**
   * Makes a device, in the order of reference/pci-and-memory-devices.md §3.1; a failure leaves
   * nothing behind.
   *
   * @throws QmpError with the texts of §3.4
   */
  async add(request: DeviceRequest): Promise<DeviceEntry> {
    const { types, root, ready } = this.#options;
    if (request.id !== undefined && !isIdentifier(request.id))
      throw refused(`Parameter 'id' expects an identifier`);
    const type = types.creatable(request.driver);
    const bus = this.#placeOf(type, request.bus);
    const hotplugged = ready();
    if (bus === undefined) this.#options.memorySlots().checkSupported(type.name);
    else if (hotplugged) this.#checkHotplug(type, bus);
    if (request.id !== undefined && this.#options.peripheral.children.has(request.id))
      throw refused(`Duplicate device ID '${request.id}'`);
    const bag = new PropertyBag(type, root, types);
    for (const [name, text] of this.#options.globals(type)) bag.setText(name, text);
    bag.setAll(request.settings);
    const entry = this.#create(request.id, type, bag, hotplugged);
    try {
      if (bus === undefined) await this.#plugMemory(entry);
      else if (bus instanceof PciBus) await this.#plug(entry, bus);
      else await this.#plugIsa(entry, bus);
    } catch (error) {
      this.#forget(entry);
      throw error;
    }
    return entry;
  }

  /** Puts a device of the board in its place; these never fail. */
  async addBoard(board: BoardDevice, bus: PciBus, hostObject: QomObject): Promise<void> {
    const type = boardType(board);
    const object = new QomObject(board.typeName, board.device);
    if (board.path === 'unattached')
      this.#options.unattached.addChild(`device[${String(this.#nextUnattached++)}]`, object);
    else hostObject.addChild(board.path.slice('host/'.length), object);
    const bag = new PropertyBag(type, this.#options.root, this.#options.types);
    const { activity } = board.device.pci;
    const life = { activity, memories: new OwnMemories(activity) };
    const entry = deviceEntry(
      { id: undefined, type, device: board.device, object, properties: bag, hotplugged: false },
      life,
      this.#options.stateControl,
    );
    bus.attach(board.device.pci, board.devfn);
    await board.device.realize();
    this.#settle(entry, bus);
    const { isa } = this.#options.platform();
    if (isa === undefined || !ISA_BRIDGES.has(board.typeName)) return;
    this.#isaObject = new BusObject(isa, { hotplugHandler: () => undefined });
    object.addChild(isa.name, this.#isaObject);
  }
  /** Makes a bus visible in the tree, below the object of the device or host that brings it. */
  addBusObject(bus: PciBus, above: QomObject): void {
    const object = new BusObject(bus, {
      bsel: () => this.#options.platform().bsel(bus),
      hotplugHandler: () => this.#hotplugHandler(bus, above),
    });
    above.addChild(bus.name, object);
    this.#busObjects.set(bus, object);
  }
  /** The part of the board that does ACPI hotplug, or the port itself. */
  #hotplugHandler(bus: PciBus, port: QomObject): QomObject | undefined {
    if (bus.hotplug?.kind !== 'acpi') return bus.hotplug === undefined ? undefined : port;
    return [...this.#entries].find(({ type }) => ACPI_PARTS.has(type.name))?.object;
  }

  /** Whether a device has that id. */
  has(id: string): boolean {
    return this.#options.peripheral.children.has(id);
  }
  /**
   * Finds a device by id, absolute path, or path relative to `/machine/peripheral`.
   *
   * @throws QmpError DeviceNotFound, or `X is not a device`
   */
  find(name: string): DeviceEntry {
    const { root, peripheral } = this.#options;
    const object = name.startsWith('/')
      ? undefinedUnlessFound(resolvePath(root, name))
      : peripheral.walk(name.split('/').filter((part) => part !== ''));
    if (object === undefined) throw deviceNotFound(name);
    const entry = [...this.#entries].find((candidate) => candidate.object === object);
    if (entry === undefined) throw refused(`${name} is not a device`);
    return entry;
  }

  /** `device_del`: asks for removal; the guest side completes it. @throws QmpError, §3.5 */
  requestUnplug(name: string): DeviceEntry {
    const entry = this.find(name);
    const bus = entry.pci?.pci.bus;
    const { isa } = this.#options.platform();
    if (entry.type.place === 'isa' && isa !== undefined) this.#checkHotplug(entry.type, isa);
    if (bus !== undefined) this.#checkHotplug(entry.type, bus);
    if (entry.memory !== undefined) this.#options.memorySlots().requestUnplug(entry.memory);
    if (entry.memory !== undefined && entry.pci === undefined) return entry;
    if (entry.pci === undefined || bus === undefined) throw deviceNotFound(name);
    bus.hotplug?.unplugRequest(entry.pci.pci, name);
    return entry;
  }

  /** `device-yank`: surprise removal; the slot notices, the guest side is not asked. */
  yank(name: string): void {
    const entry = this.find(name);
    const bus = entry.pci?.pci.bus;
    if (entry.pci === undefined || bus === undefined) throw deviceNotFound(name);
    this.#checkHotplug(entry.type, bus);
    const { pci: fn } = entry.pci;
    this.remove(entry);
    bus.hotplug?.yanked(fn);
  }

  /** Takes a device away at once, what is behind it first (newest child first). */
  remove(entry: DeviceEntry): void {
    const secondary = entry.pci?.secondaryBus;
    if (secondary !== undefined)
      for (const child of this.#newestFirst(secondary)) this.remove(child);
    const path = entry.object.path;
    this.#unplug(entry);
    this.#options.deleted(entry, path);
  }
  /** Unrealizes everything, newest first; for the end of the machine. */
  async close(): Promise<void> {
    for (const entry of [...this.#entries].reverse()) {
      await entry.device.unrealize();
    }
    this.#entries.clear();
  }

  /** The bus that a device goes to; undefined for a memory slot. */
  #placeOf(type: DeviceType, path: string | undefined): PciBus | IsaBus | undefined {
    const { isa } = this.#options.platform();
    const wantsIsa = type.place === 'isa';
    if (isa !== undefined && path === isa.name) {
      if (wantsIsa) return isa;
      throw refused(`Device '${type.name}' can't go on ${isa.typeName} bus`);
    }
    if (type.place === undefined) return findBus(this, type, path);
    if (path === undefined) {
      if (wantsIsa && isa === undefined)
        throw refused(`No 'ISA' bus found for device '${type.name}'`);
      return wantsIsa ? isa : undefined;
    }
    throw refused(`Device '${type.name}' can't go on ${findBus(this, type, path).typeName} bus`);
  }
  async #plugMemory(entry: DeviceEntry): Promise<void> {
    const { memory } = entry;
    if (memory === undefined) throw new Error(`${entry.type.name} is no memory device`);
    const slots = this.#options.memorySlots();
    slots.place(memory);
    await entry.device.realize();
    slots.plug(memory);
    entry.realized = true;
    this.#entries.add(entry);
    exposeDevice(entry, { object: undefined, hotpluggable: () => true });
  }
  async #plugIsa(entry: DeviceEntry, bus: IsaBus): Promise<void> {
    await entry.device.realize();
    entry.realized = true;
    this.#entries.add(entry);
    this.#isaObject?.plug(entry.object);
    exposeDevice(entry, { object: this.#isaObject, hotpluggable: () => bus.hotplug !== undefined });
  }
  #checkHotplug(type: DeviceType, bus: PciBus | IsaBus): void {
    if (type.hotpluggable === false)
      throw refused(`Device '${type.name}' does not support hotplugging`);
    if (bus.hotplug === undefined) throw refused(`Bus '${bus.name}' does not support hotplugging`);
    const { bridge } = bus;
    const port = bridge === undefined ? undefined : this.ofFunction(bridge);
    if (port !== undefined) checkActive(port);
  }
  #newestFirst(bus: PciBus): DeviceEntry[] {
    return [...this.#entries].filter((entry) => entry.pci?.pci.bus === bus).reverse();
  }
  #create(
    id: string | undefined,
    type: DeviceType,
    bag: PropertyBag,
    hotplugged: boolean,
  ): DeviceEntry {
    const above = id === undefined ? this.#options.anonymous : this.#options.peripheral;
    const name = id ?? `device[${String(this.#nextAnonymous++)}]`;
    const path = `${above.path}/${name}`;
    const context = this.#options.context({ id, path, typeName: type.name });
    const device = type.create(context, bag.values() as PropertyValues<Properties>);
    const object = new QomObject(type.name, device);
    above.addChild(name, object);
    const made = { id, type, device, object, properties: bag, hotplugged };
    return deviceEntry(made, context, this.#options.stateControl);
  }
  async #plug(entry: DeviceEntry, bus: PciBus): Promise<void> {
    const pci = entry.pci;
    if (pci === undefined)
      throw refused(`Device '${entry.type.name}' can't go on ${bus.typeName} bus`);
    const fn = pci.pci;
    const { hotplugged } = entry;
    const common = entry.properties.values() as CommonPciProperties;
    checkCommonPciProperties(common);
    fn.multifunction = common.multifunction;
    fn.acpiIndex = common['acpi-index'];
    if (entry.memory !== undefined) this.#options.memorySlots().place(entry.memory);
    bus.beforePlug?.(fn);
    bus.hotplug?.prePlug(fn, bus, hotplugged);
    const { addr, multifunction } = common;
    const devfn = bus.chooseAddress(fn, { addr, multifunction, hotplugged });
    bus.attach(fn, devfn, { hotplugged });
    await this.#realize(entry, fn, bus, common);
    this.#settle(entry, bus);
    try {
      if (hotplugged) entry.device.reset('cold');
      bus.hotplug?.plug(fn, hotplugged);
    } catch (error) {
      this.#unplug(entry);
      throw error;
    }
  }
  /** Realizes the device with its option ROM; a failure takes it off the bus again. */
  async #realize(
    entry: DeviceEntry,
    fn: PciFunction,
    bus: PciBus,
    common: CommonPciProperties,
  ): Promise<void> {
    try {
      await entry.device.realize();
      try {
        addOptionRom(fn, this.#options.hostMemory, common);
      } catch (error) {
        await entry.device.unrealize();
        throw error;
      }
    } catch (error) {
      bus.detach(fn);
      throw error;
    }
  }
  #settle(entry: DeviceEntry, bus: PciBus): void {
    if (entry.properties.value('x-vfio-state') === true) entry.state.attachRegions(DEFAULT_LENGTHS);
    entry.realized = true;
    this.#entries.add(entry);
    if (entry.memory !== undefined) this.#options.memorySlots().plug(entry.memory);
    const { pci } = entry;
    if (pci !== undefined) {
      this.#byFunction.set(pci.pci, entry);
      if (pci.secondaryBus !== undefined) {
        this.addBusObject(pci.secondaryBus, entry.object);
        this.#options.platform().adoptBus(pci.secondaryBus, pci, entry.hotplugged);
      }
    }
    this.#busObjects.get(bus)?.plug(entry.object);
    exposeDevice(entry, {
      object: this.#busObjects.get(bus),
      hotpluggable: () => bus.hotplug !== undefined,
    });
  }
  #unplug(entry: DeviceEntry): void {
    const { pci } = entry;
    const bus = pci?.pci.bus;
    entry.state.close();
    const done = entry.device.unrealize();
    if (done instanceof Promise)
      done.catch((error: unknown) => {
        this.#options.log.error({ err: error, path: entry.object.path }, 'unrealize failed');
      });
    if (pci !== undefined) {
      if (pci.secondaryBus !== undefined) {
        this.#options.platform().dropBus(pci.secondaryBus);
        this.#busObjects.delete(pci.secondaryBus);
      }
      if (bus !== undefined) this.#busObjects.get(bus)?.unplug(entry.object);
      bus?.detach(pci.pci);
      this.#byFunction.delete(pci.pci);
    }
    if (entry.memory !== undefined) this.#options.memorySlots().unplug(entry.memory);
    entry.realized = false;
    this.#forget(entry);
  }
  #forget(entry: DeviceEntry): void {
    this.#entries.delete(entry);
    entry.object.unparent();
  }
}

/** Where the ACPI hotplug registers of pc and q35 belong. */
const ACPI_PARTS: ReadonlySet<string> = new Set(['PIIX4_PM', 'ICH9-LPC']);

/** What the ISA bus of pc and q35 lies behind. */
const ISA_BRIDGES: ReadonlySet<string> = new Set(['PIIX3', 'ICH9-LPC']);

const undefinedUnlessFound = (result: ReturnType<typeof resolvePath>): QomObject | undefined =>
  result.kind === 'found' ? result.object : undefined;

import { refused } from '../../schema/error.js';
import { AddressSpace } from '../core/address-space.js';
import type { DeviceState } from '../core/device.js';
import { MemoryRegion } from '../core/memory-region.js';
import { bool } from '../core/property.js';
import { CxlHost } from '../cxl/host.js';
import { IsaBus } from '../isa/bus.js';
import { PciBus } from '../pci/bus.js';
import type { HotplugPort } from '../pci/hotplug.js';
import type { PciDevice, PciFunction } from '../pci/function.js';
import { AcpiHotplug } from './acpi-hotplug.js';
import { BoardFunction, type BoardFunctionSpec } from './board-function.js';
import { PIRQ_ROUTE, PIRQ_ROUTE_HIGH, pcFunctions, q35Functions } from './board-tables.js';
import { ConfigPorts, EcamWindow, PCIEXBAR } from './config-cycles.js';
import { FW_CFG_PORT, FwCfg } from './fw-cfg.js';
import { Interrupts, PirqRouter } from './interrupts.js';
import { boardMemory, ramEnd } from './memory-map.js';
import { MessageReceiver } from './messages.js';
import { savedMap, savedNumber } from './saved-numbers.js';
import type { BoardDevice, HostBridge, Platform, PlatformOptions } from './platform.js';

const IO_SPACE_SIZE = 0x1_0000n;
const ACPI_BASE = { pc: 0xae00n, q35: 0x0cc0n } as const;
/** The parts of the board whose properties decide about ACPI hotplug. */
const ACPI_OWNER = { pc: 'PIIX4_PM', q35: 'ICH9-LPC' } as const;

const HOSTS = {
  pc: { qomName: 'i440fx', typeName: 'i440FX-pcihost', bus: 'pci.0' },
  q35: { qomName: 'q35', typeName: 'q35-pcihost', bus: 'pcie.0' },
} as const;
const CANONICAL = { pc: 'pc-i440fx-10.2', q35: 'pc-q35-10.2' } as const;

/** I/O APIC input of PIRQ 0 on q35. */
const FIRST_PIRQ_INPUT = 16;
/** Slots of the chipset's own devices on q35, whose pins are PIRQs without swizzle. */
const FIRST_CHIPSET_SLOT = 25;
const ROUTE_DISABLED = 0x80;

/** A bus behind a bridge, or a further root, in the order in which they came. */
interface KnownBus {
  readonly bus: PciBus;
  readonly bridge: PciFunction | undefined;
  readonly port: HotplugPort | undefined;
}

/** The machine types pc and q35: one host bridge, its devices, its address spaces. */
export class Board implements Platform {
  readonly kind: 'pc' | 'q35';
  readonly canonicalName: string;
  readonly memory: AddressSpace;
  readonly io: AddressSpace;
  readonly hosts: readonly HostBridge[];
  readonly board: readonly BoardDevice[];
  readonly messages = new MessageReceiver();
  readonly interrupts = new Interrupts();
  readonly cxl: CxlHost;
  readonly isa: IsaBus;
  readonly #options: PlatformOptions;
  readonly #bus: PciBus;
  readonly #ports: ConfigPorts;
  readonly #ecam: EcamWindow | undefined;
  readonly #fwCfg: FwCfg;
  readonly #acpi: AcpiHotplug | undefined;
  /** ACPI serves bridges that are there at start. */
  readonly #acpiBridges: boolean;
  readonly #pirqs: PirqRouter;
  readonly #router: PciFunction;
  readonly #pinned = new Set<PciFunction>();
  readonly #chassisSlots = new Set<string>();
  readonly #busNames = new Map<string, number>();
  #roots: PciBus[];
  #known: KnownBus[] = [];

  constructor(kind: 'pc' | 'q35', options: PlatformOptions) {
    this.kind = kind;
    this.canonicalName = CANONICAL[kind];
    this.#options = options;
    const map = boardMemory({ ...options, kind, messages: this.messages.region });
    const ioRoot = MemoryRegion.container('io', IO_SPACE_SIZE);
    this.memory = new AddressSpace(map.system, 'zeros');
    this.io = new AddressSpace(ioRoot, 'ones');
    this.isa = new IsaBus(ioRoot, this.interrupts);
    const end = options.modulesEnd ?? ramEnd(kind, options.ramSize);
    this.cxl = new CxlHost(map.system, options.cxl, end);
    const find = (bus: number, devfn: number): PciFunction | undefined =>
      this.findFunction(bus, devfn);
    this.#ports = new ConfigPorts(find);
    this.#ports.attach(ioRoot);
    this.#fwCfg = new FwCfg(options.ramSize);
    ioRoot.add(this.#fwCfg.region, FW_CFG_PORT);
    this.#ecam = kind === 'q35' ? new EcamWindow(map.system, find) : undefined;
    this.#bus = this.#rootBus(map.pci, ioRoot);
    this.#roots = [this.#bus];
    const { qomName, typeName } = HOSTS[kind];
    this.hosts = [{ qomName, typeName, bus: this.#bus }];
    const devices = this.#createBoard();
    this.board = devices.map((device) => ({ ...device.spec, device }));
    this.#router = this.#find(devices, kind === 'pc' ? 'PIIX3' : 'ICH9-LPC').pci;
    this.#pirqs = this.#createRouter(devices);
    if (this.#ecam !== undefined) this.#watchEcam(this.#find(devices, 'mch'));
    this.#acpiBridges = this.#flag('acpi-pci-hotplug-with-bridge-support');
    const root = kind === 'pc' && this.#flag('acpi-root-pci-hotplug');
    this.#acpi = root || this.#acpiBridges ? this.#createAcpi(ioRoot) : undefined;
    this.#bus.hotplug = root ? this.#acpi : undefined;
  }

  get roots(): readonly PciBus[] {
    return this.#roots;
  }

  #flag(property: string): boolean {
    const owner = ACPI_OWNER[this.kind];
    const text = this.#options.host.global(owner, property);
    return text === undefined || bool(true, '').parseText(text, property, owner);
  }

  #rootBus(memory: MemoryRegion, io: MemoryRegion): PciBus {
    const express = this.kind === 'q35';
    return new PciBus({
      name: HOSTS[this.kind].bus,
      typeName: express ? 'PCIE' : 'PCI',
      express,
      memory,
      io,
      root: {
        number: 0,
        systemMemory: this.memory,
        routeInterrupt: (slot, pin, level) => this.#pirqs.set(this.#line(slot, pin), level),
      },
    });
  }

  #createBoard(): BoardFunction[] {
    const specs: BoardFunctionSpec[] =
      this.kind === 'pc' ? pcFunctions(this.#options) : q35Functions(this.#options);
    return specs.map((spec) => {
      const device = new BoardFunction(spec, this.#options.host.log);
      if (spec.removable !== true) this.#pinned.add(device.pci);
      return device;
    });
  }
  #find(devices: readonly BoardFunction[], typeName: string): BoardFunction {
    const found = devices.find(({ spec }) => spec.typeName === typeName);
    if (found === undefined) throw new Error(`the board has no ${typeName}`);
    return found;
  }

  // Interrupts.

  /** reference/pci-and-memory-devices.md §1.10 */
  #line(slot: number, pin: number): number {
    if (this.kind === 'pc') return (slot + 3 + pin) % 4;
    return slot < FIRST_CHIPSET_SLOT ? 4 + ((slot + pin) % 4) : pin;
  }

  #createRouter(devices: readonly BoardFunction[]): PirqRouter {
    const router = new PirqRouter(this.interrupts, {
      lines: this.kind === 'pc' ? 4 : 8,
      inputsOf: (line) => this.#inputsOf(line),
    });
    const bridge = devices.find(({ pci }) => pci === this.#router);
    if (bridge !== undefined) bridge.onReset = () => router.reroute();
    this.#router.onConfigWrite(() => router.reroute());
    this.#router.onLoad(() => router.reroute());
    return router;
  }

  /** Input of the legacy controller by the routing register, and on q35 an input of its own. */
  #inputsOf(line: number): number[] {
    const register = line < 4 ? PIRQ_ROUTE + line : PIRQ_ROUTE_HIGH + line - 4;
    const route = this.#router.config.get(register, 1);
    const routed = (route & ROUTE_DISABLED) === 0 ? [route & 0xf] : [];
    return this.kind === 'q35' ? [FIRST_PIRQ_INPUT + line, ...routed] : routed;
  }

  // Configuration mechanisms.

  #watchEcam(mch: BoardFunction): void {
    const { config } = mch.pci;
    const update = (): void => this.#ecam?.update(config.get64(PCIEXBAR.offset));
    const reset = (): void => {
      config.set64(PCIEXBAR.offset, PCIEXBAR.reset);
      update();
    };
    mch.onReset = reset;
    mch.pci.onLoad(update);
    mch.pci.onConfigWrite((offset, size) => {
      if (offset < PCIEXBAR.offset + PCIEXBAR.size && offset + size > PCIEXBAR.offset) update();
    });
    reset();
  }

  findFunction(busNumber: number, devfn: number): PciFunction | undefined {
    for (const root of [this.#bus, ...this.#roots]) {
      const bus = root.findBus(busNumber);
      if (bus !== undefined) return bus.function(devfn);
    }
    return undefined;
  }

  // Buses.

  addRoot(bus: PciBus, owner: PciFunction): void {
    this.#roots = [bus, ...this.#roots];
    this.#pinned.add(owner);
    this.#known.push({ bus, bridge: owner, port: undefined });
  }
  removeRoot(bus: PciBus): void {
    this.#roots = this.#roots.filter((other) => other !== bus);
    this.dropBus(bus);
  }
  nextBusName(prefix: string): string {
    const count = this.#busNames.get(prefix) ?? 0;
    this.#busNames.set(prefix, count + 1);
    return `${prefix}.${String(count)}`;
  }
  claimChassisSlot(chassis: number, slot: number): () => void {
    const key = `${String(chassis)}.${String(slot)}`;
    if (this.#chassisSlots.has(key)) throw refused("Can't add chassis slot, error -16");
    this.#chassisSlots.add(key);
    return () => this.#chassisSlots.delete(key);
  }
  remove(fn: PciFunction): void {
    this.#options.host.remove(fn);
  }

  adoptBus(
    bus: PciBus,
    bridge: PciDevice & { readonly slots?: HotplugPort },
    hotplugged: boolean,
  ): void {
    const port = bridge.slots;
    this.#known.push({ bus, bridge: bridge.pci, port });
    if (hotplugged) return;
    this.#pinned.add(bridge.pci);
    // As QEMU: ACPI describes the bridges that it finds at start below those that it serves.
    const parent = bridge.pci.bus;
    if (!this.#acpiBridges || parent === undefined) return;
    if (parent !== this.#bus && parent.hotplug !== this.#acpi) return;
    bus.hotplug = port?.hotplug === false ? undefined : this.#acpi;
  }
  dropBus(bus: PciBus): void {
    const known = this.#known.find((entry) => entry.bus === bus);
    if (known?.bridge !== undefined) this.#pinned.delete(known.bridge);
    this.#known = this.#known.filter((entry) => entry.bus !== bus);
    this.#acpi?.drop(bus);
  }

  // Hotplug.

  #createAcpi(ioRoot: MemoryRegion): AcpiHotplug {
    const base = ACPI_BASE[this.kind];
    const acpi = new AcpiHotplug({
      host: this.#options.host,
      base,
      ports: () => this.io,
      pinned: (fn) => this.#pinned.has(fn),
      roots: () => this.#roots,
      powerOn: (bus) => this.#known.find((entry) => entry.bus === bus)?.port?.powerOn(),
    });
    ioRoot.add(acpi.region, base);
    return acpi;
  }

  /** Hot-pluggable buses in the order of their ACPI numbers: downwards, newest bridge first. */
  #walk(bus: PciBus): PciBus[] {
    const children = this.#known.filter(({ bridge }) => bridge?.bus === bus).reverse();
    const below = children.flatMap((child) => this.#walk(child.bus));
    return bus.hotplug === undefined ? below : [bus, ...below];
  }

  ready(): void {
    this.cxl.ready();
    const buses = this.#acpiBridges ? this.#walk(this.#bus) : [this.#bus];
    this.#acpi?.number(buses.filter((bus) => bus.hotplug !== undefined));
  }

  bsel(bus: PciBus): number | undefined {
    return this.#acpi?.bsel(bus);
  }

  save(): DeviceState {
    return {
      configAddress: this.#ports.address,
      fwCfg: this.#fwCfg.save(),
      ...(this.#acpi === undefined ? {} : { acpi: this.#acpi.save() }),
    };
  }
  load(state: DeviceState): void {
    const address = savedNumber(state, 'configAddress', 0xffff_ffff);
    const fwCfg = this.#fwCfg.prepareLoad(savedMap(state['fwCfg'], 'fwCfg'));
    const acpi = this.#acpi?.prepareLoad(savedMap(state['acpi'], 'acpi'));
    this.#ports.address = address;
    fwCfg();
    acpi?.();
  }

  reset(): void {
    this.#acpi?.reset();
    this.#fwCfg.reset();
  }

  guestEject(fn: PciFunction, pending = true): void {
    const controller = fn.bus?.hotplug;
    const name = fn.id ?? fn.typeName;
    if (controller === undefined)
      throw refused(`Bus '${fn.bus?.name ?? ''}' does not support hotplugging`);
    if (pending && !controller.isPending(fn))
      throw refused(`No unplug of device '${name}' is pending`);
    if (controller.kind === 'acpi' && this.#pinned.has(fn))
      throw refused(`Device '${name}' was there at start and cannot be ejected by ACPI`);
    controller.guestEject(fn);
  }
}

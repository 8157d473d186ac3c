import { refused } from '../../schema/error.js';
import { Activity } from '../core/activity.js';
import type { AddressSpace } from '../core/address-space.js';
import type { Device, DeviceState, Log, ResetType, StateValue } from '../core/device.js';
import type { AccessSize } from '../core/host-memory.js';
import type { MemoryRegion } from '../core/memory-region.js';
import { Bars } from './bars.js';
import type { BarInfo, BarKind } from './bars.js';
import type { PciBus } from './bus.js';
import { allOnes, ConfigSpace } from './config-space.js';
import type { ConfigAccessSize } from './config-space.js';
import { FunctionDma } from './dma.js';
import type { Dma } from './dma.js';
import { savedFunction, type FunctionPart } from './function-part.js';
import { initHeader, resetHeader } from './header.js';
import type { PciIdentity } from './header.js';
import type { InterruptSource } from './interrupt-counts.js';
import { InterruptLine } from './interrupt-line.js';
import { Offers } from './offers.js';
import { PowerState } from './power-state.js';
import { COMMAND, CONFIG, HEADER_TYPE } from './registers.js';

export type { BarInfo, BarKind } from './bars.js';
export type { Dma } from './dma.js';
export type { FunctionPart } from './function-part.js';
export type { PciIdentity } from './header.js';

export interface PciFunctionOptions {
  readonly typeName: string;
  /** The user's id. */
  readonly id: string | undefined;
  readonly identity: PciIdentity;
  readonly log: Log;
  /** Of the device that it is part of; one of its own by default. */
  readonly activity?: Activity;
  /**
   * Resets the whole device, for a bus reset and when the slot cuts the power. By default the
   * function alone is reset.
   */
  readonly resetDevice?: (type: ResetType) => void;
}

/** A device that sits on a PCI bus. */
export interface PciDevice extends Device {
  readonly pci: PciFunction;
  /** The bus behind a bridge. */
  readonly secondaryBus?: PciBus;
}

/** The device as a PCI device, when it offers a function. */
export const asPciDevice = (device: Device): PciDevice | undefined => {
  const pci: unknown = Reflect.get(device, 'pci');
  return pci instanceof PciFunction ? (device as PciDevice) : undefined;
};

/**
 * One PCI function: configuration space, BARs, capabilities, interrupt line and bus mastering, as
 * the bus sees them. A device model composes one.
 *
 * @see reference/pci-and-memory-devices.md §1
 */
export class PciFunction {
  readonly typeName: string;
  readonly id: string | undefined;
  readonly identity: PciIdentity;
  readonly log: Log;
  /** Whether it may act. */
  readonly activity: Activity;
  readonly config: ConfigSpace;
  readonly offers = new Offers();
  readonly #dma = new FunctionDma(() => this.#masterMemory);
  /** Firmware's index of an onboard device (property `acpi-index`), 0 for none. */
  acpiIndex = 0;
  /** The bus behind it; set by that bus. */
  secondaryBus: PciBus | undefined;
  readonly #bars: Bars;
  readonly #power: PowerState;
  readonly #line: InterruptLine;
  readonly #resetDevice: (type: ResetType) => void;
  readonly #parts = new Map<string, FunctionPart>();
  readonly #readHooks = new Set<(offset: number, size: number) => void>();
  readonly #writeHooks = new Set<(offset: number, size: number) => void>();
  readonly #loadHooks = new Set<() => void>();
  readonly #leaveActivity: () => void;
  #bus: PciBus | undefined;
  #devfn = 0;
  #hotplugged = false;
  #powered = true;

  constructor(options: PciFunctionOptions) {
    this.typeName = options.typeName;
    this.id = options.id;
    this.identity = options.identity;
    this.log = options.log;
    this.activity = options.activity ?? new Activity();
    this.config = new ConfigSpace(options.identity.express);
    initHeader(this.config, options.identity);
    this.#bars = new Bars(this.config, this.isBridge);
    this.#power = new PowerState(this.config);
    this.#line = new InterruptLine(this.config, (pin, change) => {
      this.#bus?.changeInterrupt(this.slot, pin, change);
      return this.#bus !== undefined;
    });
    this.#resetDevice = options.resetDevice ?? (() => this.reset());
    this.#leaveActivity = this.activity.onChange((stopped) =>
      this.#bars.setStopped(stopped, this.activity, (type) => this.#decodes(type)),
    );
  }

  get isBridge(): boolean {
    return this.identity.header === 'bridge';
  }
  get isExpress(): boolean {
    return this.identity.express;
  }

  get bus(): PciBus | undefined {
    return this.#bus;
  }
  /** slot * 8 + function. */
  get devfn(): number {
    return this.#devfn;
  }
  get slot(): number {
    return this.#devfn >> 3;
  }
  get hotplugged(): boolean {
    return this.#hotplugged;
  }
  /** Called by the bus that the function is put into. */
  attached(bus: PciBus, devfn: number, hotplugged: boolean): void {
    this.#bus = bus;
    this.#devfn = devfn;
    this.#hotplugged = hotplugged;
    this.#update();
  }
  /** Called by the bus that the function is taken out of: unmaps, drops the interrupt. */
  detached(): void {
    this.#line.leave();
    this.#bus = undefined;
    this.#update();
  }

  get multifunction(): boolean {
    return (this.config.get(CONFIG.HEADER_TYPE, 1) & HEADER_TYPE.MULTIFUNCTION) !== 0;
  }
  set multifunction(on: boolean) {
    const type = this.config.get(CONFIG.HEADER_TYPE, 1) & ~HEADER_TYPE.MULTIFUNCTION;
    this.config.set(CONFIG.HEADER_TYPE, 1, on ? type | HEADER_TYPE.MULTIFUNCTION : type);
  }

  /** False while its slot gives it no power. */
  get powered(): boolean {
    return this.#powered;
  }
  /** Switches the slot's power; without power the function is not there and loses its state. */
  setPowered(on: boolean): void {
    if (this.#powered === on) return;
    this.#powered = on;
    this.#update();
    if (!on) this.resetDevice('cold');
  }

  /**
   * True when accesses from the bus find the function: it has power, and a hot-added function
   * above 0 waits for function 0.
   */
  get present(): boolean {
    if (this.#bus === undefined || !this.#powered) return false;
    return !this.#hotplugged || this.#bus.functionZero(this.#devfn) !== undefined;
  }
  /** Bytes of configuration space that accesses from the bus reach. */
  get #visibleSize(): number {
    return this.#bus?.extended === true ? this.config.size : 256;
  }

  /** A read from the bus: all-ones when nothing answers. */
  readConfig(offset: number, size: ConfigAccessSize): number {
    if (!this.present || offset + size > this.#visibleSize) return allOnes(size);
    const kept = this.activity.stopped ? this.config.bytes.slice() : undefined;
    if (this.#readHooks.size > 0) for (const hook of this.#readHooks) hook(offset, size);
    const value = this.config.get(offset, size);
    if (kept !== undefined) this.config.bytes.set(kept);
    return value;
  }

  /** A write from the bus: dropped when nothing answers, kept for later by a stopped device. */
  writeConfig(offset: number, size: ConfigAccessSize, value: number): void {
    if (!this.present || offset + size > this.#visibleSize) return;
    if (this.activity.stopped) {
      this.activity.latch.add(() => this.writeConfig(offset, size, value));
      return;
    }
    this.config.write(offset, size, value);
    const power = this.#power.configWritten(offset, size);
    const command = offset < CONFIG.COMMAND + 2 && CONFIG.COMMAND < offset + size;
    if (power || command || this.#bars.touches(offset, size)) this.#update();
    for (const hook of this.#writeHooks) hook(offset, size);
  }

  /**
   * Calls `hook` after every write from the bus, when all bytes are stored and the BARs follow.
   *
   * @returns the unsubscribe
   */
  onConfigWrite(hook: (offset: number, size: number) => void): () => void {
    this.#writeHooks.add(hook);
    return () => this.#writeHooks.delete(hook);
  }
  /** Calls `hook` before every read from the bus, so that it can set what is read. */
  onConfigRead(hook: (offset: number, size: number) => void): void {
    this.#readHooks.add(hook);
  }
  /** Calls `hook` after a saved state was loaded; returns the unsubscribe. */
  onLoad(hook: () => void): () => void {
    this.#loadHooks.add(hook);
    return () => this.#loadHooks.delete(hook);
  }

  get commandEnabled(): {
    readonly io: boolean;
    readonly memory: boolean;
    readonly master: boolean;
  } {
    const command = this.config.get(CONFIG.COMMAND, 2);
    return {
      io: (command & COMMAND.IO) !== 0,
      memory: (command & COMMAND.MEMORY) !== 0,
      master: (command & COMMAND.MASTER) !== 0,
    };
  }

  /** @returns its offset; see ConfigSpace.addCapability */
  addCapability(id: number, size: number, at?: number): number {
    return this.config.addCapability(id, size, at);
  }
  findCapability(id: number): number | undefined {
    return this.config.findCapability(id);
  }
  removeCapability(id: number, size: number): void {
    this.config.removeCapability(id, size);
  }
  /** @returns its offset; see ConfigSpace.addExtendedCapability */
  addExtendedCapability(id: number, version: number, size: number, at?: number): number {
    return this.config.addExtendedCapability(id, version, size, at);
  }

  /** Adds a part that is reset, saved, loaded and closed with the function. */
  addPart(name: string, part: FunctionPart): void {
    if (this.#parts.has(name)) throw new RangeError(`the function has a part ${name} already`);
    this.#parts.set(name, part);
  }
  removePart(name: string): void {
    const part = this.#parts.get(name);
    this.#parts.delete(name);
    part?.close?.();
  }

  /** @throws QmpError when the size is not a power of two that the BAR can hold */
  registerBar(index: number, region: MemoryRegion, kind: BarKind): void {
    this.#bars.register(index, region, kind);
  }
  unregisterBar(index: number): void {
    this.#bars.unregister(index);
  }
  get bars(): readonly BarInfo[] {
    return this.#bars.list;
  }

  #decodes(type: BarKind['type']): boolean {
    return this.#powered && this.commandEnabled[type];
  }

  /** What one BAR holds, while the function has power and its command bit is set. */
  #openBar(index: number): AddressSpace | undefined {
    const bar = this.#bars.find(index);
    return bar !== undefined && this.#decodes(bar.type) ? bar.content : undefined;
  }

  /** Reads straight from a BAR, wherever it is mapped; 0 while it does not decode. */
  readBar(index: number, offset: number, size: AccessSize): bigint {
    return this.#openBar(index)?.read(BigInt(offset), size) ?? 0n;
  }
  writeBar(index: number, offset: number, size: AccessSize, value: bigint): void {
    this.#openBar(index)?.write(BigInt(offset), size, value);
  }
  readBarBytes(index: number, offset: number, length: number): Uint8Array {
    return this.#openBar(index)?.readBytes(BigInt(offset), length) ?? new Uint8Array(length);
  }
  writeBarBytes(index: number, offset: number, bytes: Uint8Array): void {
    this.#openBar(index)?.writeBytes(BigInt(offset), bytes);
  }

  /** Level of the INTx line; the status bit follows it, INTX_DISABLE keeps it from the bus. */
  setInterrupt(level: boolean): void {
    this.#line.set(level);
  }

  /** Its ways to interrupt, INTx first. */
  interrupts(): readonly InterruptSource[] {
    const parts = [this.#line, ...this.#parts.values()];
    return parts.flatMap((part) => part.interrupts?.() ?? []);
  }

  get dma(): Dma {
    return this.#dma;
  }
  /**
   * Calls `hook` after every DMA write that reached memory of the system, messages excepted; returns
   * the unsubscribe.
   */
  onDmaWrite(hook: (address: bigint, length: number) => void): () => void {
    return this.#dma.onWrite(hook);
  }
  get #masterMemory(): AddressSpace | undefined {
    if (!this.#powered || this.activity.stopped || !this.commandEnabled.master) return undefined;
    return this.#bus?.root.systemMemory;
  }

  /** Brings BARs and interrupt line in step with command register, power and place. */
  #update(): void {
    const on = this.#powered && this.#power.isOn;
    const { io, memory } = this.commandEnabled;
    this.#bars.update({ io: on && io, memory: on && memory, spaces: this.#bus });
    this.#line.update();
    for (const part of this.#parts.values()) part.update?.();
  }

  /** Everything that reset clears: command, BARs, interrupt, capabilities. */
  reset(): void {
    this.setInterrupt(false);
    resetHeader(this.config);
    this.#bars.reset();
    this.#power.reset();
    for (const part of this.#parts.values()) part.reset?.();
    this.#update();
  }

  /** Resets the device that this function is part of. */
  resetDevice(type: ResetType): void {
    this.activity.reset();
    this.#resetDevice(type);
  }

  /** Unmaps everything and drops hooks and parts; the last call of `unrealize`. */
  close(): void {
    this.setInterrupt(false);
    for (const bar of [...this.bars]) this.#bars.unregister(bar.index);
    for (const name of [...this.#parts.keys()]) this.removePart(name);
    this.#readHooks.clear();
    this.#writeHooks.clear();
    this.#loadHooks.clear();
    this.#dma.close();
    this.#leaveActivity();
    this.activity.latch.clear();
  }

  save(): DeviceState {
    const parts: { [name: string]: StateValue } = {};
    for (const [name, part] of this.#parts) if (part.save) parts[name] = part.save();
    return {
      config: this.config.bytes.slice(),
      line: this.#line.level,
      powered: this.#powered,
      parts,
    };
  }

  /** @throws QmpError, with nothing changed, when the state is not of such a function */
  load(state: DeviceState): void {
    this.prepareLoad(state)();
  }
  /** Checks a saved state and returns what applies it. @throws QmpError when it does not fit */
  prepareLoad(state: DeviceState): () => void {
    const { size } = this.config;
    const place = `saved function of device type ${this.typeName}`;
    const { config, line, powered, parts } = savedFunction(size, this.#parts)(state, place);
    if (!this.config.fits(config))
      throw refused(`saved configuration space does not fit device type ${this.typeName}`);
    const apply = [...this.#parts].map(([name, one]) => one.prepareLoad?.(parts[name]));
    return () => {
      // What was latched was meant for the state that goes away.
      this.activity.latch.clear();
      this.config.bytes.set(config);
      this.#powered = powered;
      this.#power.load();
      for (const run of apply) run?.();
      this.#update();
      this.setInterrupt(line);
      for (const hook of this.#loadHooks) hook();
    };
  }

  /** PCI Express device/port type; undefined without that capability. */
  get portType(): number | undefined {
    return this.config.portType;
  }
}

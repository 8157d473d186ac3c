import type { Clock } from '../../devices/core/clock.js';
import type { DeviceContext, DeviceType, Log } from '../../devices/core/device.js';
import type { HostMemory } from '../../devices/core/host-memory.js';
import type { Properties } from '../../devices/core/property.js';
import type { CxlConfig } from '../../devices/cxl/host.js';
import { bytesFromInt, intFromBytes, MemoryRegion } from '../../devices/core/memory-region.js';
import { PciFunction, type PciDevice, type PciIdentity } from '../../devices/pci/function.js';
import type { PciBus } from '../../devices/pci/bus.js';
import {
  createPlatform,
  type MachineKind,
  type Platform,
} from '../../devices/platform/platform.js';
import { fakeContext } from './device-context.js';

export const silent: Log = {
  trace: () => undefined,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** A clock that moves when told. */
export class FakeClock implements Clock {
  #now = 0n;
  #timers: { deadline: bigint; fire: () => void }[] = [];
  now(): bigint {
    return this.#now;
  }
  at(deadline: bigint, fire: () => void): () => void {
    const timer = { deadline, fire };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }
  step(ns: bigint): void {
    this.#now += ns;
    const due = this.#timers.filter(({ deadline }) => deadline <= this.#now);
    this.#timers = this.#timers.filter(({ deadline }) => deadline > this.#now);
    for (const { fire } of due) fire();
  }
}

/** Plain bytes in place of a mapping. */
export const fakeMemory = (size: bigint): HostMemory => {
  const bytes = new Uint8Array(Number(size));
  return {
    size,
    readonly: false,
    descriptor: undefined,
    read: (offset, into) => {
      into.set(bytes.subarray(Number(offset), Number(offset) + into.length));
      return true;
    },
    write: (offset, from) => {
      bytes.set(from, Number(offset));
      return true;
    },
    readInt: (offset, width) =>
      intFromBytes(bytes.subarray(Number(offset), Number(offset) + width)),
    writeInt: (offset, width, value) => {
      bytesFromInt(value, bytes.subarray(Number(offset), Number(offset) + width));
    },
    onWrite: () => () => undefined,
  };
};

/** An endpoint with one memory BAR of 4 KiB and an interrupt pin. */
export class FakeEndpoint implements PciDevice {
  readonly pci: PciFunction;
  constructor(id: string, identity: Partial<PciIdentity> = {}) {
    this.pci = new PciFunction({
      typeName: 'edu',
      id,
      identity: {
        ...{ vendorId: 0x1234, deviceId: 0x11e8, revision: 0x10, classCode: 0x00ff },
        ...{ interruptPin: 1, express: false },
        ...identity,
      },
      log: silent,
      resetDevice: () => this.reset(),
    });
    this.pci.registerBar(
      0,
      MemoryRegion.mmio('edu', 0x1000n, { read: () => 0x10000edn, write: () => undefined }),
      { type: 'memory' },
    );
  }
  realize(): void {
    // Nothing to do.
  }
  unrealize(): void {
    this.pci.close();
  }
  reset(): void {
    this.pci.reset();
  }
  save() {
    return this.pci.save();
  }
  load(): void {
    // Never loaded here.
  }
}

export interface PlugOptions {
  readonly bus?: PciBus;
  readonly addr?: number;
  readonly multifunction?: boolean;
}

/** A machine as far as a platform needs one: plugs and removes devices in the machine's order. */
export class TestBoard {
  readonly clock = new FakeClock();
  readonly platform: Platform;
  /** Ids of devices that the guest let go of, in order. */
  readonly removed: string[] = [];
  readonly #devices = new Map<PciFunction, PciDevice>();
  #ready = false;

  constructor(
    kind: MachineKind,
    options: {
      defaults?: boolean;
      ramSize?: bigint;
      globals?: Record<string, string>;
      ram?: () => HostMemory;
      cxl?: CxlConfig;
    } = {},
  ) {
    const { defaults = false, ramSize = 0x10_0000n, globals = {} } = options;
    this.platform = createPlatform(kind, {
      ramSize,
      ram: options.ram ?? (() => fakeMemory(ramSize)),
      defaults,
      cxl: options.cxl,
      host: {
        remove: (fn) => this.remove(fn),
        clock: this.clock,
        log: silent,
        global: (driver, property) => globals[`${driver}.${property}`],
      },
    });
    for (const { device, devfn } of this.platform.board) {
      this.root.attach(device.pci, devfn);
      this.#devices.set(device.pci, device);
    }
  }

  get root(): PciBus {
    const host = this.platform.hosts[0];
    if (host === undefined) throw new Error('the machine has no PCI host');
    return host.bus;
  }

  context(id: string | undefined, typeName: string): DeviceContext {
    return fakeContext({
      id,
      path: `/machine/peripheral/${id ?? 'device[0]'}`,
      typeName,
      log: silent,
      clock: this.clock,
      platform: this.platform,
      emit: () => undefined,
    });
  }

  /** Creates a device of a type with some properties set and the others at their defaults. */
  create<P extends Properties>(
    type: DeviceType<P>,
    id: string | undefined,
    values: Record<string, unknown> = {},
  ): PciDevice {
    const defaults = Object.entries(type.properties).map(([name, { default: value }]) => [
      name,
      value,
    ]);
    const all = { ...Object.fromEntries(defaults), ...values };
    return type.create(this.context(id, type.name), all) as PciDevice;
  }

  plug<D extends PciDevice>(device: D, options: PlugOptions = {}): D {
    const { bus = this.root, addr = -1, multifunction = false } = options;
    const hotplugged = this.#ready;
    const fn = device.pci;
    bus.beforePlug?.(fn);
    bus.hotplug?.prePlug(fn, bus, hotplugged);
    fn.multifunction = multifunction;
    const devfn = bus.chooseAddress(fn, { addr, multifunction, hotplugged });
    bus.attach(fn, devfn, { hotplugged });
    try {
      void device.realize();
    } catch (error) {
      bus.detach(fn);
      throw error;
    }
    this.#devices.set(fn, device);
    if (device.secondaryBus) this.platform.adoptBus(device.secondaryBus, device, hotplugged);
    if (hotplugged) device.reset('cold');
    bus.hotplug?.plug(fn, hotplugged);
    return device;
  }

  deviceOf(fn: PciFunction): PciDevice {
    const device = this.#devices.get(fn);
    if (device === undefined) throw new Error('no such device');
    return device;
  }

  /** Ends cold-plug and resets, as a machine that has just started. */
  start(): this {
    this.platform.ready();
    this.#ready = true;
    this.reset();
    this.removed.length = 0;
    return this;
  }

  reset(): void {
    for (const root of this.platform.roots) root.reset('warm');
    this.platform.reset();
  }

  remove(fn: PciFunction): void {
    const device = this.#devices.get(fn);
    for (const child of [...(fn.secondaryBus?.functions ?? [])].reverse()) this.remove(child);
    if (device === undefined) return;
    this.#devices.delete(fn);
    void device.unrealize();
    fn.bus?.detach(fn);
    if (device.secondaryBus) this.platform.dropBus(device.secondaryBus);
    this.removed.push(fn.id ?? fn.typeName);
  }

  // What a guest does.

  inl(port: number): number {
    return Number(this.platform.io.read(BigInt(port), 4));
  }
  outl(port: number, value: number): void {
    this.platform.io.write(BigInt(port), 4, BigInt(value));
  }
  readl(address: number): number {
    return Number(this.platform.memory.read(BigInt(address), 4));
  }
  #select(bdf: number, register: number): void {
    this.outl(0xcf8, 0x8000_0000 + bdf * 0x100 + (register & 0xfc));
  }
  config(bdf: number, register: number, size: 1 | 2 | 4 = 4): number {
    this.#select(bdf, register);
    return Number(this.platform.io.read(BigInt(0xcfc + (register & 3)), size));
  }
  setConfig(bdf: number, register: number, value: number, size: 1 | 2 | 4 = 4): void {
    this.#select(bdf, register);
    this.platform.io.write(BigInt(0xcfc + (register & 3)), size, BigInt(value));
  }
}

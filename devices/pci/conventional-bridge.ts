import type { DeviceContext, DeviceState, ResetType } from '../core/device.js';
import { BridgeWindows } from './bridge-windows.js';
import { PciBus } from './bus.js';
import { PciFunction, type PciDevice } from './function.js';
import type { HotplugPort } from './hotplug.js';
import { BRIDGE, CONFIG } from './registers.js';
import { Shpc } from './shpc.js';

const RED_HAT = 0x1b36;
/** 66 MHz capable and fast back-to-back. PCI-to-PCI Bridge 1.2 §3.2.4.5. */
const STATUS_CAPABLE = 0x00a0;
/** BAR of the hot-plug controller. */
const SHPC_BAR = 0;

export interface ConventionalBridgeOptions {
  readonly typeName: string;
  readonly id: string | undefined;
  readonly deviceId: number;
  readonly express: boolean;
  /** Has a standard hot-plug controller. */
  readonly shpc: boolean;
}

/**
 * A bridge to a conventional PCI bus with 32 slots: what pci-bridge and pcie-pci-bridge share.
 *
 * @see PCI-to-PCI Bridge Architecture 1.2
 */
export class ConventionalBridge implements PciDevice {
  readonly pci: PciFunction;
  readonly secondaryBus: PciBus;
  readonly slots: HotplugPort;
  readonly #windows: BridgeWindows;
  readonly #shpc: Shpc | undefined;

  constructor(context: DeviceContext, options: ConventionalBridgeOptions) {
    const { typeName, id, deviceId, express } = options;
    this.pci = new PciFunction({
      typeName,
      id,
      identity: {
        ...{ vendorId: RED_HAT, deviceId, revision: 0, classCode: 0x0604, header: 'bridge' },
        ...{ interruptPin: options.shpc ? 1 : 0, express },
      },
      log: context.log,
      activity: context.activity,
      resetDevice: (type) => this.reset(type),
    });
    const { config } = this.pci;
    config.set(CONFIG.STATUS, 2, STATUS_CAPABLE);
    this.#windows = new BridgeWindows(this.pci, { express: false });
    this.secondaryBus = new PciBus({
      name: id ?? context.platform?.nextBusName('pci') ?? 'pci.0',
      typeName: 'PCI',
      express: false,
      memory: this.#windows.memory,
      io: this.#windows.io,
      bridge: this.pci,
    });
    this.#resetWindows();
    this.#shpc = options.shpc ? this.#createShpc(context) : undefined;
    this.secondaryBus.hotplug = this.#shpc;
    this.slots = { hotplug: true, controller: this.#shpc, powerOn: () => undefined };
  }

  #createShpc(context: DeviceContext): Shpc {
    const shpc = new Shpc({
      bridge: this.pci,
      bus: this.secondaryBus,
      remove: (fn) => context.platform?.remove(fn),
    });
    this.pci.registerBar(SHPC_BAR, shpc.region, { type: 'memory', bits64: true });
    return shpc;
  }

  /** Unlike an express port, base and limit start at 0. */
  #resetWindows(): void {
    const { config } = this.pci;
    config.set(BRIDGE.IO_BASE, 2, 0);
    config.set(BRIDGE.SECONDARY_STATUS, 2, STATUS_CAPABLE);
    config.set(BRIDGE.MEMORY_BASE, 4, 0);
    config.set(BRIDGE.PREFETCH_BASE, 4, 0x0001_0001);
    this.#windows.update();
  }

  realize(): void | Promise<void> {
    // Complete since construction.
  }
  unrealize(): void {
    this.pci.close();
  }
  reset(_type: ResetType): void {
    this.pci.reset();
    this.#resetWindows();
    this.#shpc?.reset();
  }
  save(): DeviceState {
    return this.pci.save();
  }
  load(state: DeviceState): void {
    this.pci.load(state);
  }
}

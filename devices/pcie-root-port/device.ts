import type { DeviceContext, DeviceState, ResetType } from '../core/device.js';
import type { PropertyValues } from '../core/property.js';
import { BridgeWindows } from '../pci/bridge-windows.js';
import { PciBus } from '../pci/bus.js';
import { addAcs, addAer, addPcieCapability, addSsvid } from '../pci/capabilities.js';
import { ERROR_RECEIVER } from '../pci/error-message.js';
import { PciFunction, type PciDevice } from '../pci/function.js';
import { linkOf } from '../pci/link.js';
import { MsiX } from '../pci/msix.js';
import { PcieSlot } from '../pci/pcie-slot.js';
import { PORT_TYPE } from '../pci/registers.js';
import { addReserve } from '../pci/reserve.js';
import type { rootPortProperties } from './properties.js';

/** Offsets in configuration space; reference/pci-and-memory-devices.md §1.8. */
const LAYOUT = { SSVID: 0x40, MSIX: 0x48, EXPRESS: 0x54, AER: 0x100, ACS: 0x148 } as const;
const RED_HAT = 0x1b36;

/** A PCI Express root port with one slot behind it. PCIe 5.0 §1.3.1. */
export class PcieRootPort implements PciDevice {
  readonly pci: PciFunction;
  readonly secondaryBus: PciBus;
  readonly slots: PcieSlot;
  readonly #properties: PropertyValues<typeof rootPortProperties>;
  readonly #context: DeviceContext;
  readonly #msix: MsiX;
  #releaseSlot: (() => void) | undefined;

  constructor(context: DeviceContext, properties: PropertyValues<typeof rootPortProperties>) {
    this.#context = context;
    this.#properties = properties;
    this.pci = new PciFunction({
      typeName: context.typeName,
      id: context.id,
      identity: {
        ...{ vendorId: RED_HAT, deviceId: 0x000c, revision: 0, classCode: 0x0604 },
        ...{ interruptPin: 1, express: true, header: 'bridge' },
      },
      log: context.log,
      activity: context.activity,
      resetDevice: (type) => this.reset(type),
    });
    const windows = new BridgeWindows(this.pci, { express: true });
    this.secondaryBus = new PciBus({
      name: context.id ?? context.platform?.nextBusName('pcie') ?? 'pcie.0',
      typeName: 'PCIE',
      express: true,
      memory: windows.memory,
      io: windows.io,
      bridge: this.pci,
    });
    addSsvid(this.pci, RED_HAT, 0, LAYOUT.SSVID);
    this.#msix = new MsiX(this.pci, { vectors: 1, bar: 0, at: LAYOUT.MSIX });
    this.pci.offers.set(ERROR_RECEIVER, {
      interrupt: () => {
        if (this.#msix.enabled) this.#msix.notify(0);
      },
    });
    this.#addExpress();
    this.slots = this.#createSlot();
    this.secondaryBus.hotplug = this.slots;
  }

  #addExpress(): void {
    const properties = this.#properties;
    addPcieCapability(this.pci, {
      type: PORT_TYPE.ROOT_PORT,
      at: LAYOUT.EXPRESS,
      port: properties.port,
      slot: {
        number: properties.slot % 0x2000,
        hotplug: properties.hotplug,
        powerController: properties.power_controller_present,
      },
      link: linkOf(properties),
    });
    addAer(this.pci, { at: LAYOUT.AER });
    if (!properties['disable-acs']) addAcs(this.pci, { at: LAYOUT.ACS });
  }

  #createSlot(): PcieSlot {
    const { hotplug, power_controller_present: powerController } = this.#properties;
    const { platform } = this.#context;
    return new PcieSlot({
      port: this.pci,
      capability: LAYOUT.EXPRESS,
      bus: this.secondaryBus,
      id: this.pci.id ?? '',
      clock: this.#context.clock,
      hotplug,
      powerController,
      remove: (fn) => platform?.remove(fn),
      interrupt: (level) => this.#interrupt(level),
    });
  }

  /** One vector for everything that the port tells. */
  #interrupt(level: boolean): void {
    if (!this.#msix.enabled) this.pci.setInterrupt(level);
    else if (level) this.#msix.notify(0);
  }

  realize(): void {
    addReserve(this.pci, this.#properties);
    const { chassis, slot } = this.#properties;
    this.#releaseSlot = this.#context.platform?.claimChassisSlot(chassis, slot);
  }
  unrealize(): void {
    this.#releaseSlot?.();
    this.pci.close();
  }
  reset(_type: ResetType): void {
    this.pci.reset();
    this.slots.reset();
  }
  save(): DeviceState {
    return this.pci.save();
  }
  load(state: DeviceState): void {
    this.pci.load(state);
  }
}

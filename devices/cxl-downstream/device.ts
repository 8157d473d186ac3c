import type { DeviceContext, DeviceState, ResetType } from '../core/device.js';
import type { PropertyValues } from '../core/property.js';
import {
  addFlexBusDvsec,
  addGpfPortDvsec,
  addPortExtensionsDvsec,
  addRegisterLocator,
} from '../cxl/dvsecs.js';
import { PortFunction } from '../cxl/port-function.js';
import { CXL_PORT } from '../cxl/ports.js';
import type { PciBus } from '../pci/bus.js';
import { addAer } from '../pci/capabilities.js';
import type { PciDevice, PciFunction } from '../pci/function.js';
import { linkOf } from '../pci/link.js';
import type { PcieSlot } from '../pci/pcie-slot.js';
import { PORT_TYPE } from '../pci/registers.js';
import type { cxlDownstreamProperties } from './properties.js';

/** Offsets in configuration space; reference/cxl.md §2.2. */
const LAYOUT = { MSI: 0x70, EXPRESS: 0x90, AER: 0x100 } as const;
const HUAWEI = 0x19e5;
const FLEX_BUS = { capability: 0x27, control: 0x02, status: 0x26, writable: 0xfd } as const;

/** A downstream port of a CXL switch, with one slot behind it. */
export class CxlDownstream implements PciDevice {
  readonly pci: PciFunction;
  readonly secondaryBus: PciBus;
  readonly slots: PcieSlot;
  readonly #properties: PropertyValues<typeof cxlDownstreamProperties>;
  readonly #context: DeviceContext;
  #releaseSlot: (() => void) | undefined;

  constructor(context: DeviceContext, properties: PropertyValues<typeof cxlDownstreamProperties>) {
    this.#context = context;
    this.#properties = properties;
    const port = new PortFunction(context, {
      kind: 'downstream',
      identity: { vendorId: HUAWEI, deviceId: 0xa129 },
      bus: { typeName: 'PCIE', prefix: 'pcie' },
      windowsStartOpen: true,
      resetDevice: (type) => this.reset(type),
    });
    this.pci = port.pci;
    this.secondaryBus = port.bus;
    port.addMsi({ at: LAYOUT.MSI, vectors: 1, bits64: true });
    // Unlike QEMU's, the slot can be switched off: otherwise nothing below could be removed.
    const slot = {
      number: properties.slot % 0x2000,
      hotplug: properties.hotplug,
      powerController: true,
    };
    port.addExpress({
      type: PORT_TYPE.DOWNSTREAM,
      functionReset: true,
      at: LAYOUT.EXPRESS,
      port: properties.port,
      link: linkOf(properties),
      slot,
      hideHotplug: properties['x-do-not-expose-native-hotplug-cap'],
    });
    addAer(this.pci, { at: LAYOUT.AER });
    addPortExtensionsDvsec(this.pci);
    addFlexBusDvsec(this.pci, FLEX_BUS);
    addGpfPortDvsec(this.pci);
    addRegisterLocator(this.pci, [{ bar: 0, kind: 'component' }]);
    this.slots = port.addSlot(slot);
    const { port: number } = properties;
    this.pci.offers.set(CXL_PORT, { pci: this.pci, number, bus: this.secondaryBus });
  }

  realize(): void {
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

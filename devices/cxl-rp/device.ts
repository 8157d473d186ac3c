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
import { addAcs, addAer, addSsvid } from '../pci/capabilities.js';
import type { PciDevice, PciFunction } from '../pci/function.js';
import { linkOf } from '../pci/link.js';
import type { PcieSlot } from '../pci/pcie-slot.js';
import { PORT_TYPE } from '../pci/registers.js';
import { addReserve } from '../pci/reserve.js';
import type { cxlRootPortProperties } from './properties.js';

/** Offsets in configuration space; reference/cxl.md §2.2. */
const LAYOUT = {
  ...{ SSVID: 0x40, MSI: 0x60, EXPRESS: 0x74 },
  ...{ AER: 0x100, ACS: 0x148, DVSECS: 0x150 },
} as const;
const INTEL = 0x8086;
/** Of two; the other one tells of the slot. */
const ERROR_VECTOR = 1;
/** Protocols of the link: memory and I/O enabled, multi-logical devices not. */
const FLEX_BUS = { capability: 0x26, control: 0x02, status: 0x26, writable: 0xbd } as const;

/** A CXL root port with one slot behind it. */
export class CxlRootPort implements PciDevice {
  readonly pci: PciFunction;
  readonly secondaryBus: PciBus;
  readonly slots: PcieSlot;
  readonly #properties: PropertyValues<typeof cxlRootPortProperties>;
  readonly #context: DeviceContext;
  #releaseSlot: (() => void) | undefined;

  constructor(context: DeviceContext, properties: PropertyValues<typeof cxlRootPortProperties>) {
    this.#context = context;
    this.#properties = properties;
    const port = new PortFunction(context, {
      kind: 'root-port',
      identity: { vendorId: INTEL, deviceId: 0x7075, interruptPin: 1 },
      bus: { typeName: 'CXL', prefix: 'cxl' },
      windowsStartOpen: false,
      resetDevice: (type) => this.reset(type),
    });
    this.pci = port.pci;
    this.secondaryBus = port.bus;
    addSsvid(this.pci, INTEL, 0, LAYOUT.SSVID);
    port.addMsi({ at: LAYOUT.MSI, vectors: 2, bits64: false });
    port.receiveErrors(ERROR_VECTOR);
    const slot = {
      number: properties.slot % 0x2000,
      hotplug: properties.hotplug,
      powerController: properties.power_controller_present,
    };
    port.addExpress({
      type: PORT_TYPE.ROOT_PORT,
      at: LAYOUT.EXPRESS,
      port: properties.port,
      link: linkOf(properties),
      slot,
      hideHotplug: properties['x-do-not-expose-native-hotplug-cap'],
    });
    this.#addExtended();
    this.slots = port.addSlot(slot);
    const { port: number } = properties;
    this.pci.offers.set(CXL_PORT, { pci: this.pci, number, bus: this.secondaryBus });
  }

  #addExtended(): void {
    addAer(this.pci, { at: LAYOUT.AER });
    if (!this.#properties['disable-acs']) addAcs(this.pci, { at: LAYOUT.ACS });
    addPortExtensionsDvsec(this.pci, { at: LAYOUT.DVSECS });
    addGpfPortDvsec(this.pci);
    addFlexBusDvsec(this.pci, FLEX_BUS);
    addRegisterLocator(this.pci, [{ bar: 0, kind: 'component' }]);
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

import type { DeviceContext, DeviceState, ResetType } from '../core/device.js';
import type { PropertyValues } from '../core/property.js';
import { readCdatFile, switchCdat, type Cdat } from '../cxl/cdat.js';
import { Doe } from '../cxl/doe.js';
import { addFlexBusDvsec, addPortExtensionsDvsec, addRegisterLocator } from '../cxl/dvsecs.js';
import { PortFunction } from '../cxl/port-function.js';
import { CXL_SWITCH, portsOn } from '../cxl/ports.js';
import type { PciBus } from '../pci/bus.js';
import { addAer, addSerialNumber } from '../pci/capabilities.js';
import type { PciDevice, PciFunction } from '../pci/function.js';
import { linkOf } from '../pci/link.js';
import { PORT_TYPE } from '../pci/registers.js';
import { NO_SERIAL_NUMBER, type cxlUpstreamProperties } from './properties.js';

/** Offsets in configuration space; reference/cxl.md §2.2. */
const LAYOUT = { MSI: 0x70, EXPRESS: 0x90, AER: 0x100, DVSECS: 0x154 } as const;
const HUAWEI = 0x19e5;
/** Port status: power management is initialised. */
const INITIALISED = 1;
const FLEX_BUS = { capability: 0x27, control: 0x27, status: 0x26 } as const;
const DOE_VECTOR = 1;

/** The upstream port of a CXL switch; the downstream ports are on the bus behind it. */
export class CxlUpstream implements PciDevice {
  readonly pci: PciFunction;
  readonly secondaryBus: PciBus;
  readonly #properties: PropertyValues<typeof cxlUpstreamProperties>;
  readonly #context: DeviceContext;
  /** From a file; undefined: by the ports that are there. */
  #cdat: Cdat | undefined;

  constructor(context: DeviceContext, properties: PropertyValues<typeof cxlUpstreamProperties>) {
    this.#context = context;
    this.#properties = properties;
    const port = new PortFunction(context, {
      kind: 'upstream',
      identity: { vendorId: HUAWEI, deviceId: 0xa128 },
      bus: { typeName: 'PCIE', prefix: 'pcie' },
      windowsStartOpen: true,
      resetDevice: (type) => this.reset(type),
    });
    this.pci = port.pci;
    this.secondaryBus = port.bus;
    port.addMsi({ at: LAYOUT.MSI, vectors: 2, bits64: true });
    port.addExpress({
      type: PORT_TYPE.UPSTREAM,
      functionReset: true,
      at: LAYOUT.EXPRESS,
      port: properties.port,
      link: linkOf(properties),
    });
    addAer(this.pci, { at: LAYOUT.AER });
    if (properties.sn !== NO_SERIAL_NUMBER) addSerialNumber(this.pci, properties.sn);
    addPortExtensionsDvsec(this.pci, { status: INITIALISED, at: LAYOUT.DVSECS });
    addFlexBusDvsec(this.pci, FLEX_BUS);
    addRegisterLocator(this.pci, [{ bar: 0, kind: 'component' }]);
    new Doe(this.pci, {
      vector: DOE_VECTOR,
      interrupt: (vector) => port.interrupt(true, vector),
      cdat: () => this.#cdat ?? switchCdat(portsOn(this.secondaryBus).map(({ number }) => number)),
    });
    this.pci.offers.set(CXL_SWITCH, {
      pci: this.pci,
      component: port.component,
      bus: this.secondaryBus,
    });
  }

  realize(): void {
    const { hostMemory, log } = this.#context;
    const { cdat } = this.#properties;
    if (cdat !== undefined) this.#cdat = readCdatFile(cdat, hostMemory, log);
  }
  unrealize(): void {
    this.pci.close();
  }
  reset(_type: ResetType): void {
    this.pci.reset();
  }
  save(): DeviceState {
    return this.pci.save();
  }
  load(state: DeviceState): void {
    this.pci.load(state);
  }
}

import { randomFillSync } from 'node:crypto';
import type { Device, DeviceContext, DeviceState, ResetType } from '../core/device.js';
import { fields, map, part } from '../core/saved-state.js';
import type { Handover } from '../core/handover.js';
import { addAer, addPcieCapability, addSerialNumber } from '../pci/capabilities.js';
import { reportError } from '../pci/error-message.js';
import { PciFunction } from '../pci/function.js';
import type { PciDevice, PciIdentity } from '../pci/function.js';
import { linkOf } from '../pci/link.js';
import { MsiX } from '../pci/msix.js';
import { Offer } from '../pci/offers.js';
import { PORT_TYPE } from '../pci/registers.js';
import type { Dpa } from './addresses.js';
import type { CapacityOwnership } from './capacity-ownership.js';
import { memoryCdat, readCdatFile, type Cdat, type MemoryArea } from './cdat.js';
import type { CciCommand } from './cci.js';
import { FM_OWNED_LD } from './commands/tunnel.js';
import { ComponentRegisters } from './component-registers.js';
import { DeviceRegisters } from './device-registers.js';
import { Doe } from './doe.js';
import {
  addDeviceDvsec,
  addFlexBusDvsec,
  addGpfDeviceDvsec,
  addRegisterLocator,
} from './dvsecs.js';
import type { CapacityReports } from './dynamic-capacity.js';
import { MAILBOX_VECTOR } from './mailbox.js';
import type { Media } from './media.js';
import { CXL_MEMORY_TARGET, type CxlMemoryTarget, type MemoryFault } from './memory-target.js';
import type { UncorrectableError } from './ras.js';
import { Type3Backends } from './type3-backends.js';
import { NO_SERIAL, type Type3Properties } from './type3-properties.js';
import { Type3State } from './type3-state.js';
import { capacityReports } from './capacity-reports.js';

/** reference/cxl.md §1.4 */
const IDENTITY = {
  ...{ vendorId: 0x8086, deviceId: 0x0d93, revision: 1, classCode: 0x0502, progIf: 0x10 },
  ...{ subsystemVendorId: 0x1af4, subsystemId: 0x1100, express: true },
} as const satisfies PciIdentity;

/** Offsets in configuration space. §2.1; with a serial number what follows it moves up. */
const LAYOUT = { MSIX: 0x40, EXPRESS: 0x80, SERIAL: 0x100, DOE: 0x190, AER: 0x200 } as const;
/** Behind the flex bus DVSEC where that has moved up. */
const DOE_WITH_SERIAL = 0x1a0;
/** Bits of internal errors in the AER status registers. PCIe 6.0 §7.8.4.2, §7.8.4.5 */
const UNCORRECTABLE_INTERNAL = 22;
const CORRECTABLE_INTERNAL = 14;
const VECTORS = 8;
const DOE_VECTOR = 0;
const BAR = { COMPONENT: 0, DEVICE: 2, MSIX: 4 } as const;
const FLEX_BUS = { capability: 0x26, control: 0x02, status: 0x26 } as const;

/** What a device type adds to a type 3 device. */
export interface Type3Extension {
  /** Whether dynamic capacity in a shared file belongs to others as well. Default false. */
  readonly sharesDynamic?: boolean;
  /** Who shares its dynamic capacity; called once, when the backends are taken. @throws QmpError */
  ownership(media: Media): CapacityOwnership;
  /** The last step of realize. @throws QmpError */
  realized?(state: Type3State): void;
  readonly hostCommands?: readonly CciCommand[];
  readonly fabricCommands?: readonly CciCommand[];
  /** How its capacity migrates with it. */
  readonly handover?: Handover;
  /** A migration of the capacity that is under way ends: the device is reset, or goes away. */
  endHandover?(): void;
  /** The device goes away, its capacity given back. */
  close?(): void;
}

/** What management needs of a memory device, found by what it offers. */
export interface CxlMemoryDevice extends Device {
  readonly pci: PciFunction;
  readonly component: ComponentRegisters;
  /** @throws Error before realize */
  readonly state: Type3State;
  /** Records uncorrectable errors of the link that are not masked, and reports them by AER. */
  injectUncorrectable(errors: readonly UncorrectableError[]): void;
  /** @param bit of the correctable error status */
  injectCorrectable(bit: number): void;
}
export const CXL_MEMORY_DEVICE = new Offer<CxlMemoryDevice>('CXL memory device');

/** The device as a CXL memory device that can be managed, when it is one. */
export const asCxlMemoryDevice = (device: object): CxlMemoryDevice | undefined => {
  const pci: unknown = Reflect.get(device, 'pci');
  return pci instanceof PciFunction ? pci.offers.get(CXL_MEMORY_DEVICE) : undefined;
};

/**
 * A CXL type 3 device: memory behind a PCI function, with static and dynamic capacity.
 *
 * @see reference/cxl.md §1 to §8
 */
export class Type3 implements PciDevice, CxlMemoryTarget, CxlMemoryDevice {
  readonly pci: PciFunction;
  readonly component = new ComponentRegisters({ kind: 'endpoint' });
  readonly #context: DeviceContext;
  readonly #properties: Type3Properties;
  readonly #extension: Type3Extension;
  readonly #reports: CapacityReports;
  #backends: Type3Backends | undefined;
  #state: Type3State | undefined;
  #registers: DeviceRegisters | undefined;
  #msix: MsiX | undefined;

  constructor(context: DeviceContext, properties: Type3Properties, extension: Type3Extension) {
    this.#context = context;
    this.#properties = properties;
    this.#extension = extension;
    this.#reports = capacityReports(context, () => this.#state?.manager?.capacity.regions ?? []);
    this.pci = new PciFunction({
      typeName: context.typeName,
      id: context.id,
      identity: IDENTITY,
      log: context.log,
      activity: context.activity,
      resetDevice: (type) => this.reset(type),
    });
    this.pci.offers.set(CXL_MEMORY_TARGET, this);
    this.pci.offers.set(CXL_MEMORY_DEVICE, this);
  }

  /** @throws QmpError with the texts of reference/cxl.md §1.6 in their order */
  realize(): void {
    const { path, memories } = this.#context;
    const sharesDynamic = this.#extension.sharesDynamic === true;
    this.#backends = new Type3Backends({ path, memories, sharesDynamic }, this.#properties);
    try {
      const cdat = this.#readCdat();
      const state = this.#createState(this.#backends);
      this.#state = state;
      this.#addCapabilities(state, cdat);
      this.#registerBars(state);
      this.pci.offers.set(FM_OWNED_LD, state.fabric);
      this.#extension.realized?.(state);
    } catch (error) {
      this.unrealize();
      throw error;
    }
  }

  unrealize(): void {
    this.pci.close();
    this.#extension.endHandover?.();
    this.#state?.close();
    this.#extension.close?.();
    this.#backends?.release();
    this.#state = undefined;
    this.#registers = undefined;
    this.#msix = undefined;
    this.#backends = undefined;
  }

  /** What the host accepted stays; what it was offered is dropped. */
  reset(_type: ResetType): void {
    this.#extension.endHandover?.();
    this.pci.reset();
    this.component.reset();
    this.#registers?.reset();
    this.#state?.reset();
  }

  get handover(): Handover | undefined {
    return this.#extension.handover;
  }

  get state(): Type3State {
    if (this.#state === undefined) throw new Error('memory device that is not realized');
    return this.#state;
  }

  #createState({ media, labels }: Type3Backends): Type3State {
    const { hostCommands = [], fabricCommands = [] } = this.#extension;
    return new Type3State({
      clock: this.#context.clock,
      stopped: () => this.#context.activity.stopped,
      media,
      labels,
      regionCount: this.#properties['num-dc-regions'],
      ownership: this.#extension.ownership(media),
      reports: this.#reports,
      identity: () => ({ ...IDENTITY, serial: this.#properties.sn, type: 'type3' }),
      wakeDriver: () => this.#context.wakeDriver(),
      notify: (vector) => this.#notify(vector),
      backgroundFinished: () => {
        if (this.#registers?.mailbox.backgroundInterrupt === true) this.#notify(MAILBOX_VECTOR);
      },
      extraCommands: { host: hostCommands, fabric: fabricCommands },
    });
  }

  #notify(vector: number): void {
    if (this.#msix?.enabled === true) this.#msix.notify(vector);
  }

  // PCI.

  #addCapabilities({ media }: Type3State, cdat: Cdat | undefined): void {
    const { sn } = this.#properties;
    const { pci } = this;
    this.#msix = new MsiX(pci, { vectors: VECTORS, bar: BAR.MSIX, at: LAYOUT.MSIX });
    addPcieCapability(pci, {
      type: PORT_TYPE.ENDPOINT,
      at: LAYOUT.EXPRESS,
      link: linkOf(this.#properties),
    });
    const hasSerial = sn !== NO_SERIAL;
    if (hasSerial) addSerialNumber(pci, sn, LAYOUT.SERIAL);
    addDeviceDvsec(pci, rangesOf(media));
    addRegisterLocator(pci, [
      { bar: BAR.COMPONENT, kind: 'component' },
      { bar: BAR.DEVICE, kind: 'device' },
    ]);
    addGpfDeviceDvsec(pci);
    addFlexBusDvsec(pci, FLEX_BUS);
    new Doe(pci, {
      at: hasSerial ? DOE_WITH_SERIAL : LAYOUT.DOE,
      vector: DOE_VECTOR,
      interrupt: (vector) => this.#notify(vector),
      cdat: () => cdat ?? memoryCdat(this.#areas),
    });
    addAer(pci, { at: LAYOUT.AER });
  }

  #readCdat(): Cdat | undefined {
    const { cdat } = this.#properties;
    const { hostMemory, log } = this.#context;
    return cdat === undefined ? undefined : readCdatFile(cdat, hostMemory, log);
  }

  /** What the built-in CDAT describes. */
  get #areas(): MemoryArea[] {
    const { media, manager } = this.state;
    const areas: Omit<MemoryArea, 'handle'>[] = [];
    const kind = { nonVolatile: false, dynamic: false };
    if (media.volatileSize > 0n) areas.push({ ...kind, base: 0n, size: media.volatileSize });
    if (media.persistentSize > 0n)
      areas.push({
        ...kind,
        nonVolatile: true,
        base: media.volatileSize,
        size: media.persistentSize,
      });
    for (const { base, len } of manager?.capacity.regions ?? [])
      areas.push({ ...kind, dynamic: true, base, size: len });
    return areas.map((area, handle) => ({ ...area, handle }));
  }

  #registerBars(state: Type3State): void {
    this.#registers = new DeviceRegisters({
      name: `${this.#context.typeName}-device-registers`,
      cci: state.host,
      eventStatus: () => state.logs.status,
      memoryStatus: () => state.memoryStatus,
    });
    const memory = { type: 'memory', bits64: true } as const;
    this.pci.registerBar(BAR.COMPONENT, this.component.region, memory);
    this.pci.registerBar(BAR.DEVICE, this.#registers.region, memory);
  }

  // Memory.

  readDpa(address: Dpa, into: Uint8Array): MemoryFault | undefined {
    const { media, manager, mediaDisabled, poison } = this.state;
    const range = { base: address, len: BigInt(into.length) };
    if (mediaDisabled) {
      randomFillSync(into);
      return 'media-disabled';
    }
    const fault = media.fault(range, manager?.capacity);
    if (fault !== undefined) return fault;
    if (poison.touches(range)) return 'poison';
    media.read(address, into);
    return undefined;
  }

  writeDpa(address: Dpa, from: Uint8Array): MemoryFault | undefined {
    const { media, manager, mediaDisabled } = this.state;
    if (mediaDisabled) return 'media-disabled';
    const range = { base: address, len: BigInt(from.length) };
    const fault = media.fault(range, manager?.capacity);
    if (fault === undefined) media.write(address, from);
    return fault;
  }

  // Errors of the link.

  injectUncorrectable(errors: readonly UncorrectableError[]): void {
    if (this.component.ras?.injectUncorrectable(errors) !== undefined)
      reportError(this.pci, { kind: 'uncorrectable', bit: UNCORRECTABLE_INTERNAL });
  }
  injectCorrectable(bit: number): void {
    if (this.component.ras?.injectCorrectable(bit) === true)
      reportError(this.pci, { kind: 'correctable', bit: CORRECTABLE_INTERNAL });
  }
  // Saved state.

  save(): DeviceState {
    return {
      pci: this.pci.save(),
      component: this.component.save(),
      registers: this.#registers?.save() ?? {},
      state: this.state.save(),
    };
  }

  load(saved: DeviceState): void {
    const place = `saved ${this.#context.typeName}`;
    const { pci, component, registers, state } = savedType3(saved, place);
    const apply = [
      this.pci.prepareLoad(pci),
      this.component.prepareLoad(component),
      this.#registers?.prepareLoad(registers),
      // Last: it takes the blocks that the saved device had.
      this.state.prepareLoad(state),
    ];
    for (const run of apply) run?.();
  }
}

const savedType3 = fields({ pci: map, component: part, registers: part, state: part });

/** Static capacity as the device DVSEC announces it. */
const rangesOf = ({ volatileSize, persistentSize }: Media) => ({
  first: volatileSize > 0n ? volatileSize : persistentSize,
  second: volatileSize > 0n && persistentSize > 0n ? persistentSize : undefined,
});

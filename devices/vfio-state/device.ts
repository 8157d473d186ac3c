import { refused } from '../../schema/error.js';
import type { DeviceContext, DeviceState, ResetType } from '../core/device.js';
import { MemoryRegion } from '../core/memory-region.js';
import type { PropertyValues } from '../core/property.js';
import { PciFunction } from '../pci/function.js';
import type { PciDevice } from '../pci/function.js';
import { StateError } from '../state/errno.js';
import type { StateControl } from '../state/control.js';
import {
  checkLength,
  type DataRegion,
  type RegionLengths,
  type StateRegions,
} from '../state/regions.js';
import { ControlBar } from './control-bar.js';
import type { VfioStateProperties } from './properties.js';
import { CONFIG_BAR, CONTROL_BAR, DATA_BAR, VFIO_STATE_IDENTITY } from './registers.js';

/**
 * The device state of another device, in BARs: the control structure, and the three regions of data.
 *
 * @see reference/vfio-device-state.md §1, §2
 */
export class VfioState implements PciDevice {
  readonly pci: PciFunction;
  readonly #context: DeviceContext;
  readonly #properties: PropertyValues<typeof VfioStateProperties>;
  readonly #bar: ControlBar;
  #control: StateControl | undefined;
  #regions: StateRegions | undefined;

  constructor(context: DeviceContext, properties: PropertyValues<typeof VfioStateProperties>) {
    this.#context = context;
    this.#properties = properties;
    this.#bar = new ControlBar(() => this.#shown, context.activity);
    this.pci = new PciFunction({
      typeName: context.typeName,
      id: context.id,
      identity: VFIO_STATE_IDENTITY,
      log: context.log,
      activity: context.activity,
      resetDevice: (type) => this.reset(type),
    });
  }

  /** @throws QmpError without a target, or when it has regions already */
  realize(): void {
    const lengths = this.#lengths();
    const { target } = this.#properties;
    if (target === undefined)
      throw refused("vfio-state needs 'target', the id or path of another device");
    this.#control = this.#context.stateTarget(target);
    this.#regions = this.#control.attachRegions(lengths);
    const { config, memory, bitmap } = lengths;
    this.pci.registerBar(CONTROL_BAR, this.#bar.region, { type: 'memory' });
    const wide = { type: 'memory', bits64: true, prefetch: true } as const;
    this.pci.registerBar(CONFIG_BAR, this.#dataRegion('config', config), wide);
    const data = MemoryRegion.container('vfio-state-data', BigInt(2 * Math.max(memory, bitmap)));
    data.add(this.#dataRegion('memory', memory), 0n);
    data.add(this.#dataRegion('bitmap', bitmap), BigInt(memory));
    this.pci.registerBar(DATA_BAR, data, wide);
  }
  unrealize(): void {
    this.pci.close();
    this.#control?.detachRegions();
    this.#control = undefined;
    this.#regions = undefined;
  }
  /** Its registers; the device that it shows is not reset. */
  reset(_type: ResetType): void {
    this.pci.reset();
    this.#bar.reset();
  }

  save(): DeviceState {
    return { pci: this.pci.save(), control: this.#bar.save(), regions: this.#shown.save() };
  }
  load({ pci, control, regions }: DeviceState): void {
    if (typeof pci !== 'object')
      throw refused('saved function does not fit device type vfio-state');
    const apply = [
      this.pci.prepareLoad(pci as DeviceState),
      this.#bar.prepareLoad(control),
      this.#shown.prepareLoad(regions),
    ];
    for (const run of apply) run();
  }

  get #shown(): StateRegions {
    if (this.#regions === undefined) throw new Error('vfio-state is not realized');
    return this.#regions;
  }
  #lengths(): RegionLengths {
    const lengths = {
      config: this.#properties['config-length'],
      memory: this.#properties['memory-length'],
      bitmap: this.#properties['bitmap-length'],
    };
    for (const [region, length] of Object.entries(lengths)) checkLength(`${region}-length`, length);
    return lengths;
  }
  /** What the device has no region for reads 0. */
  #dataRegion(region: DataRegion, length: number): MemoryRegion {
    return MemoryRegion.routed(`vfio-state-${region}`, BigInt(length), {
      read: (offset, into) => {
        const bytes = ifThere(() => this.#shown.read(region, Number(offset), into.length));
        if (bytes === undefined) into.fill(0);
        else into.set(bytes);
      },
      write: (offset, from) => void ifThere(() => this.#shown.write(region, Number(offset), from)),
    });
  }
}

const ifThere = <T>(access: () => T): T | undefined => {
  try {
    return access();
  } catch (error) {
    if (error instanceof StateError) return undefined;
    throw error;
  }
};

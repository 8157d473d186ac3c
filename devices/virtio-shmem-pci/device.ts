import { refused } from '../../schema/error.js';
import type { DeviceContext, DeviceState, ResetType } from '../core/device.js';
import type { MemdevBackend } from '../core/memdev.js';
import type { PropertyValues } from '../core/property.js';
import { fields, integer, map, part } from '../core/saved-state.js';
import { PciFunction } from '../pci/function.js';
import type { PciDevice } from '../pci/function.js';
import { MsiX } from '../pci/msix.js';
import { addRegionPointer } from '../virtio/capabilities.js';
import { registerRegisterBar } from '../virtio/register-bar.js';
import { FEATURE, MODERN_DEVICE_ID, VIRTIO_IDENTITY } from '../virtio/registers.js';
import { Transport } from '../virtio/transport.js';
import { LegacyRegisters } from './legacy.js';
import { REGION_NUMBERS } from './properties.js';
import type { VirtioShmemPciProperties } from './properties.js';
import { deviceConfig, memoryBar, placeRegions } from './regions.js';
import type { SharedRegion } from './regions.js';
import { BAR, LAST_VIRTIO_ID, LEGACY_REGIONS } from './registers.js';

/**
 * Room of the capability list for regions: 192 bytes, less 88 for the other pointers and 12 for
 * MSI-X, at 24 each.
 */
const LISTED = { withMsix: 3, without: 4 } as const;

/** As the property says. */
const memoryName = (region: number): string => `memdev${String(region)}`;

/**
 * A virtio device that is nothing but shared memory: no queues, up to 16 regions in one BAR.
 *
 * @see reference/pci-and-memory-devices.md §9.6, §9.8
 */
export class VirtioShmemPci implements PciDevice {
  readonly pci: PciFunction;
  readonly #context: DeviceContext;
  readonly #properties: PropertyValues<typeof VirtioShmemPciProperties>;
  readonly #transport: Transport;
  readonly #claimed: MemdevBackend[] = [];
  #legacy: LegacyRegisters | undefined;

  constructor(context: DeviceContext, properties: PropertyValues<typeof VirtioShmemPciProperties>) {
    this.#context = context;
    this.#properties = properties;
    this.pci = new PciFunction({
      typeName: context.typeName,
      id: context.id,
      identity: {
        ...VIRTIO_IDENTITY,
        deviceId: MODERN_DEVICE_ID + properties['virtio-id'],
        express: false,
      },
      log: context.log,
      activity: context.activity,
      resetDevice: (type) => this.reset(type),
    });
    this.#transport = new Transport({
      offered: FEATURE.VERSION_1 | (properties['x-legacy-mem-regions'] ? LEGACY_REGIONS : 0n),
      vectors: properties.vectors,
    });
  }

  /** @throws QmpError when a property is out of range, or a backend is busy; nothing is claimed */
  realize(): void {
    const id = this.#properties['virtio-id'];
    if (id < 1 || id > LAST_VIRTIO_ID)
      throw refused(`virtio-id must be from 1 to ${String(LAST_VIRTIO_ID)}, not ${String(id)}`);
    const regions = placeRegions(this.#properties);
    try {
      for (const { memdev } of regions) {
        memdev.claim(this.#context.path);
        this.#claimed.push(memdev);
      }
      this.#addParts(regions);
    } catch (error) {
      this.unrealize();
      throw error;
    }
  }

  #addParts(regions: readonly SharedRegion[]): void {
    const fn = this.pci;
    const { vectors } = this.#properties;
    const config = deviceConfig(regions);
    registerRegisterBar(fn, BAR.REGISTERS, { transport: this.#transport, config: () => config });
    const memory = memoryBar(regions, ({ number, memdev }) =>
      this.#context.memories.add(memoryName(number), memdev.memory),
    );
    fn.registerBar(BAR.MEMORY, memory, { type: 'memory', bits64: true, prefetch: true });
    if (vectors > 0) new MsiX(fn, { vectors, bar: BAR.MSIX });
    const listed = vectors > 0 ? LISTED.withMsix : LISTED.without;
    for (const region of regions.slice(0, listed))
      addRegionPointer(fn, { ...region, bar: BAR.MEMORY });
    if (!this.#properties['x-legacy-mem-regions']) return;
    this.#legacy = new LegacyRegisters({ fn, transport: this.#transport, regions, vectors });
    fn.registerBar(BAR.LEGACY, this.#legacy.region, { type: 'io' });
  }

  unrealize(): void {
    this.pci.close();
    for (const number of REGION_NUMBERS) this.#context.memories.remove(memoryName(number));
    for (const memdev of this.#claimed.splice(0)) memdev.release();
  }

  /** The memory stays. */
  reset(_type: ResetType): void {
    this.pci.reset();
    this.#transport.reset();
    if (this.#legacy !== undefined) this.#legacy.selected = 0;
  }

  save(): DeviceState {
    const selected = this.#legacy?.selected ?? 0;
    return { pci: this.pci.save(), transport: this.#transport.save(), selected };
  }

  load(state: DeviceState): void {
    const saved = savedShmem(state, `saved ${this.#context.typeName}`);
    const apply = [this.pci.prepareLoad(saved.pci), this.#transport.prepareLoad(saved.transport)];
    for (const run of apply) run();
    if (this.#legacy !== undefined) this.#legacy.selected = saved.selected;
  }
}

const savedShmem = fields({
  pci: map,
  transport: part,
  /** Number of the region that the old registers tell of. */
  selected: integer(REGION_NUMBERS.length - 1),
});

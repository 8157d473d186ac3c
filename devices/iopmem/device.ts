import { refused } from '../../schema/error.js';
import type { DeviceContext, DeviceState, ResetType } from '../core/device.js';
import { HostError } from '../core/host-memory.js';
import type { MemdevBackend } from '../core/memdev.js';
import { MemoryRegion } from '../core/memory-region.js';
import type { PropertyValues } from '../core/property.js';
import { fields, map } from '../core/saved-state.js';
import { addPcieCapability, endpointType } from '../pci/capabilities.js';
import { PciFunction } from '../pci/function.js';
import type { PciDevice } from '../pci/function.js';
import type { IopmemProperties } from './properties.js';
import { EXPRESS_AT, IOPMEM_IDENTITY, MEMORY_BAR } from './registers.js';

/** As the property says. */
const OWN_MEMORY = 'memdev';

/**
 * Storage that is memory: the backend's bytes in a BAR, and no registers at all.
 *
 * @see reference/pci-and-memory-devices.md §8
 */
export class Iopmem implements PciDevice {
  readonly pci: PciFunction;
  readonly #context: DeviceContext;
  readonly #memdev: MemdevBackend | undefined;
  #claimed: MemdevBackend | undefined;

  constructor(context: DeviceContext, { memdev }: PropertyValues<typeof IopmemProperties>) {
    this.#context = context;
    this.#memdev = memdev;
    this.pci = new PciFunction({
      typeName: context.typeName,
      id: context.id,
      identity: IOPMEM_IDENTITY,
      log: context.log,
      activity: context.activity,
      resetDevice: (type) => this.reset(type),
    });
  }

  /** @throws QmpError without a memdev, or when it is busy or of a size that no BAR has */
  realize(): void {
    const memdev = this.#memdev;
    if (memdev === undefined) throw refused("You must specify a 'memdev'");
    const { size } = memdev.memory;
    if ((size & (size - 1n)) !== 0n) throw refused('memdev size must be a power of two');
    memdev.claim(this.#context.path);
    this.#claimed = memdev;
    try {
      addPcieCapability(this.pci, { type: endpointType(this.pci), at: EXPRESS_AT });
      const memory = this.#context.memories.add(OWN_MEMORY, memdev.memory);
      const region = MemoryRegion.ram(`iopmem ${memdev.id}`, { memory });
      this.pci.registerBar(MEMORY_BAR, region, { type: 'memory', bits64: true, prefetch: true });
    } catch (error) {
      this.#leave();
      throw error;
    }
  }

  /** The memory is free at once; what was written is on its way to the file meanwhile. */
  async unrealize(): Promise<void> {
    const flushed = this.#claimed?.flush();
    this.#leave();
    try {
      await flushed;
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      this.#context.log.warn({ reason: error.message }, 'memory cannot be written to its file');
    }
  }

  #leave(): void {
    this.pci.close();
    this.#context.memories.remove(OWN_MEMORY);
    this.#claimed?.release();
    this.#claimed = undefined;
  }

  /** The memory stays. */
  reset(_type: ResetType): void {
    this.pci.reset();
  }

  save(): DeviceState {
    return { pci: this.pci.save() };
  }

  load(state: DeviceState): void {
    const { pci } = fields({ pci: map })(state, 'saved iopmem');
    this.pci.load(pci);
  }
}

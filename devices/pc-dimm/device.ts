import { refused } from '../../schema/error.js';
import type { DeviceContext, DeviceState } from '../core/device.js';
import type { HostMemory } from '../core/host-memory.js';
import type { MemdevBackend } from '../core/memdev.js';
import type { MemoryDevice, MemoryModulePart } from '../core/memory-device.js';
import type { PropertyValues } from '../core/property.js';
import { fields, flag } from '../core/saved-state.js';
import type { PcDimmProperties } from './properties.js';

/** As the property says. */
const OWN_MEMORY = 'memdev';

/**
 * A memory module in a slot of the board: volatile (pc-dimm) or persistent (nvdimm).
 *
 * @see reference/qmp-protocol.md §8.5
 */
export class PcDimm implements MemoryDevice {
  readonly memoryDevice: MemoryModulePart;
  readonly #context: DeviceContext;
  #claimed: MemdevBackend | undefined;
  #memory: HostMemory | undefined;

  constructor(
    context: DeviceContext,
    kind: 'dimm' | 'nvdimm',
    properties: PropertyValues<typeof PcDimmProperties>,
  ) {
    this.#context = context;
    const { memdev, node, slot, addr } = properties;
    const findMemdev = (): MemdevBackend => {
      if (memdev === undefined) throw refused("'memdev' property must be set");
      return memdev;
    };
    const memory = (): HostMemory => {
      if (this.#memory === undefined) throw new Error('memory module that is not realized');
      return this.#memory;
    };
    const common = { id: context.id, findMemdev, memory, node, slot, addr };
    this.memoryDevice = { kind, ...common, unplugPending: false };
  }

  /** @throws QmpError without a memdev, or when it is busy */
  realize(): void {
    const memdev = this.memoryDevice.findMemdev();
    memdev.claim(this.#context.path);
    this.#claimed = memdev;
    this.#memory = this.#context.memories.add(OWN_MEMORY, memdev.memory);
  }
  unrealize(): void {
    this.#context.memories.remove(OWN_MEMORY);
    this.#memory = undefined;
    this.#claimed?.release();
    this.#claimed = undefined;
  }
  reset(): void {
    // Memory keeps its content over a reset.
  }
  /** Place and memory come from the properties. */
  save(): DeviceState {
    return { unplugPending: this.memoryDevice.unplugPending };
  }
  load(state: DeviceState): void {
    const { unplugPending } = fields({ unplugPending: flag })(state, 'saved memory module');
    this.memoryDevice.unplugPending = unplugPending;
  }
}

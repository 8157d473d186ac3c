import { refused } from '../../schema/error.js';
import type { DeviceContext, DeviceState } from '../core/device.js';
import type { MemdevBackend } from '../core/memdev.js';
import type { MemoryDevice, MemoryDevicePart } from '../core/memory-device.js';
import type { PropertyValues } from '../core/property.js';
import type { PcDimmProperties } from './properties.js';

/**
 * A memory module in a slot of the board: volatile (pc-dimm) or persistent (nvdimm).
 *
 * @see reference/qmp-protocol.md §8.5
 */
export class PcDimm implements MemoryDevice {
  readonly memoryDevice: MemoryDevicePart;
  readonly #path: string;
  #claimed: MemdevBackend | undefined;

  constructor(
    context: DeviceContext,
    kind: 'dimm' | 'nvdimm',
    properties: PropertyValues<typeof PcDimmProperties>,
  ) {
    this.#path = context.path;
    const { memdev, node, slot, addr } = properties;
    const findMemdev = (): MemdevBackend => {
      if (memdev === undefined) throw refused("'memdev' property must be set");
      return memdev;
    };
    this.memoryDevice = { kind, id: context.id, findMemdev, node, slot, addr };
  }

  /** @throws QmpError without a memdev, or when it is busy */
  realize(): void {
    const memdev = this.memoryDevice.findMemdev();
    memdev.claim(this.#path);
    this.#claimed = memdev;
  }
  unrealize(): void {
    this.#claimed?.release();
    this.#claimed = undefined;
  }
  reset(): void {
    // Memory keeps its content over a reset.
  }
  /** Place and memory come from the properties. */
  save(): DeviceState {
    return {};
  }
  load(): void {
    // Nothing was saved.
  }
}

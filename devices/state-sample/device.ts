import { refused } from '../../schema/error.js';
import type { DeviceContext, DeviceState, ResetType, StateImage } from '../core/device.js';
import {
  HostError,
  type AccessSize,
  type HostMapping,
  type HostMemory,
} from '../core/host-memory.js';
import { bytesFromInt, intFromBytes, MemoryRegion } from '../core/memory-region.js';
import type { PropertyValues } from '../core/property.js';
import { PciFunction } from '../pci/function.js';
import type { PciDevice } from '../pci/function.js';
import type { StateSampleProperties } from './properties.js';
import {
  CONFIG_BAR,
  CONFIG_BAR_SIZE,
  DMA,
  DMA_MOST,
  DOORBELL,
  LEAST_CONFIG,
  MEMORY_BAR,
  MEMORY_PERIOD,
  memoryByte,
  MOST_CONFIG,
  MOST_MEMORY,
  SAMPLE_IDENTITY,
} from './registers.js';

const FILL_PIECE = 2 ** 16;
const MEMORY_NAME = 'memory';

/**
 * The device that the test vectors of the device state are for: memory of its own, a configuration
 * that software writes as it likes, and DMA on a doorbell.
 *
 * @see reference/vfio-device-state.md §11
 */
export class StateSample implements PciDevice {
  readonly pci: PciFunction;
  readonly stateImage: StateImage;
  readonly #context: DeviceContext;
  readonly #properties: PropertyValues<typeof StateSampleProperties>;
  readonly #config: Uint8Array;
  #mapping: HostMapping | undefined;

  constructor(context: DeviceContext, properties: PropertyValues<typeof StateSampleProperties>) {
    this.#context = context;
    this.#properties = properties;
    this.pci = new PciFunction({
      typeName: context.typeName,
      id: context.id,
      identity: SAMPLE_IDENTITY,
      log: context.log,
      activity: context.activity,
      resetDevice: (type) => this.reset(type),
    });
    const capacity = properties['config-size'];
    this.#config = new Uint8Array(capacity);
    this.stateImage = {
      save: () => this.#config.slice(),
      load: (bytes) => {
        if (bytes.length !== capacity)
          throw refused(
            `configuration of ${String(bytes.length)} bytes does not fit ${String(capacity)}`,
          );
        this.#config.set(bytes);
      },
      capacity,
      capabilities: properties.capabilities,
    };
  }

  /** @throws QmpError when a property is out of range */
  realize(): void {
    this.#checkProperties();
    const size = this.#properties['memory-size'];
    this.#mapping = this.#allocate(size);
    const memory = this.#context.memories.add(MEMORY_NAME, this.#mapping);
    this.#fill();
    this.pci.registerBar(CONFIG_BAR, this.#registers(), { type: 'memory' });
    const kind = { type: 'memory', bits64: true, prefetch: true } as const;
    this.pci.registerBar(MEMORY_BAR, memoryRegion(memory), kind);
  }
  unrealize(): void {
    this.pci.close();
    this.#context.memories.remove(MEMORY_NAME);
    this.#mapping?.close();
    this.#mapping = undefined;
  }
  /** The configuration is new, at power-on the memory as well. */
  reset(type: ResetType): void {
    this.pci.reset();
    if (type === 'cold') this.#fill();
    else this.#fillConfig();
  }

  save(): DeviceState {
    return { pci: this.pci.save(), config: this.#config.slice() };
  }
  load({ pci, config }: DeviceState): void {
    if (typeof pci !== 'object')
      throw refused('saved function does not fit device type state-sample');
    if (!(config instanceof Uint8Array && config.length === this.#config.length))
      throw refused('saved configuration does not fit device type state-sample');
    this.pci.load(pci as DeviceState);
    this.#config.set(config);
  }

  /** @throws QmpError when the host refuses */
  #allocate(size: bigint): HostMapping {
    const name = `state-sample ${this.#context.path}`;
    try {
      return this.#context.hostMemory.anonymous({ size, share: false, name });
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      throw refused(`cannot set up the memory of the device: ${error.message}`, error);
    }
  }
  #checkProperties(): void {
    const memory = this.#properties['memory-size'];
    if (memory < 1n || memory > MOST_MEMORY)
      throw refused(`memory-size is ${String(memory)}, not 1 to ${String(MOST_MEMORY)} bytes`);
    const config = this.#properties['config-size'];
    if (config % 4 !== 0 || config < LEAST_CONFIG || config > MOST_CONFIG)
      throw refused(
        `config-size is ${String(config)}, not a multiple of 4 from ${String(LEAST_CONFIG)} to ${String(MOST_CONFIG)}`,
      );
    const { capabilities } = this.#properties;
    if (capabilities < 1 || capabilities > 3)
      throw refused(`capabilities is ${String(capabilities)}, not 1, 2 or 3`);
  }
  #fill(): void {
    this.#fillConfig();
    const memory = this.#mapping;
    if (memory === undefined) return;
    const size = Number(memory.size);
    const piece = Uint8Array.from({ length: FILL_PIECE }, (_, i) => memoryByte(i % MEMORY_PERIOD));
    for (let at = 0; at < size; at += FILL_PIECE)
      memory.write(BigInt(at), piece.subarray(0, Math.min(FILL_PIECE, size - at)));
  }
  #fillConfig(): void {
    for (let i = 0; i < this.#config.length; i++) this.#config[i] = i & 0xff;
  }

  #registers(): MemoryRegion {
    return MemoryRegion.mmio(
      'state-sample-config',
      CONFIG_BAR_SIZE,
      {
        read: (offset, size) => intFromBytes(this.#config.subarray(offset, offset + size)),
        write: (offset, size, value) => this.#write(offset, size, value),
      },
      { valid: { min: 1, max: 8 }, impl: { min: 1, max: 8 } },
    );
  }
  #write(offset: number, size: AccessSize, value: bigint): void {
    if (offset === DOORBELL) this.#transfer();
    else if (offset < this.#config.length)
      bytesFromInt(value, this.#config.subarray(offset, offset + size));
  }
  #transfer(): void {
    const view = new DataView(this.#config.buffer);
    const length = view.getUint32(DMA.LENGTH, true);
    if (length > DMA_MOST) {
      this.#context.log.warn({ length, most: DMA_MOST }, 'DMA is too long');
      return;
    }
    const bytes = new Uint8Array(length).fill(view.getUint8(DMA.FILL));
    this.pci.dma.write(view.getBigUint64(DMA.ADDRESS, true), bytes);
  }
}

/** The memory at the beginning of a BAR, whose size is a power of two. */
const memoryRegion = (memory: HostMemory): MemoryRegion => {
  let size = 4096n;
  while (size < memory.size) size *= 2n;
  const bar = MemoryRegion.container('state-sample-memory', size);
  bar.add(MemoryRegion.ram('state-sample-ram', { memory }), 0n);
  return bar;
};

import type { Device } from './device.js';
import type { HostMemory } from './host-memory.js';
import type { MemdevBackend } from './memdev.js';
import type { MemoryRegion } from './memory-region.js';

/** What every memory device asks for, and where the platform put it. */
interface MemoryPart {
  readonly id: string | undefined;
  /** @throws QmpError when it is not set */
  findMemdev(): MemdevBackend;
  /** Number of a NUMA node. */
  readonly node: number;
  /** Guest-physical address in bytes; 0 until the platform has chosen one. */
  addr: bigint;
}

/** A module: all of its backend, in a slot of the board. */
export interface MemoryModulePart extends MemoryPart {
  readonly kind: 'dimm' | 'nvdimm';
  /** What lies at `addr`. @throws Error before realize */
  memory(): HostMemory;
  /** -1 until the platform has chosen one. */
  slot: number;
  /** The guest was asked to let go, and has not answered. */
  unplugPending: boolean;
}

/** Memory that the guest takes and gives back in blocks, with the room for all of it reserved. */
export interface ResizableMemoryPart extends MemoryPart {
  readonly kind: 'virtio-mem';
  /** Bytes of a block, a power of two. */
  readonly blockSize: bigint;
  /** Bytes that the guest is asked to have. */
  requestedSize(): bigint;
  /** Bytes that the guest has. */
  size(): bigint;
  /** What lies at `addr`: as large as the backend, with holes where nothing is plugged. */
  region(): MemoryRegion;
  /** @throws QmpError while the guest has memory of it, or is asked to have some */
  checkUnplug(): void;
  /**
   * As the driver in the guest: plugs or unplugs blocks at the end until `size` bytes are plugged.
   *
   * @throws QmpError when `size` is no multiple of a block, or more than was requested and there is
   */
  resize(size: bigint): void;
}

export type MemoryDevicePart = MemoryModulePart | ResizableMemoryPart;

/** A device that is a piece of guest memory. */
export interface MemoryDevice extends Device {
  readonly memoryDevice: MemoryDevicePart;
}

export const asMemoryDevice = (device: Device): MemoryDevice | undefined =>
  'memoryDevice' in device ? (device as MemoryDevice) : undefined;

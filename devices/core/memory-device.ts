import type { Device } from './device.js';
import type { MemdevBackend } from './memdev.js';

/** What a memory device asks for, and where the platform put it. */
export interface MemoryDevicePart {
  readonly kind: 'dimm' | 'nvdimm';
  readonly id: string | undefined;
  /** @throws QmpError when it is not set */
  findMemdev(): MemdevBackend;
  /** Number of a NUMA node. */
  readonly node: number;
  /** -1 until the platform has chosen one. */
  slot: number;
  /** Guest-physical address in bytes; 0 until the platform has chosen one. */
  addr: bigint;
}

/** A device that is a piece of guest memory; it sits in a slot of the board, on no bus. */
export interface MemoryDevice extends Device {
  readonly memoryDevice: MemoryDevicePart;
}

export const asMemoryDevice = (device: Device): MemoryDevice | undefined =>
  'memoryDevice' in device ? (device as MemoryDevice) : undefined;

import type { Activity } from '../core/activity.js';
import type { StateImage } from '../core/device.js';
import type { OwnMemories } from '../core/own-memory.js';

/** State of a device: bit 0 stopped, bit 1 logging. reference/vfio-device-state.md §3 */
export const STATE = { RUNNING: 0, STOP: 1, RUNNING_LOGGING: 2, STOP_LOGGING: 3 } as const;
export const STOP_BIT = 1;
export const LOGGING_BIT = 2;

/** Parts of a device's state that not every device has; bits of the capability word. */
export const CAPABILITY = { DEVICE_MEMORY: 1, SYSTEM_MEMORY: 2 } as const;

/** What the state control needs of one device. */
export interface StateTarget {
  /** How texts name it. */
  readonly name: string;
  readonly activity: Activity;
  readonly memories: OwnMemories;
  readonly config: StateImage;
  /**
   * Tells of every DMA write of the device that reached RAM; undefined for a device that does no DMA.
   *
   * @returns the unsubscribe
   */
  readonly onDmaWrite:
    ((hook: (address: bigint, length: number) => void) => () => void) | undefined;
  /** Most bytes of memory that a pass, a snapshot or a load holds at a time. */
  readonly passBytes: number;
  /** The state changed. */
  changed(from: number, to: number): void;
}

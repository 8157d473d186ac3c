import type { DeviceContext } from '../core/device.js';
import { onOffAuto } from '../core/property.js';

/** Property of the inter-VM shared memory devices. reference/pci-and-memory-devices.md §9.3 */
export const master = onOffAuto('off', 'the device keeps its memory when it moves to another host');

export type Master = 'on' | 'off' | 'auto';

/** `auto` is on for the first peer, and for a device without peers. */
export const settleMaster = (given: Master, id: number): 'on' | 'off' => {
  if (given !== 'auto') return given;
  return id === 0 ? 'on' : 'off';
};

/**
 * A device that leaves its memory behind cannot be migrated, as QEMU says it.
 *
 * @returns what takes the objection back
 */
export const blockAsPeer = (
  context: Pick<DeviceContext, 'blockMigration'>,
  settled: 'on' | 'off',
): (() => void) =>
  settled === 'on'
    ? () => undefined
    : context.blockMigration(
        "Migration is disabled when using feature 'peer mode' in device 'ivshmem'",
      );

import type { Activity } from './activity.js';
import { AddressSpace } from './address-space.js';
import { MemoryRegion } from './memory-region.js';

export interface StopFrontOptions {
  readonly activity: Activity;
  /** What a read gives where nothing is; default zeros. */
  readonly unassigned?: 'zeros' | 'ones';
  /** Whether a write that waited still finds its way when it is done; default always. */
  readonly reached?: () => boolean;
}

/**
 * What stands in the place of a region while its device is stopped: reads are answered, writes to
 * registers wait in the latch, writes to memory are dropped.
 */
export const stopFront = (
  region: MemoryRegion,
  { activity, unassigned = 'zeros', reached = () => true }: StopFrontOptions,
): MemoryRegion => {
  const space = new AddressSpace(region, unassigned);
  return MemoryRegion.routed(region.name, region.size, {
    read: (offset, into) => space.readInto(offset, into),
    write: (offset, from) =>
      space.visit(offset, from.length, (section, start, end) => {
        if (section.region?.kind !== 'mmio') return;
        const bytes = from.slice(start, end);
        activity.latch.add(() => {
          if (reached()) space.writeBytes(offset + BigInt(start), bytes);
        });
      }),
  });
};

/**
 * Puts a front before `region`, which `place` shows, whenever the device is stopped.
 *
 * @returns the end of that
 */
export const frontWhileStopped = (
  place: MemoryRegion,
  region: MemoryRegion,
  activity: Activity,
): (() => void) => {
  const front = stopFront(region, { activity });
  const forget = activity.onChange((stopped) => {
    if (stopped) place.replace(region, front);
    else place.replace(front, region);
  });
  return () => {
    forget();
    place.replace(front, region);
  };
};

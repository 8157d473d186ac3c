import { refused } from '../../schema/error.js';
import type { HostMemory } from '../core/host-memory.js';
import type { MemdevBackend } from '../core/memdev.js';
import { MemoryRegion } from '../core/memory-region.js';
import type { PropertyValues } from '../core/property.js';
import { REGION_NUMBERS } from './properties.js';
import type { VirtioShmemPciProperties } from './properties.js';
import { DEVICE_CONFIG, ENTRY } from './registers.js';

/** A shared memory region and its place in the memory BAR, in bytes. */
export interface SharedRegion {
  readonly number: number;
  readonly shmid: number;
  readonly memdev: MemdevBackend;
  readonly offset: bigint;
  readonly size: bigint;
}

/** Regions begin where large pages do, if they are large enough for one. */
const LARGE_PAGE = 2n << 20n;
const PAGE = 4096n;

const alignUp = (value: bigint, to: bigint): bigint => ((value + to - 1n) / to) * to;
const powerOfTwoAbove = (value: bigint): bigint => 1n << BigInt((value - 1n).toString(2).length);

/**
 * Puts the regions that have memory one behind the other.
 *
 * @throws QmpError without any, or when two have one identifier
 */
export const placeRegions = (
  properties: PropertyValues<typeof VirtioShmemPciProperties>,
): SharedRegion[] => {
  const regions: SharedRegion[] = [];
  let end = 0n;
  for (const number of REGION_NUMBERS) {
    const memdev = properties[`memdev${number}`];
    if (memdev === undefined) continue;
    const shmid = properties[`shmid${number}`];
    const same = regions.find((other) => other.shmid === shmid);
    if (same !== undefined)
      throw refused(
        `regions ${String(same.number)} and ${String(number)} have the same shmid ${String(shmid)}`,
      );
    const { size } = memdev.memory;
    const offset = alignUp(end, size < LARGE_PAGE ? PAGE : LARGE_PAGE);
    regions.push({ number, shmid, memdev, offset, size });
    end = offset + size;
  }
  if (regions.length === 0) throw refused("You must specify a 'memdev0', or up to 'memdev15'");
  return regions;
};

/**
 * The memory BAR: the regions, and nothing between them.
 *
 * @param memoryOf what the BAR shows of a region
 */
export const memoryBar = (
  regions: readonly SharedRegion[],
  memoryOf: (region: SharedRegion) => HostMemory,
): MemoryRegion => {
  const last = regions.at(-1);
  const size = powerOfTwoAbove(last === undefined ? PAGE : last.offset + last.size);
  const container = MemoryRegion.container('virtio-shmem memory', size);
  for (const region of regions) {
    const ram = MemoryRegion.ram(`virtio-shmem ${region.memdev.id}`, { memory: memoryOf(region) });
    container.add(ram, region.offset);
  }
  return container;
};

/** The device configuration: every region, also those that the capability list has no room for. */
export const deviceConfig = (regions: readonly SharedRegion[]): Uint8Array => {
  const { COUNT, ENTRIES, ENTRY_SIZE } = DEVICE_CONFIG;
  const bytes = new Uint8Array(ENTRIES + ENTRY_SIZE * REGION_NUMBERS.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(COUNT, regions.length, true);
  for (const { number, shmid, offset, size } of regions) {
    const entry = ENTRIES + ENTRY_SIZE * number;
    view.setUint32(entry + ENTRY.SHMID, shmid, true);
    view.setBigUint64(entry + ENTRY.OFFSET, offset, true);
    view.setBigUint64(entry + ENTRY.LENGTH, size, true);
  }
  return bytes;
};

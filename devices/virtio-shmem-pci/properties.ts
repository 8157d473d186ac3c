import type { MemdevBackend } from '../core/memdev.js';
import { bool, link, uint16, uint32, uint8 } from '../core/property.js';
import type { Property } from '../core/property.js';

/** Numbers of the regions that a device can have. */
export const REGION_NUMBERS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] as const;
type RegionNumber = (typeof REGION_NUMBERS)[number];
type Numbered<Name extends string, T> = { readonly [K in `${Name}${RegionNumber}`]: T };

const numbered = <Name extends string, T>(
  name: Name,
  make: (region: RegionNumber) => T,
): Numbered<Name, T> =>
  Object.fromEntries(
    REGION_NUMBERS.map((region) => [`${name}${String(region)}`, make(region)]),
  ) as Numbered<Name, T>;

export const VirtioShmemPciProperties = {
  ...numbered('memdev', (region): Property<MemdevBackend> =>
    link('memory-backend', `memory of region ${String(region)}`),
  ),
  ...numbered('shmid', (region) =>
    uint8(region, `identifier by which drivers know region ${String(region)}`),
  ),
  'virtio-id': uint16(63, 'virtio device type, 1 to 63; the PCI device id is 0x1040 more'),
  vectors: uint32(1, 'MSI-X vectors, 0 for none'),
  'x-legacy-mem-regions': bool(false, 'also offer the register layout of the 2010 proposal'),
};

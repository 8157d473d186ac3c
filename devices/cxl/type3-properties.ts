import type { MemdevBackend } from '../core/memdev.js';
import { link, str, uint64, uint8, type PropertyValues } from '../core/property.js';
import { linkProperties } from '../pci/link.js';

/** `sn` that means: no serial number. */
export const NO_SERIAL = (1n << 64n) - 1n;

const backend = (doc: string) => link<MemdevBackend>('memory-backend', doc);

/** Properties of CXL memory devices. reference/cxl.md §1.2 */
export const type3Properties = {
  'volatile-memdev': backend('static volatile capacity'),
  'persistent-memdev': backend('static persistent capacity; needs lsa'),
  memdev: backend('older name of persistent-memdev'),
  lsa: backend('label storage area'),
  sn: uint64(NO_SERIAL, 'serial number; all ones for none'),
  cdat: str('file with the coherent device attribute table, in place of the built-in one'),
  'num-dc-regions': uint8(0, 'dynamic capacity regions, 0 to 8'),
  'volatile-dc-memdev': backend('capacity of all dynamic capacity regions'),
  ...linkProperties('32', '16'),
} as const;

export type Type3Properties = PropertyValues<typeof type3Properties>;

import { bool, ofPlace, str, uint32, type PropertyValues } from '../core/property.js';
import { type3Properties } from '../cxl/type3-properties.js';

/** `mhd-head` that was not given. */
const NO_HEAD = 0xffff_ffff;

/** Properties of a head. reference/cxl.md §1.2 */
export const mhsldProperties = {
  ...type3Properties,
  'mhd-head': ofPlace(uint32(NO_HEAD, 'number of the head, 0 to 7')),
  'mhd-state_file': str('name of the shared memory object with the state of the pool'),
  'mhd-init': ofPlace(bool(false, 'create the state of the pool when there is none')),
  'mhd-adopt': ofPlace(bool(false, 'keep what a dead predecessor of this head owned (qmemd)')),
} as const;

export type MhsldProperties = PropertyValues<typeof mhsldProperties>;

import type { CxlDynamicCapacityInfo } from '../../schema/cxl.js';
import type { Infer } from '../../schema/lang.js';
import { IntervalSet } from '../core/interval-set.js';
import { printUuid } from './bytes.js';
import type { OwnedRun } from './capacity-ownership.js';
import { type DynamicCapacity } from './dynamic-capacity.js';
import { EXTENT_LIMIT, NO_TAG, type Extent } from './extents.js';
import { DEFAULT_BLOCK_SIZE, regionOf } from './regions.js';

type Info = Infer<typeof CxlDynamicCapacityInfo>;

/** The only head of a device that is not shared. */
const ONLY_HEAD = 0;

/** State of dynamic capacity as `query-cxl-dynamic-capacity` tells it. */
export const capacityInfo = (capacity: DynamicCapacity): Omit<Info, 'device' | 'path'> => {
  const tracked = (extent: Extent): Info['accepted'][number] => {
    const region = regionOf(capacity.regions, extent);
    if (region === undefined) throw new Error('an extent outside every region');
    return {
      region: region.index,
      offset: extent.base - region.base,
      len: extent.len,
      'start-dpa': extent.base,
      ...(extent.tag === NO_TAG ? {} : { tag: printUuid(extent.tag) }),
      sequence: extent.sequence,
    };
  };
  return {
    'extents-supported': EXTENT_LIMIT,
    'extents-available': capacity.available,
    generation: capacity.generation,
    regions: capacity.regions.map(({ index, base, len, blockSize }) => ({
      ...{ region: index, base, len, 'block-size': blockSize },
    })),
    pending: capacity.pending.map(({ hostId, extents }) => ({
      'host-id': hostId,
      extents: extents.map(tracked),
    })),
    accepted: capacity.accepted.map(tracked),
    tags: tagsOf(capacity),
    blocks: runsOf(capacity).map(({ base, len, heads }) => ({
      first: base / DEFAULT_BLOCK_SIZE,
      count: len / DEFAULT_BLOCK_SIZE,
      heads: [...heads],
    })),
  };
};

const tagsOf = ({ accepted, pending }: DynamicCapacity): Info['tags'] => {
  const offered = pending.flatMap(({ extents }) => extents);
  const bytes = (extents: readonly Extent[], tag: string): bigint =>
    extents.reduce((sum, extent) => (extent.tag === tag ? sum + extent.len : sum), 0n);
  const tags = new Set([...accepted, ...offered].map(({ tag }) => tag));
  tags.delete(NO_TAG);
  return [...tags].map((tag) => ({
    tag: printUuid(tag),
    pending: bytes(offered, tag),
    accepted: bytes(accepted, tag),
  }));
};

const runsOf = (capacity: DynamicCapacity): readonly OwnedRun[] => {
  const shared = capacity.ownership.owners();
  if (shared !== undefined) return shared.filter(({ heads }) => heads.length > 0);
  const offered = capacity.pending.flatMap(({ extents }) => extents);
  const had = new IntervalSet([...capacity.accepted, ...offered, ...capacity.references.held]);
  return had.intervals.map((range) => ({ ...capacity.relative(range), heads: [ONLY_HEAD] }));
};

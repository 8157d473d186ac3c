import { refused } from '../../schema/error.js';
import type { DeviceState, StateValue } from '../core/device.js';
import { IntervalSet, type Interval } from '../core/interval-set.js';
import { fields, flag, integer, list, part, unsigned } from '../core/saved-state.js';
import { type PendingGroup } from './dynamic-capacity.js';
import { EXTENT_LIMIT, saveExtents, savedExtents, type Extent } from './extents.js';
import { MAX_REGIONS, regionOf, type Region } from './regions.js';
import type { LoadedReferences, TagReferences } from './tag-references.js';

/** Everything that dynamic capacity remembers, but for references to tags. */
export interface SavedCapacity {
  readonly pending: readonly PendingGroup[];
  readonly accepted: readonly Extent[];
  /** Accepted ranges whose bytes go when the host gives them back. */
  readonly erased: readonly Interval[];
  /** Of each region. */
  readonly blockSizes: readonly bigint[];
  readonly generation: number;
  readonly nextGroup: number;
}

export const writeCapacity = (capacity: SavedCapacity): DeviceState => ({
  pending: capacity.pending.map(({ id, hostId, extents, begun }) => ({
    ...{ id, hostId, begun },
    extents: saveExtents(extents),
  })),
  accepted: saveExtents(capacity.accepted),
  erased: capacity.erased.map((interval) => ({ ...interval })),
  blockSizes: [...capacity.blockSizes],
  generation: capacity.generation,
  nextGroup: capacity.nextGroup,
});

/**
 * @param tags checks the references to tags
 * @throws QmpError when the state does not fit the regions
 */
export const readCapacity = (
  state: StateValue | undefined,
  regions: readonly Region[],
  tags: TagReferences,
): SavedCapacity & { readonly references: LoadedReferences } => {
  const { references, ...saved } = savedCapacity(state, 'saved dynamic capacity');
  const { pending, accepted, erased, blockSizes } = saved;
  const offered = pending.flatMap(({ extents }) => extents);
  checkBlockSizes(blockSizes, regions);
  const loaded = tags.prepareLoad(references);
  checkExtents([...accepted, ...offered, ...loaded.held], regions);
  if (!erased.every((range) => new IntervalSet(accepted).covers(range)))
    throw refused('saved dynamic capacity.erased must lie inside what is accepted');
  return { ...saved, references: loaded };
};

const savedCapacity = fields({
  pending: list(
    fields({
      id: integer(Number.MAX_SAFE_INTEGER),
      hostId: integer(0xffff),
      begun: flag,
      extents: savedExtents,
    }),
    EXTENT_LIMIT,
  ),
  accepted: savedExtents,
  erased: list(fields({ base: unsigned(), len: unsigned() }), EXTENT_LIMIT),
  blockSizes: list(unsigned(), MAX_REGIONS),
  generation: integer(0xffff_ffff),
  nextGroup: integer(Number.MAX_SAFE_INTEGER),
  references: part,
});

const checkBlockSizes = (sizes: readonly bigint[], regions: readonly Region[]): void => {
  const fits = (size: bigint, i: number): boolean => {
    const mask = regions[i]?.blockSizeMask ?? 0n;
    return (size & (size - 1n)) === 0n && (size & mask) !== 0n;
  };
  if (sizes.length !== regions.length || !sizes.every(fits))
    throw refused('saved dynamic capacity.blockSizes must be those of the regions');
};

const checkExtents = (extents: readonly Extent[], regions: readonly Region[]): void => {
  const seen = new IntervalSet();
  for (const extent of extents) {
    const { base, len } = extent;
    const region = regionOf(regions, extent);
    const size = region?.blockSizeMask ?? 1n;
    const ragged = (base - (region?.base ?? 0n)) % size !== 0n || len % size !== 0n;
    if (region === undefined || len === 0n || ragged || seen.overlaps(extent))
      throw refused('saved extents do not fit the regions of this device');
    seen.add(extent);
  }
  if (extents.length > EXTENT_LIMIT)
    throw refused('saved dynamic capacity does not fit this device');
};

import { refused } from '../../schema/error.js';
import type { DeviceState, StateValue } from '../core/device.js';
import { IntervalSet, type Interval } from '../core/interval-set.js';
import { type PendingGroup } from './dynamic-capacity.js';
import { EXTENT_LIMIT, loadExtents, NO_TAG, saveExtents, type Extent } from './extents.js';
import { regionOf, type Region } from './regions.js';

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

const UNTAGGED = { tag: NO_TAG, sequence: 0 };

/** @throws QmpError when the state does not fit the regions */
export const readCapacity = (
  state: StateValue | undefined,
  regions: readonly Region[],
): SavedCapacity => {
  const { pending, accepted, erased, blockSizes, generation, nextGroup } = (state ??
    {}) as DeviceState;
  if (!Array.isArray(pending) || !Array.isArray(erased) || !Array.isArray(blockSizes))
    throw refused('saved dynamic capacity does not fit');
  const extents = loadExtents(accepted);
  const groups = pending.map((group) => {
    const { id, hostId, extents: offered, begun } = group as DeviceState;
    const heading = { id: Number(id), hostId: Number(hostId), begun: begun === true };
    return { ...heading, extents: loadExtents(offered) };
  });
  checkExtents([...extents, ...groups.flatMap((group) => group.extents)], regions);
  if (blockSizes.length !== regions.length)
    throw refused('saved dynamic capacity does not fit this device');
  return {
    pending: groups,
    accepted: extents,
    erased: loadExtents(erased.map((mark) => ({ ...(mark as DeviceState), ...UNTAGGED }))),
    blockSizes: blockSizes.map((size) => BigInt(size as bigint)),
    generation: Number(generation),
    nextGroup: Number(nextGroup),
  };
};

const checkExtents = (extents: readonly Extent[], regions: readonly Region[]): void => {
  const seen = new IntervalSet();
  for (const extent of extents) {
    if (regionOf(regions, extent) === undefined || seen.overlaps(extent))
      throw refused('saved extents do not fit the regions of this device');
    seen.add(extent);
  }
  if (extents.length > EXTENT_LIMIT)
    throw refused('saved dynamic capacity does not fit this device');
};

import {
  CxlDynamicCapacityAccepted,
  CxlDynamicCapacityRejected,
  CxlDynamicCapacityReleased,
} from '../../schema/cxl.js';
import type { DeviceContext } from '../core/device.js';
import { printUuid } from './bytes.js';
import type { CapacityReports } from './dynamic-capacity.js';
import { NO_TAG, type Extent } from './extents.js';
import { regionOf, type Region } from './regions.js';

type Answer =
  | typeof CxlDynamicCapacityAccepted
  | typeof CxlDynamicCapacityRejected
  | typeof CxlDynamicCapacityReleased;

/** Tells by event what the host answered: one event for each region and tag. */
export const capacityReports = (
  context: DeviceContext,
  regions: () => readonly Region[],
): CapacityReports => {
  const tell = (event: Answer, extents: readonly Extent[]): void => {
    for (const region of regions()) {
      const inside = extents.filter((extent) => regionOf([region], extent) !== undefined);
      for (const tag of new Set(inside.map((extent) => extent.tag)))
        context.emit(event, {
          ...(context.id === undefined ? {} : { device: context.id }),
          path: context.path,
          region: region.index,
          ...(tag === NO_TAG ? {} : { tag: printUuid(tag) }),
          ranges: inside
            .filter((extent) => extent.tag === tag)
            .map(({ base, len }) => ({ offset: base - region.base, len })),
        });
    }
  };
  return {
    accepted: (extents) => tell(CxlDynamicCapacityAccepted, extents),
    rejected: (extents) => tell(CxlDynamicCapacityRejected, extents),
    released: (extents) => tell(CxlDynamicCapacityReleased, extents),
  };
};

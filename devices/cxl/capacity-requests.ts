import { refused } from '../../schema/error.js';
import { IntervalSet, type Interval } from '../core/interval-set.js';
import { parseUuid } from './bytes.js';
import type { DynamicCapacity } from './dynamic-capacity.js';
import { EXTENT_LIMIT, NO_TAG, overlap, type Extent } from './extents.js';
import type { Region } from './regions.js';

/** A range as QMP names it. */
export interface RequestedExtent {
  /** Bytes from the start of the region. */
  readonly offset: bigint;
  readonly len: bigint;
}
export interface AddRequest {
  readonly hostId: number;
  readonly policy: 'free' | 'contiguous' | 'prescriptive' | 'enable-shared-access';
  readonly region: number;
  /** A UUID. */
  readonly tag?: string | undefined;
  readonly extents: readonly RequestedExtent[];
}
export interface ReleaseRequest {
  readonly hostId: number;
  readonly policy: 'tag-based' | 'prescriptive';
  readonly forced: boolean;
  readonly sanitize: boolean;
  readonly region: number;
  /** A UUID. */
  readonly tag?: string | undefined;
  readonly extents: readonly RequestedExtent[];
}

const NO_SELECTION = 'Selection policy not supported';

/** What is refused before the device is looked for, with QEMU's texts. */
export const checkAddPolicy = ({ policy, tag }: Pick<AddRequest, 'policy' | 'tag'>): void => {
  if (policy === 'enable-shared-access' && tag === undefined) throw refused(NO_SELECTION);
};
/** The same for releases: without a tag nothing can be chosen by it. */
export const checkReleasePolicy = ({
  policy,
  forced,
  tag,
}: Pick<ReleaseRequest, 'policy' | 'forced' | 'tag'>): void => {
  if (policy !== 'tag-based' || tag !== undefined) return;
  throw refused(forced ? 'Forced removal not supported yet' : 'Removal policy not supported');
};

/** @throws QmpError */
export const findRegion = (capacity: DynamicCapacity | undefined, index: number): Region => {
  if (capacity === undefined) throw refused('No dynamic capacity support from the device');
  const region = capacity.regions[index];
  if (region === undefined) throw refused('region id is too large');
  return region;
};

/** Digits of the tag; NO_TAG when there is none. @throws QmpError */
const readTag = (tag: string | undefined): string => {
  const digits = tag === undefined ? NO_TAG : parseUuid(tag);
  if (digits === undefined)
    throw refused(`Parameter 'tag' expects a UUID of 36 characters, not '${tag ?? ''}'`);
  return digits;
};

/** Rules 5 and 6 of reference/cxl.md §7.2, then what the caller adds. */
const checkRange = ({ offset, len }: RequestedExtent, { blockSize }: Region): void => {
  if (len === 0n) throw refused('extent with 0 length is not allowed');
  if (offset % blockSize !== 0n || len % blockSize !== 0n)
    throw refused('dpa or len is not aligned to region block size');
};

/**
 * Device physical addresses of requested extents, checked one after the other.
 *
 * @throws QmpError with the texts of reference/cxl.md §7.2, rules 5 to 8
 */
const locate = (
  region: Region,
  extents: readonly RequestedExtent[],
  check: (range: Interval) => void,
): readonly Interval[] => {
  const ranges: Interval[] = [];
  const seen = new IntervalSet();
  for (const extent of extents) {
    checkRange(extent, region);
    if (extent.offset + extent.len > region.len)
      throw refused('extent range is beyond the region end');
    const range = { base: region.base + extent.offset, len: extent.len };
    if (seen.overlaps(range)) throw refused('duplicate or overlapped extents are detected');
    check(range);
    seen.add(range);
    ranges.push(range);
  }
  return ranges;
};

const prescribed = (
  capacity: DynamicCapacity,
  region: Region,
  { extents }: AddRequest,
): readonly Interval[] =>
  locate(region, extents, (range) => {
    if (capacity.touchesBacked(range))
      throw refused('cannot add DPA already accessible to the same LD');
    if (capacity.touchesPending(range)) throw refused('cannot add DPA again while still pending');
  });

/** Bytes asked for; offsets do not matter where the device chooses. @throws QmpError */
const totalLength = (region: Region, { extents }: AddRequest): bigint =>
  extents.reduce((sum, { len }) => {
    checkRange({ offset: 0n, len }, region);
    return sum + len;
  }, 0n);

const alignedRuns = (capacity: DynamicCapacity, region: Region): readonly Interval[] => {
  const { blockSize } = region;
  return capacity.freeRanges(region).flatMap(({ base, len }) => {
    const ragged = (base - region.base) % blockSize;
    const skip = ragged === 0n ? 0n : blockSize - ragged;
    const usable = len > skip ? len - skip - ((len - skip) % blockSize) : 0n;
    return usable === 0n ? [] : [{ base: base + skip, len: usable }];
  });
};

const notEnough = (region: Region, what: string, wanted: bigint): Error =>
  refused(`region ${String(region.index)} has no ${String(wanted)} free bytes${what}`);

const lowestFree = (
  capacity: DynamicCapacity,
  region: Region,
  request: AddRequest,
): readonly Interval[] => {
  const wanted = totalLength(region, request);
  const chosen: Interval[] = [];
  let left = wanted;
  for (const run of alignedRuns(capacity, region)) {
    if (left === 0n) break;
    const len = run.len < left ? run.len : left;
    chosen.push({ base: run.base, len });
    left -= len;
  }
  if (left > 0n) throw notEnough(region, '', wanted);
  return chosen;
};
const lowestRun = (
  capacity: DynamicCapacity,
  region: Region,
  request: AddRequest,
): readonly Interval[] => {
  const wanted = totalLength(region, request);
  if (wanted === 0n) return [];
  const run = alignedRuns(capacity, region).find(({ len }) => len >= wanted);
  if (run === undefined) throw notEnough(region, ' in one run', wanted);
  return [{ base: run.base, len: wanted }];
};

/** Ranges that the request means, and whether the heads share them already. @throws QmpError */
const select = (
  capacity: DynamicCapacity,
  region: Region,
  request: AddRequest,
): readonly Interval[] => {
  switch (request.policy) {
    case 'free':
      return lowestFree(capacity, region, request);
    case 'contiguous':
      return lowestRun(capacity, region, request);
    case 'prescriptive':
      return prescribed(capacity, region, request);
    case 'enable-shared-access':
      throw refused(NO_SELECTION);
  }
};

/** @throws QmpError when so many more extents are one too many */
export const checkTracked = (capacity: DynamicCapacity, more: number): void => {
  if (capacity.tracked + more > EXTENT_LIMIT)
    throw refused(
      `${String(more)} more extents exceed the limit of ${String(EXTENT_LIMIT)}: ${String(capacity.tracked)} are pending or accepted`,
    );
};

/**
 * The extents that an add request is to offer; nothing is changed yet.
 *
 * @throws QmpError with the texts of reference/cxl.md §7.2, rules 5 to 10, and our own
 */
export const selectExtents = (
  capacity: DynamicCapacity,
  region: Region,
  request: AddRequest,
): readonly Extent[] => {
  const tag = readTag(request.tag);
  // So many can never be offered: not worth a look at each.
  if (request.extents.length > EXTENT_LIMIT) checkTracked(capacity, request.extents.length);
  const ranges = select(capacity, region, request);
  if (tag !== NO_TAG && ranges.length > 0 && capacity.hasTag(tag))
    throw refused(`tag '${request.tag ?? ''}' is in use by pending or accepted extents`);
  checkTracked(capacity, ranges.length);
  return ranges.map((range) => ({ ...range, tag, sequence: 0 }));
};

/**
 * The extents of other heads that a head joins under their tag.
 *
 * @throws QmpError when the device has no other heads, or they do not share
 */
export const shareExtents = (
  capacity: DynamicCapacity,
  region: Region,
  request: AddRequest,
): readonly Extent[] => {
  const { ownership } = capacity;
  if (ownership.share === undefined) throw refused(NO_SELECTION);
  const tag = readTag(request.tag);
  if (capacity.hasTag(tag))
    throw refused(`tag '${request.tag ?? ''}' is in use by pending or accepted extents`);
  const shared = ownership.share(tag);
  if (typeof shared === 'string') throw refused(shared);
  const start = region.base - capacity.relative(region).base;
  return shared.map(({ base, len }, i) => ({ base: base + start, len, tag, sequence: i + 1 }));
};

/** What the parts of accepted and pending extents in a range have in common. */
export const describe = (capacity: DynamicCapacity, range: Interval): Extent => {
  const all = [...capacity.accepted, ...capacity.pending.flatMap(({ extents }) => extents)];
  const touched = all.filter((extent) => overlap(extent, range));
  const tag = touched[0]?.tag ?? NO_TAG;
  const sequence = touched.length === 1 ? (touched[0]?.sequence ?? 0) : 0;
  return { ...range, tag: touched.every((e) => e.tag === tag) ? tag : NO_TAG, sequence };
};

/**
 * The ranges that a release request means; nothing is changed yet.
 *
 * @throws QmpError with the texts of reference/cxl.md §7.3, rules 5 to 11, and our own
 */
export const selectReleased = (
  capacity: DynamicCapacity,
  region: Region,
  request: ReleaseRequest,
): readonly Extent[] => {
  if (request.policy === 'tag-based') return taggedExtents(capacity, region, request);
  const { forced } = request;
  const ranges = locate(region, request.extents, (range) => {
    if (!forced && capacity.touchesPending(range))
      throw refused('cannot release extent with pending DPA range');
    if (forced ? !capacity.isKnown(range) : !capacity.isBacked(range))
      throw refused('cannot release extent with non-existing DPA range');
  });
  return ranges.map((range) => describe(capacity, range));
};

const taggedExtents = (
  capacity: DynamicCapacity,
  region: Region,
  { tag, forced }: ReleaseRequest,
): readonly Extent[] => {
  const digits = readTag(tag);
  const offered = forced ? capacity.pending.flatMap(({ extents }) => extents) : [];
  const found = [...capacity.accepted, ...offered].filter(
    (extent) => extent.tag === digits && overlap(extent, region),
  );
  if (found.length === 0)
    throw refused(`region ${String(region.index)} has no accepted extent with tag '${tag ?? ''}'`);
  return found;
};

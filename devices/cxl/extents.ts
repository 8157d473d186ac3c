import type { DeviceState } from '../core/device.js';
import { fields, integer, list, text, unsigned } from '../core/saved-state.js';
import type { Interval } from '../core/interval-set.js';
import { bytesOfHex, hexOf, viewOf } from './bytes.js';

/** A range of device physical addresses with what the fabric manager said about it. */
export interface Extent extends Interval {
  /** Sixteen bytes as hexadecimal digits. */
  readonly tag: string;
  /** 1 to n within a shared allocation, else 0. */
  readonly sequence: number;
}

/** Pending and accepted extents of a device together. reference/cxl.md §8.1 */
export const EXTENT_LIMIT = 512;

/** The tag of extents that have none. */
export const NO_TAG = '0'.repeat(32);

/** Bytes of an extent in mailbox payloads and event records. CXL 3.1 §8.2.9.2.1.6 table 8-51 */
export const EXTENT_SIZE = 40;

export const packExtent = ({ base, len, tag, sequence }: Extent): Uint8Array => {
  const bytes = new Uint8Array(EXTENT_SIZE);
  const view = viewOf(bytes);
  view.setBigUint64(0, base, true);
  view.setBigUint64(8, len, true);
  bytes.set(bytesOfHex(tag), 16);
  view.setUint16(32, sequence, true);
  return bytes;
};
/** @param bytes at least EXTENT_SIZE from `at` on */
export const unpackExtent = (bytes: Uint8Array, at: number): Extent => {
  const view = viewOf(bytes);
  return {
    base: view.getBigUint64(at, true),
    len: view.getBigUint64(at + 8, true),
    tag: hexOf(bytes.subarray(at + 16, at + 32)),
    sequence: view.getUint16(at + 32, true),
  };
};

const end = ({ base, len }: Interval): bigint => base + len;
export const overlap = (a: Interval, b: Interval): boolean => a.base < end(b) && b.base < end(a);
export const contains = (outer: Interval, inner: Interval): boolean =>
  outer.base <= inner.base && end(inner) <= end(outer);

/** What is left of `extent` without `range`, lower part first. */
export const subtract = (extent: Extent, range: Interval): Extent[] => {
  if (!overlap(extent, range)) return [extent];
  const rest: Extent[] = [];
  if (extent.base < range.base) rest.push({ ...extent, len: range.base - extent.base });
  if (end(range) < end(extent))
    rest.push({ ...extent, base: end(range), len: end(extent) - end(range) });
  return rest;
};

/** What is left of `extents`, each in its place, without any of `ranges`. */
export const withoutRanges = (
  extents: readonly Extent[],
  ranges: readonly Interval[],
): readonly Extent[] =>
  ranges.reduce<readonly Extent[]>(
    (left, range) => left.flatMap((extent) => subtract(extent, range)),
    extents,
  );

/**
 * Takes `range` out: extents that it touches leave their places, and what remains of them comes to
 * the end of the list. reference/cxl.md §8.5
 */
export const cutOut = (extents: readonly Extent[], range: Interval): readonly Extent[] => {
  const touched = extents.filter((extent) => overlap(extent, range));
  const kept = extents.filter((extent) => !overlap(extent, range));
  return [...kept, ...touched.flatMap((extent) => subtract(extent, range))];
};

/** The parts of `extents` that lie inside `ranges`. */
export const partsWithin = (
  extents: readonly Extent[],
  ranges: readonly Interval[],
): readonly Extent[] =>
  ranges.flatMap((range) =>
    extents
      .filter((extent) => overlap(extent, range))
      .map((extent) => {
        const base = extent.base > range.base ? extent.base : range.base;
        const stop = end(extent) < end(range) ? end(extent) : end(range);
        return { ...extent, base, len: stop - base };
      }),
  );

export const saveExtents = (extents: readonly Extent[]): DeviceState[] =>
  extents.map((extent) => ({ ...extent }));
export const savedExtents = list(
  fields({
    base: unsigned(),
    len: unsigned(),
    tag: text(/^[0-9a-f]{32}$/),
    sequence: integer(0xffff),
  }),
  EXTENT_LIMIT,
);

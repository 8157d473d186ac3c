import type { Interval } from '../core/interval-set.js';
import { contains } from './extents.js';

/** Block size of every region at first. */
export const DEFAULT_BLOCK_SIZE = 1n << 21n;
export const MAX_REGIONS = 8;

/** One dynamic capacity region. reference/cxl.md §1.6 */
export interface Region extends Interval {
  readonly index: number;
  /** Bytes; a power of two. */
  blockSize: bigint;
  /** A mask of block sizes: bit n is set when 2^n bytes can be chosen. */
  readonly blockSizeMask: bigint;
  /** Handle of its entry in the CDAT. */
  readonly dsmadHandle: number;
}

/**
 * Regions of equal length one behind the other.
 *
 * @param base DPA behind the static capacity
 * @param firstHandle DSMAD handle of region 0
 */
export const makeRegions = (options: {
  readonly base: bigint;
  readonly size: bigint;
  readonly count: number;
  readonly firstHandle: number;
}): readonly Region[] => {
  const { base, size, count, firstHandle } = options;
  const len = count === 0 ? 0n : size / BigInt(count);
  return Array.from({ length: count }, (_, index) => ({
    index,
    base: base + len * BigInt(index),
    len,
    blockSize: DEFAULT_BLOCK_SIZE,
    blockSizeMask: DEFAULT_BLOCK_SIZE,
    dsmadHandle: firstHandle + index,
  }));
};

/** The region that holds all of a range; undefined when it is in none or crosses regions. */
export const regionOf = (regions: readonly Region[], range: Interval): Region | undefined =>
  regions.find((region) => contains(region, range));

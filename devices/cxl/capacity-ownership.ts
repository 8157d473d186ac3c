import type { Interval } from '../core/interval-set.js';

/** A run of capacity and the heads that may use it. */
export interface OwnedRun extends Interval {
  /** Head numbers, ascending; empty when the run is free. */
  readonly heads: readonly number[];
}

/**
 * Who of several heads may use which dynamic capacity. All ranges are relative to the start of the
 * dynamic capacity, so that heads with different static capacity mean the same blocks.
 *
 * @see reference/cxl.md §9.4
 */
export interface CapacityOwnership {
  /**
   * Takes every block of every range, or none.
   *
   * @returns the refusal as QMP tells it; undefined when all are taken
   */
  claim(ranges: readonly Interval[]): string | undefined;
  /**
   * Takes what a saved state has, all or none: claims it, unless it is about to be handed over by the
   * machine that the state comes from.
   *
   * @returns as `claim`
   */
  restore(ranges: readonly Interval[]): string | undefined;
  /** Gives blocks back that `claim` or `share` took. */
  release(ranges: readonly Interval[]): void;
  /** Whether this head may use every block that the range touches. */
  owns(range: Interval): boolean;
  /** The parts of `range` that no head has, lowest first. */
  unowned(range: Interval): readonly Interval[];
  /** Runs of the same owners over all capacity; undefined when there is only this head. */
  owners(): readonly OwnedRun[] | undefined;
  /**
   * Joins the heads that have the capacity of `tag` already.
   *
   * @returns the shared ranges in order, or the refusal as QMP tells it
   */
  share?(tag: string): readonly Interval[] | string;
  /** These ranges were offered, or are had, under a tag that other heads may join. */
  tagged?(tag: string, ranges: readonly Interval[]): void;
}

/** Ownership where there is only one head: what nobody else can have is never refused. */
export const soleOwnership: CapacityOwnership = {
  claim: () => undefined,
  restore: () => undefined,
  release: () => undefined,
  owns: () => true,
  unowned: (range) => [range],
  owners: () => undefined,
};

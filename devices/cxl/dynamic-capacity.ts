import { refused } from '../../schema/error.js';
import type { DeviceState, StateValue } from '../core/device.js';
import { IntervalSet, type Interval } from '../core/interval-set.js';
import type { CapacityOwnership } from './capacity-ownership.js';
import {
  contains,
  cutOut,
  EXTENT_LIMIT,
  NO_TAG,
  overlap,
  partsWithin,
  withoutRanges,
  type Extent,
} from './extents.js';
import { readCapacity, writeCapacity } from './capacity-saved.js';
import { regionOf, type Region } from './regions.js';
import { RETURN_CODE, type ReturnCode } from './return-code.js';
import { TagReferences } from './tag-references.js';

const HELD = 'a reference to its tag keeps the capacity';
const { SUCCESS, INVALID_INPUT, INVALID_PHYSICAL_ADDRESS, INVALID_EXTENT_LIST } = RETURN_CODE;
const { RESOURCES_EXHAUSTED } = RETURN_CODE;

/** Extents of one add request, until the host has answered. */
export interface PendingGroup {
  /** Above 0; names the group in event records. */
  readonly id: number;
  readonly hostId: number;
  readonly extents: readonly Extent[];
  /** The host has answered in part, and more of its answer is to come. */
  readonly begun: boolean;
}

/** What the host answered; extents with device physical addresses. */
export interface CapacityReports {
  accepted(extents: readonly Extent[]): void;
  /** Refused by the host, or dropped by a reset. */
  rejected(extents: readonly Extent[]): void;
  released(extents: readonly Extent[]): void;
}

export interface DynamicCapacityOptions {
  readonly regions: readonly Region[];
  readonly ownership: CapacityOwnership;
  readonly reports: CapacityReports;
  /** Writes zeros. */
  readonly erase: (range: Interval) => void;
}

/**
 * Which dynamic capacity is offered to the host and which it has: a queue of pending groups and the
 * list of accepted extents.
 *
 * @see reference/cxl.md §8
 */
export class DynamicCapacity {
  readonly regions: readonly Region[];
  readonly ownership: CapacityOwnership;
  readonly references = new TagReferences();
  readonly #options: DynamicCapacityOptions;
  readonly #base: bigint;
  #pending: readonly PendingGroup[] = [];
  #accepted: readonly Extent[] = [];
  #backed = new IntervalSet();
  #offered = new IntervalSet();
  /** Accepted ranges whose bytes go when the host gives them back. */
  #erased = new IntervalSet();
  #generation = 0;
  #nextGroup = 1;

  constructor(options: DynamicCapacityOptions) {
    this.#options = options;
    this.regions = options.regions;
    this.ownership = options.ownership;
    this.#base = options.regions[0]?.base ?? 0n;
  }

  /** Oldest first. */
  get pending(): readonly PendingGroup[] {
    return this.#pending;
  }
  /** In order of acceptance. */
  get accepted(): readonly Extent[] {
    return this.#accepted;
  }
  /** Changes with every change of the accepted list. */
  get generation(): number {
    return this.#generation;
  }
  /** Pending and accepted extents. */
  get tracked(): number {
    return this.#pending.reduce((sum, { extents }) => sum + extents.length, this.#accepted.length);
  }
  get available(): number {
    return EXTENT_LIMIT - this.tracked;
  }

  isBacked(range: Interval): boolean {
    return this.#backed.covers(range);
  }
  /** Whether the host has all of the range, or is offered what it does not have. */
  isKnown(range: Interval): boolean {
    return this.#backed.gaps(range).every((gap) => this.#offered.covers(gap));
  }
  touchesBacked(range: Interval): boolean {
    return this.#backed.overlaps(range);
  }
  touchesPending(range: Interval): boolean {
    return this.#offered.overlaps(range);
  }
  /** Whether no other head took a block that the range touches. */
  isOwn(range: Interval): boolean {
    return this.ownership.owns(this.relative(range));
  }
  /** Whether pending or accepted extents carry the tag. */
  hasTag(tag: string): boolean {
    const has = (extents: readonly Extent[]): boolean => extents.some((e) => e.tag === tag);
    return has(this.#accepted) || this.#pending.some(({ extents }) => has(extents));
  }
  /** Parts of the region that are neither offered nor had by anybody, lowest first. */
  freeRanges(region: Interval): readonly Interval[] {
    const unowned = this.ownership.unowned(this.relative(region));
    return unowned
      .map((range) => ({ base: range.base + this.#base, len: range.len }))
      .flatMap((range) => this.#backed.gaps(range))
      .flatMap((range) => this.#offered.gaps(range))
      .flatMap((range) => this.references.gaps(range));
  }
  /** The range from the start of the dynamic capacity on. */
  relative({ base, len }: Interval): Interval {
    return { base: base - this.#base, len };
  }

  /**
   * Begins with these ranges accepted, which are the host's own already.
   *
   * @param ranges relative to the start of the dynamic capacity, ascending
   * @throws QmpError when they are more than can be tracked
   */
  adopt(ranges: readonly Interval[]): void {
    const extents = ranges.flatMap(({ base, len }) =>
      this.regions.flatMap((region) =>
        new IntervalSet([region]).within({ base: base + this.#base, len }),
      ),
    );
    if (extents.length > EXTENT_LIMIT)
      throw refused(
        `${String(extents.length)} extents cannot be adopted, ${String(EXTENT_LIMIT)} can be tracked`,
      );
    if (extents.length === 0) return;
    this.#replaceAccepted(extents.map((range) => ({ ...range, tag: NO_TAG, sequence: 0 })));
  }

  // Fabric manager.

  /**
   * Claims every block of extents that the caller has checked, and makes them pending.
   *
   * @returns the id of the group, or why another head keeps it from being offered
   */
  offer(
    hostId: number,
    extents: readonly Extent[],
  ): { readonly group: number } | { readonly refusal: string } {
    const standing = this.references.standing(extents);
    if (standing === 'other') return { refusal: HELD };
    if (standing === 'own') {
      this.references.take(extents);
      return { group: this.offerClaimed(hostId, extents) };
    }
    const refusal = this.ownership.claim(extents.map((extent) => this.relative(extent)));
    return refusal === undefined ? { group: this.offerClaimed(hostId, extents) } : { refusal };
  }
  /** Makes extents pending whose blocks are claimed; returns the id of the group. */
  offerClaimed(hostId: number, extents: readonly Extent[]): number {
    const id = this.#nextGroup++;
    this.#pending = [...this.#pending, { id, hostId, extents, begun: false }];
    for (const extent of extents) this.#offered.add(extent);
    return id;
  }

  /** The bytes of these accepted ranges go when the host gives them back. */
  eraseOnRelease(ranges: readonly Interval[]): void {
    for (const range of ranges) this.#erased.add(range);
  }

  /** Frees what is held under a tag that the fabric manager no longer refers to. */
  removeReference(tag: string): void {
    this.#giveBack(this.references.remove(tag));
  }

  /** Takes ranges away at once, from pending groups and from the accepted list. */
  force(ranges: readonly Interval[]): void {
    const gone = [
      ...partsWithin(this.#accepted, ranges),
      ...this.#pending.flatMap(({ extents }) => partsWithin(extents, ranges)),
    ];
    this.#pending = this.#pending
      .map((group) => ({ ...group, extents: withoutRanges(group.extents, ranges) }))
      .filter(({ extents, begun }) => extents.length > 0 || begun);
    for (const range of ranges) this.#offered.delete(range);
    const left = ranges.reduce(cutOut, this.#accepted);
    if (ranges.some((range) => this.#backed.overlaps(range))) this.#replaceAccepted(left);
    this.#giveBack(gone);
  }
  /** Extents tracked if these ranges were taken away. */
  trackedWithout(ranges: readonly Interval[]): number {
    const pending = this.#pending.flatMap(({ extents }) => withoutRanges(extents, ranges));
    return pending.length + ranges.reduce(cutOut, this.#accepted).length;
  }

  // Host.

  /**
   * Add Dynamic Capacity Response: answers the oldest pending group.
   *
   * @param more a further response to the same group follows
   * @see reference/cxl.md §5.7
   */
  respond(entries: readonly Interval[], more: boolean): ReturnCode {
    const [oldest] = this.#pending;
    if (entries.length === 0) {
      if (oldest === undefined) return INVALID_INPUT;
      if (!more) this.#finish(oldest, oldest.extents);
      return SUCCESS;
    }
    const others = this.tracked - (oldest?.extents.length ?? 0);
    if (entries.length + others > EXTENT_LIMIT) return RESOURCES_EXHAUSTED;
    const code = this.checkEntries(entries);
    if (code !== SUCCESS) return code;
    const taken = entries.map((entry) => this.#acceptable(oldest, entry));
    if (oldest === undefined || taken.includes(undefined)) return INVALID_PHYSICAL_ADDRESS;
    const left = withoutRanges(oldest.extents, entries);
    if (more && others + entries.length + left.length > EXTENT_LIMIT) return RESOURCES_EXHAUSTED;
    this.#accept(oldest, taken as Extent[], left, more);
    return SUCCESS;
  }

  #acceptable(oldest: PendingGroup | undefined, entry: Interval): Extent | undefined {
    const offered = oldest?.extents.find((extent) => contains(extent, entry));
    if (offered === undefined || this.#backed.overlaps(entry)) return undefined;
    return { ...offered, ...entry };
  }
  #accept(
    oldest: PendingGroup,
    taken: readonly Extent[],
    left: readonly Extent[],
    more: boolean,
  ): void {
    for (const extent of taken) {
      this.#offered.delete(extent);
      // A mark that an earlier owner of these addresses left must not reach this one.
      this.#erased.delete(extent);
    }
    this.#replaceAccepted([...this.#accepted, ...taken]);
    this.#options.reports.accepted(taken);
    if (!more) this.#finish(oldest, left);
    else this.#pending = [{ ...oldest, extents: left, begun: true }, ...this.#pending.slice(1)];
  }
  /** The oldest group is answered; what the host did not take is free again. */
  #finish(oldest: PendingGroup, left: readonly Extent[]): void {
    this.#pending = this.#pending.filter((group) => group !== oldest);
    this.#drop(left);
  }
  #drop(extents: readonly Extent[]): void {
    for (const extent of extents) this.#offered.delete(extent);
    this.#giveBack(extents);
    if (extents.length > 0) this.#options.reports.rejected(extents);
  }

  /** Release Dynamic Capacity: all or nothing. @see reference/cxl.md §5.7 */
  release(entries: readonly Interval[]): ReturnCode {
    if (entries.length === 0) return INVALID_INPUT;
    const code = this.checkEntries(entries);
    if (code !== SUCCESS) return code;
    if (!entries.every((entry) => this.isBacked(entry) && this.isOwn(entry)))
      return INVALID_PHYSICAL_ADDRESS;
    const left = entries.reduce(cutOut, this.#accepted);
    if (this.tracked - this.#accepted.length + left.length > EXTENT_LIMIT)
      return RESOURCES_EXHAUSTED;
    const gone = partsWithin(this.#accepted, entries);
    this.#replaceAccepted(left);
    this.#giveBack(gone);
    this.#options.reports.released(gone);
    return SUCCESS;
  }

  /** Erases what is to be erased, then lets others have the blocks. */
  #giveBack(released: readonly Extent[]): void {
    const gone = this.references.keep(released);
    for (const extent of gone)
      for (const range of this.#erased.within(extent)) this.#options.erase(range);
    for (const extent of gone) this.#erased.delete(extent);
    this.ownership.release(gone.map((extent) => this.relative(extent)));
  }
  #replaceAccepted(accepted: readonly Extent[]): void {
    this.#accepted = accepted;
    this.#backed = new IntervalSet(accepted);
    this.#generation = (this.#generation + 1) % 2 ** 32;
  }

  /** Rules 5 to 7 of §5.7, for all entries of one payload. */
  checkEntries(entries: readonly Interval[]): ReturnCode {
    for (const [i, entry] of entries.entries()) {
      const region = regionOf(this.regions, entry);
      if (region === undefined) return INVALID_PHYSICAL_ADDRESS;
      const { blockSize } = region;
      if (entry.len === 0n || this.relative(entry).base % blockSize !== 0n)
        return INVALID_EXTENT_LIST;
      if (entry.len % blockSize !== 0n) return INVALID_EXTENT_LIST;
      if (entries.slice(0, i).some((other) => overlap(other, entry))) return INVALID_EXTENT_LIST;
    }
    return SUCCESS;
  }

  // Life.

  /** Drops every pending group: the driver that would answer is gone. */
  dropPending(): void {
    const extents = this.#pending.flatMap((group) => group.extents);
    this.#pending = [];
    this.#drop(extents);
  }
  /** Gives everything back, without telling anybody: the device goes away. */
  abandon(): void {
    const held = this.references.clear();
    const all = [...this.#accepted, ...this.#pending.flatMap(({ extents }) => extents), ...held];
    this.#pending = [];
    this.#offered.clear();
    this.#accepted = [];
    this.#backed.clear();
    this.#giveBack(all);
  }
  /** Forgets everything without giving it back: another device has it. */
  forget(): void {
    this.references.clear();
    this.#pending = [];
    this.#offered.clear();
    this.#erased.clear();
    if (this.#accepted.length > 0) this.#replaceAccepted([]);
  }

  save(): DeviceState {
    const saved = writeCapacity({
      pending: this.#pending,
      accepted: this.#accepted,
      erased: this.#erased.intervals,
      blockSizes: this.regions.map(({ blockSize }) => blockSize),
      generation: this.#generation,
      nextGroup: this.#nextGroup,
    });
    return { ...saved, references: this.references.save() };
  }
  /**
   * Checks a saved state, claims what it has beyond what is had now, and returns what applies it.
   *
   * @throws QmpError when it does not fit, or other heads have some of it; nothing is claimed then
   */
  prepareLoad(state: StateValue | undefined): () => void {
    const { references, ...saved } = readCapacity(state, this.regions, this.references);
    const offered = saved.pending.flatMap(({ extents }) => extents);
    const giveUp = this.#exchange([...saved.accepted, ...offered, ...references.held]);
    return () => {
      giveUp();
      this.regions.forEach((region, i) => {
        region.blockSize = saved.blockSizes[i] ?? region.blockSize;
      });
      this.#pending = saved.pending;
      this.#accepted = saved.accepted;
      this.#backed = new IntervalSet(saved.accepted);
      this.#offered = new IntervalSet(offered);
      this.#erased = new IntervalSet(saved.erased);
      this.#generation = saved.generation;
      this.#nextGroup = saved.nextGroup;
      references.apply();
    };
  }
  /** Claims all of `wanted` that is not had; returns what gives up the rest of what is had. */
  #exchange(wanted: readonly Interval[]): () => void {
    const had = [...this.#backed.intervals, ...this.#offered.intervals, ...this.references.held];
    const gapsOf = (of: readonly Interval[], inside: readonly Interval[]): Interval[] => {
      const known = new IntervalSet(inside);
      return of.flatMap((range) => known.gaps(range)).map((range) => this.relative(range));
    };
    const refusal = this.ownership.restore(gapsOf(wanted, had));
    if (refusal !== undefined) throw refused(`saved dynamic capacity cannot be had: ${refusal}`);
    const surplus = gapsOf(had, wanted);
    return () => this.ownership.release(surplus);
  }
}

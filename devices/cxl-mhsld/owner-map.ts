import type { SharedObject } from '../core/shared-object.js';
import { headsIn, maskOf } from './layout.js';
import type { PoolLayout } from './layout.js';

/** `count` blocks from `first` on. */
export interface BlockRange {
  readonly first: number;
  readonly count: number;
}

/** Equal owner masks in a row, in run-length form. */
export interface OwnerRun extends BlockRange {
  readonly heads: readonly number[];
}

/** What stood in the way of a claim. */
export interface Conflict {
  readonly block: number;
  /** Who had it; empty when they let go of it at once. */
  readonly heads: readonly number[];
}

/**
 * Which head owns which block. The caller holds the map lock while it claims; a claim is right
 * against peers without locks too, which set and clear bits by compare-and-swap at any moment.
 *
 * @see reference/cxl.md §9.5
 */
export class OwnerMap {
  readonly #object: SharedObject;
  readonly #layout: PoolLayout;

  constructor(object: SharedObject, layout: PoolLayout) {
    this.#object = object;
    this.#layout = layout;
  }

  get blocks(): number {
    return this.#layout.blocks;
  }

  /** Whether every block of a range lies on the map. */
  contains({ first, count }: BlockRange): boolean {
    return first >= 0 && count > 0 && first + count <= this.blocks;
  }

  /**
   * Makes free blocks the head's own: all of them or none.
   *
   * @returns what was in the way
   */
  claim(head: number, ranges: readonly BlockRange[]): Conflict | undefined {
    const busy = this.#firstOwned(ranges);
    if (busy !== undefined) return busy;
    const done: BlockRange[] = [];
    for (const range of ranges) {
      const set = this.#object.bytes.claim(this.#at(range.first), range.count, maskOf(head));
      done.push({ first: range.first, count: set });
      if (set === range.count) continue;
      const block = range.first + set;
      const conflict = { block, heads: headsIn(this.mask(block)) };
      for (const own of done) this.release(head, own);
      return conflict;
    }
    return undefined;
  }

  /**
   * Adds the head to the owners of blocks that others own already: all of them or none. Under the
   * map lock owners do not come, but they may go.
   *
   * @returns a block that nobody or the head itself owned
   */
  share(head: number, ranges: readonly BlockRange[]): Conflict | undefined {
    const { bytes } = this.#object;
    const mask = maskOf(head);
    for (const { first, count } of ranges) {
      const own = bytes.findSet(this.#at(first), count, mask);
      const at = own >= 0 ? own : this.#firstFree(first, count);
      if (at >= 0) return { block: at - this.#layout.owners, heads: headsIn(bytes.load(at)) };
    }
    for (const { first, count } of ranges) bytes.setBits(this.#at(first), count, mask);
    return undefined;
  }

  /** Takes the head's bit out of each block. */
  release(head: number, { first, count }: BlockRange): void {
    this.#object.bytes.clearBits(this.#at(first), count, maskOf(head));
  }

  /** Takes the head's bit out of the whole map. */
  releaseAll(head: number): void {
    this.release(head, { first: 0, count: this.blocks });
  }

  /**
   * Makes everything that one head owns another head's, block by block in one step each: at no moment
   * a block has none of the two, or both. Other owners of a block stay. Doing it again, or back, is
   * right after a part of it too.
   */
  move(from: number, to: number): void {
    this.#object.bytes.exchangeBits(this.#at(0), this.blocks, maskOf(from), maskOf(to));
  }

  /** Whether the head owns every block of a range. */
  owns(head: number, { first, count }: BlockRange): boolean {
    return this.#object.bytes.findClear(this.#at(first), count, maskOf(head)) < 0;
  }

  /** The first block of these that the head does not own, and whose it is. */
  missing(head: number, ranges: readonly BlockRange[]): Conflict | undefined {
    const { bytes } = this.#object;
    for (const { first, count } of ranges) {
      const at = bytes.findClear(this.#at(first), count, maskOf(head));
      if (at >= 0) return { block: at - this.#layout.owners, heads: headsIn(bytes.load(at)) };
    }
    return undefined;
  }

  /** Whether the head owns any block at all. */
  ownsAny(head: number): boolean {
    return this.#object.bytes.findSet(this.#at(0), this.blocks, maskOf(head)) >= 0;
  }

  mask(block: number): number {
    return this.#object.bytes.load(this.#at(block));
  }

  /** The whole map in run-length form; free blocks are left out. */
  runs(): OwnerRun[] {
    const masks = this.#object.bytes.copy(this.#at(0), this.blocks);
    const runs: OwnerRun[] = [];
    for (let first = 0; first < masks.length;) {
      const mask = masks[first] ?? 0;
      let end = first + 1;
      while (end < masks.length && masks[end] === mask) end++;
      if (mask !== 0) runs.push({ first, count: end - first, heads: headsIn(mask) });
      first = end;
    }
    return runs;
  }

  #at(block: number): number {
    return this.#layout.owners + block;
  }

  #firstOwned(ranges: readonly BlockRange[]): Conflict | undefined {
    const { bytes } = this.#object;
    for (const { first, count } of ranges) {
      const at = bytes.findSet(this.#at(first), count, 0xff);
      if (at >= 0) return { block: at - this.#layout.owners, heads: headsIn(bytes.load(at)) };
    }
    return undefined;
  }

  #firstFree(first: number, count: number): number {
    const masks = this.#object.bytes.copy(this.#at(first), count);
    const free = masks.indexOf(0);
    return free < 0 ? -1 : this.#at(first) + free;
  }
}

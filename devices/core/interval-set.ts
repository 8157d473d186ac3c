/** A range of addresses; `base` included, `base + len` excluded. */
export interface Interval {
  readonly base: bigint;
  readonly len: bigint;
}

/** Start and end, exclusive. */
type Span = readonly [bigint, bigint];

/**
 * A set of addresses, kept as the fewest disjoint intervals in ascending order. Look-ups take the
 * logarithm of their number.
 */
export class IntervalSet {
  #spans: Span[] = [];

  constructor(intervals: readonly Interval[] = []) {
    for (const interval of intervals) this.add(interval);
  }

  /** Ascending, neither touching nor overlapping. */
  get intervals(): readonly Interval[] {
    return this.#spans.map(([start, end]) => ({ base: start, len: end - start }));
  }
  get isEmpty(): boolean {
    return this.#spans.length === 0;
  }
  /** Addresses in the set. */
  get size(): bigint {
    return this.#spans.reduce((sum, [start, end]) => sum + end - start, 0n);
  }

  /** Whether every address of the interval is in the set; an empty one always is. */
  covers({ base, len }: Interval): boolean {
    if (len <= 0n) return true;
    const span = this.#spans[this.#firstEndingAfter(base)];
    return span !== undefined && span[0] <= base && base + len <= span[1];
  }
  /** Whether some address of the interval is in the set. */
  overlaps({ base, len }: Interval): boolean {
    if (len <= 0n) return false;
    const span = this.#spans[this.#firstEndingAfter(base)];
    return span !== undefined && span[0] < base + len;
  }
  /** The parts of the interval that are in the set. */
  within({ base, len }: Interval): Interval[] {
    const parts: Interval[] = [];
    const end = base + len;
    for (let i = this.#firstEndingAfter(base); i < this.#spans.length; i++) {
      const [from, to] = this.#spans[i] as Span;
      if (from >= end) break;
      const start = from > base ? from : base;
      parts.push({ base: start, len: (to < end ? to : end) - start });
    }
    return parts;
  }
  /** The parts of the interval that are not in the set. */
  gaps({ base, len }: Interval): Interval[] {
    const gaps: Interval[] = [];
    let at = base;
    for (const part of this.within({ base, len })) {
      if (part.base > at) gaps.push({ base: at, len: part.base - at });
      at = part.base + part.len;
    }
    if (at < base + len) gaps.push({ base: at, len: base + len - at });
    return gaps;
  }

  add({ base, len }: Interval): void {
    if (len <= 0n) return;
    let start = base;
    let end = base + len;
    // One that ends where this begins is joined to it.
    const first = this.#firstEndingAfter(base - 1n);
    let after = first;
    for (let span = this.#spans[after]; span !== undefined && span[0] <= end;) {
      if (span[0] < start) start = span[0];
      if (span[1] > end) end = span[1];
      span = this.#spans[++after];
    }
    this.#spans.splice(first, after - first, [start, end]);
  }
  delete({ base, len }: Interval): void {
    if (len <= 0n) return;
    const end = base + len;
    const first = this.#firstEndingAfter(base);
    const rest: Span[] = [];
    let after = first;
    for (let span = this.#spans[after]; span !== undefined && span[0] < end;) {
      if (span[0] < base) rest.push([span[0], base]);
      if (span[1] > end) rest.push([end, span[1]]);
      span = this.#spans[++after];
    }
    this.#spans.splice(first, after - first, ...rest);
  }
  clear(): void {
    this.#spans = [];
  }

  /** Index of the first span whose end lies above `address`. */
  #firstEndingAfter(address: bigint): number {
    let low = 0;
    let high = this.#spans.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#spans[middle] as Span)[1] > address) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

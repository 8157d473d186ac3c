interface Range {
  readonly base: bigint;
  /** First address behind it. */
  readonly end: bigint;
}

const alignUp = (value: bigint, to: bigint): bigint => ((value + to - 1n) / to) * to;

/** Addresses that may be given away: a range, and what of it is taken. */
export class RangePool {
  readonly #whole: Range;
  /** Ascending, apart from each other. */
  #taken: Range[] = [];

  /** @param end first address behind the pool */
  constructor(base: bigint, end: bigint) {
    this.#whole = { base, end };
  }

  /** Takes a range that is in use; false when it is not all free. */
  reserve(base: bigint, size: bigint): boolean {
    const end = base + size;
    if (base < this.#whole.base || end > this.#whole.end) return false;
    if (this.#taken.some((other) => base < other.end && other.base < end)) return false;
    this.#take({ base, end });
    return true;
  }

  /** Takes the lowest free range; undefined when there is none. */
  allocate(size: bigint, align: bigint): bigint | undefined {
    let base = alignUp(this.#whole.base, align);
    for (const taken of this.#taken) {
      if (base + size <= taken.base) break;
      if (taken.end > base) base = alignUp(taken.end, align);
    }
    if (base + size > this.#whole.end) return undefined;
    this.#take({ base, end: base + size });
    return base;
  }

  #take(range: Range): void {
    this.#taken = [...this.#taken, range].sort((a, b) => (a.base < b.base ? -1 : 1));
  }
}

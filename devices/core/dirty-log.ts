/** Bytes of a page in every dirty log. */
export const DIRTY_PAGE = 4096;
const PAGE_BITS = 12;
const ALL_BITS = -1;

/** Adjacent dirty pages, in bytes. */
export interface DirtyRun {
  readonly offset: number;
  readonly length: number;
}

/** Tells of every change of a piece of memory. */
export interface Watched {
  /** Length in bytes. */
  readonly size: bigint;
  onWrite(hook: (offset: bigint, len: number) => void): () => void;
}

const bitsIn = (word: number): number => {
  let bits = word - ((word >>> 1) & 0x5555_5555);
  bits = (bits & 0x3333_3333) + ((bits >>> 2) & 0x3333_3333);
  return (((bits + (bits >>> 4)) & 0x0f0f_0f0f) * 0x0101_0101) >>> 24;
};

/** Place of the lowest bit that is set. */
const lowestOf = (word: number): number => 31 - Math.clz32(word & -word);
/** How many bits are set from `bit` on without a gap. */
const onesAt = (word: number, bit: number): number => {
  const gaps = ~(word >> bit);
  return gaps === 0 ? 32 - bit : Math.min(lowestOf(gaps), 32 - bit);
};
const bitsOf = (first: number, count: number): number =>
  count === 32 ? ALL_BITS : ((1 << count) - 1) << first;

/**
 * The pages of one piece of memory that changed since they were last taken, one bit for each.
 * Memory of up to 2^53 bytes.
 */
export class DirtyLog {
  readonly size: number;
  readonly #words: Int32Array;
  readonly #pages: number;
  readonly #unhook: () => void;
  #dirty = 0;

  /** Nothing is dirty at first. */
  constructor(memory: Watched) {
    this.size = Number(memory.size);
    this.#pages = Math.ceil(this.size / DIRTY_PAGE);
    this.#words = new Int32Array(Math.ceil(this.#pages / 32));
    this.#unhook = memory.onWrite((offset, len) => this.mark(Number(offset), len));
  }

  /** Number of dirty pages. */
  get dirtyPages(): number {
    return this.#dirty;
  }
  isDirty(page: number): boolean {
    return ((this.#words[page >>> 5] ?? 0) & (1 << (page & 31))) !== 0;
  }

  /** Makes every page dirty that has a byte of the range. */
  mark(offset: number, length: number): void {
    if (length <= 0) return;
    const last = pageOf(offset + length - 1);
    for (let page = pageOf(offset); page <= last;) {
      const index = page >>> 5;
      const first = page & 31;
      const count = Math.min(32 - first, last - page + 1);
      const mask = bitsOf(first, count);
      const word = this.#words[index] ?? 0;
      const added = mask & ~word;
      if (added !== 0) {
        this.#words[index] = word | mask;
        this.#dirty += bitsIn(added);
      }
      page += count;
    }
  }
  markAll(): void {
    this.mark(0, this.size);
  }

  /** Cleans every page. */
  clear(): void {
    this.#words.fill(0);
    this.#dirty = 0;
  }

  /**
   * Takes dirty pages, lowest first, and cleans them; adjacent pages make one run, and the last one
   * ends where the memory does.
   *
   * @param from  page at which to begin
   * @param limit most pages to take
   */
  take(from = 0, limit = Infinity): DirtyRun[] {
    const runs: DirtyRun[] = [];
    const words = this.#words;
    let left = Math.min(limit, this.#dirty);
    let start = 0;
    let end = 0;
    let outside = ALL_BITS << (from & 31);
    for (let index = from >>> 5; left > 0 && index < words.length; index++, outside = ALL_BITS) {
      const word = words[index] ?? 0;
      if (word === 0) continue;
      let rest = word & outside;
      while (rest !== 0 && left > 0) {
        const bit = lowestOf(rest);
        const count = Math.min(onesAt(rest, bit), left);
        const page = index * 32 + bit;
        if (page !== end) {
          if (end > start) runs.push(this.#run(start, end));
          start = page;
        }
        end = page + count;
        left -= count;
        rest &= ~bitsOf(bit, count);
      }
      const kept = (word & ~outside) | rest;
      this.#dirty -= bitsIn(word & ~kept);
      words[index] = kept;
    }
    if (end > start) runs.push(this.#run(start, end));
    return runs;
  }

  #run(start: number, end: number): DirtyRun {
    const offset = start * DIRTY_PAGE;
    return { offset, length: Math.min(end * DIRTY_PAGE, this.size) - offset };
  }

  /** Stops watching. */
  close(): void {
    this.#unhook();
  }
}

/** Number of the page that holds a byte; offsets may be beyond 2^32. */
const pageOf = (offset: number): number =>
  offset < 2 ** 31 ? offset >>> PAGE_BITS : Math.floor(offset / DIRTY_PAGE);

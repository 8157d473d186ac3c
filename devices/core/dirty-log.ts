/** Bytes of a page in every dirty log. */
export const DIRTY_PAGE = 4096;
const PAGE_BITS = 12;
const ALL_BITS = 0xffff_ffff;

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

/**
 * The pages of one piece of memory that changed since they were last taken, one bit for each.
 * Memory of up to 2^53 bytes.
 */
export class DirtyLog {
  readonly size: number;
  readonly #words: Uint32Array;
  readonly #pages: number;
  readonly #unhook: () => void;
  #dirty = 0;

  /** Nothing is dirty at first. */
  constructor(memory: Watched) {
    this.size = Number(memory.size);
    this.#pages = Math.ceil(this.size / DIRTY_PAGE);
    this.#words = new Uint32Array(Math.ceil(this.#pages / 32));
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
      const mask = count === 32 ? ALL_BITS : ((1 << count) - 1) << first;
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
    let left = limit;
    let start = -1;
    let end = -1;
    const flush = (): void => {
      if (start >= 0) runs.push(this.#run(start, end));
    };
    for (let page = this.#next(from); page < this.#pages && left > 0; page = this.#next(page + 1)) {
      this.#words[page >>> 5] = (this.#words[page >>> 5] ?? 0) & ~(1 << (page & 31));
      this.#dirty--;
      left--;
      if (page === end) {
        end++;
        continue;
      }
      flush();
      start = page;
      end = page + 1;
    }
    flush();
    return runs;
  }

  /** First dirty page from `page` on, or the number of pages. */
  #next(page: number): number {
    for (let at = page; at < this.#pages;) {
      const rest = (this.#words[at >>> 5] ?? 0) >>> (at & 31);
      if (rest !== 0) return at + (31 - Math.clz32(rest & -rest));
      at = (at & ~31) + 32;
    }
    return this.#pages;
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

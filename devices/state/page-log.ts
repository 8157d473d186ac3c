import { DIRTY_PAGE } from '../core/dirty-log.js';
import { StateError } from './errno.js';

const PAGE_BITS = 12n;
/** Pages of one leaf: 128 MiB of addresses in 4 KiB. */
const LEAF_PAGES = 32_768;
const LEAF_WORDS = LEAF_PAGES / 32;

/**
 * The pages of an address space that were written, 4096 bytes each. Takes as much room as there are
 * stretches of 128 MiB with a written page.
 */
export class PageLog {
  readonly #leaves = new Map<number, Uint32Array>();

  /** Number of logged pages. */
  get count(): number {
    let count = 0;
    for (const leaf of this.#leaves.values())
      for (const word of leaf) for (let rest = word; rest !== 0; rest &= rest - 1) count++;
    return count;
  }

  /** Logs every page that has a byte of the range. */
  mark(address: bigint, length: number): void {
    if (length <= 0) return;
    const last = Number((address + BigInt(length) - 1n) >> PAGE_BITS);
    for (let page = Number(address >> PAGE_BITS); page <= last; page++) {
      const leaf = this.#leaf(Math.floor(page / LEAF_PAGES));
      const within = page % LEAF_PAGES;
      leaf[within >>> 5] = (leaf[within >>> 5] ?? 0) | (1 << (within & 31));
    }
  }
  clear(): void {
    this.#leaves.clear();
  }

  /**
   * The logged pages of a range: bit n of the result (byte n/8, bit n%8) is page `first` + n. Whole
   * 64-bit words; bits past the range are 0.
   *
   * @param forget whether they are logged no more
   */
  bitmap(first: number, pages: number, forget: boolean): Uint8Array {
    const bits = new Uint8Array(Math.ceil(pages / 64) * 8);
    for (const [index, leaf] of this.#leaves) {
      const base = index * LEAF_PAGES;
      const from = Math.max(first, base) - base;
      const to = Math.min(first + pages, base + LEAF_PAGES) - base;
      for (let at = from; at < to; at++) {
        const word = leaf[at >>> 5] ?? 0;
        // Whole empty words at once.
        if (word === 0) at |= 31;
        else if ((word & (1 << (at & 31))) !== 0) {
          const bit = base + at - first;
          bits[bit >>> 3] = (bits[bit >>> 3] ?? 0) | (1 << (bit & 7));
          if (forget) leaf[at >>> 5] = word & ~(1 << (at & 31));
        }
      }
    }
    return bits;
  }

  #leaf(index: number): Uint32Array {
    let leaf = this.#leaves.get(index);
    if (leaf === undefined) {
      leaf = new Uint32Array(LEAF_WORDS);
      this.#leaves.set(index, leaf);
    }
    return leaf;
  }
}

/** @throws StateError EINVAL unless `start` is the address of a page */
export const checkStart = (start: bigint): void => {
  if (start % BigInt(DIRTY_PAGE) !== 0n)
    throw new StateError(
      'EINVAL',
      `address ${String(start)} is no multiple of ${String(DIRTY_PAGE)}`,
    );
};

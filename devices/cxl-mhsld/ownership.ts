import { QmpError } from '../../schema/error.js';
import type { Log } from '../core/device.js';
import type { Interval } from '../core/interval-set.js';
import type { CapacityOwnership, OwnedRun } from '../cxl/capacity-ownership.js';
import { BLOCK_SIZE } from './layout.js';
import type { BlockRange, Conflict } from './owner-map.js';
import type { Pool } from './pool.js';

/** As QEMU's cxl-mhsld answers cxl-add-dynamic-capacity; reference/cxl.md §7.2 rule 11. */
const NOT_RESERVED = 'mhsld is enabled and extent reservation failed';

const toBlocks = ({ base, len }: Interval): BlockRange => {
  const first = base / BLOCK_SIZE;
  return { first: Number(first), count: Number((base + len - 1n) / BLOCK_SIZE - first) + 1 };
};
const toInterval = ({ first, count }: BlockRange): Interval => ({
  base: BigInt(first) * BLOCK_SIZE,
  len: BigInt(count) * BLOCK_SIZE,
});

/**
 * Ownership of dynamic capacity by heads: a byte of address belongs to its block, and the pool says
 * whose that is.
 *
 * @see reference/cxl.md §9.4, §9.5
 */
export class PoolOwnership implements CapacityOwnership {
  readonly #pool: Pool;
  readonly #log: Log;
  #lastConflict: Conflict | undefined;

  constructor(pool: Pool, log: Log) {
    this.#pool = pool;
    this.#log = log;
  }

  /** What was in the way of the last claim that failed. */
  get lastConflict(): Conflict | undefined {
    return this.#lastConflict;
  }

  claim(ranges: readonly Interval[]): string | undefined {
    return this.#take(() => this.#pool.claim(ranges.map(toBlocks)));
  }
  restore(ranges: readonly Interval[]): string | undefined {
    return this.#take(() => this.#pool.restore(ranges.map(toBlocks)));
  }
  #take(run: () => Conflict | undefined): string | undefined {
    return refusalOf(() => {
      const conflict = run();
      return conflict === undefined ? undefined : this.#refuse(conflict);
    });
  }

  share(tag: string): readonly Interval[] | string {
    return refusalOf(() => {
      const joined = this.#pool.share(tag);
      if (joined === 'unknown') return `no head of the pool has capacity with tag ${tag}`;
      return 'block' in joined ? this.#refuse(joined) : joined.map(toInterval);
    });
  }

  tagged(tag: string, ranges: readonly Interval[]): void {
    const refusal = refusalOf(() =>
      this.#pool.tag(tag, ranges.map(toBlocks)) ? undefined : 'there is no room for more tags',
    );
    if (refusal !== undefined)
      this.#log.warn({ tag, reason: refusal }, 'capacity cannot be shared by its tag');
  }

  release(ranges: readonly Interval[]): void {
    this.#pool.release(ranges.map(toBlocks));
  }

  owns(range: Interval): boolean {
    const blocks = toBlocks(range);
    return blocks.count === 1 ? this.#pool.ownsBlock(blocks.first) : this.#pool.owns(blocks);
  }

  unowned({ base, len }: Interval): readonly Interval[] {
    const free: Interval[] = [];
    let at = base;
    const end = base + len;
    for (const run of this.owners()) {
      if (run.base >= end) break;
      if (run.base > at) free.push({ base: at, len: run.base - at });
      if (run.base + run.len > at) at = run.base + run.len;
    }
    if (at < end) free.push({ base: at, len: end - at });
    return free;
  }

  owners(): readonly OwnedRun[] {
    return this.#pool.owners().map((run) => ({ ...toInterval(run), heads: run.heads }));
  }

  #refuse(conflict: Conflict): string {
    this.#lastConflict = conflict;
    this.#log.info({ ...conflict }, 'capacity is owned by other heads');
    return NOT_RESERVED;
  }
}

/** The result of `run`; what it refuses is told as text. */
const refusalOf = <T>(run: () => T): T | string => {
  try {
    return run();
  } catch (error) {
    if (error instanceof QmpError) return error.message;
    throw error;
  }
};

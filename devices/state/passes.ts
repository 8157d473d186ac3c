import { DIRTY_PAGE, DirtyLog, type DirtyRun } from '../core/dirty-log.js';
import { writeContainer } from './container.js';
import { StateError } from './errno.js';
import type { StateMemory } from './memory.js';

/** Dirty pages as they were when they were frozen. */
interface Pass {
  readonly runs: readonly DirtyRun[];
  readonly stream: Uint8Array;
  /** Positions of the chunks that were fetched. */
  readonly fetched: Set<number>;
  /** Every byte was fetched. */
  whole: boolean;
}

const bytesOf = (runs: readonly DirtyRun[]): number =>
  runs.reduce((sum, { length }) => sum + length, 0);

/**
 * The dirty pages of device memory during one session, frozen pass by pass. A pass is a copy: what
 * is written later belongs to the next one. It copies a limited number of bytes; pages beyond stay
 * dirty for the next passes.
 *
 * @see reference/vfio-device-state.md §3, §5
 */
export class Passes {
  readonly memory: StateMemory;
  readonly #log: DirtyLog;
  readonly #pagesPerPass: number;
  #number: number;
  #pass: Pass | undefined;
  /** Where the last pass stopped for being full. */
  #cursor = 0;

  /**
   * Every page is dirty at first.
   *
   * @param limit most bytes of memory in one pass
   * @param number of the last pass before
   */
  constructor(memory: StateMemory, limit: number, number = 0) {
    this.memory = memory;
    this.#log = new DirtyLog(memory);
    this.#log.markAll();
    this.#pagesPerPass = Math.max(1, Math.floor(limit / DIRTY_PAGE));
    this.#number = number;
  }

  /** Of the last pass; 0 before the first. */
  get number(): number {
    return this.#number;
  }
  get dirtyPages(): number {
    return this.#log.dirtyPages;
  }
  isDirty(page: number): boolean {
    return this.#log.isDirty(page);
  }
  /** Bytes of memory that passes have yet to bring: dirty ones, and those of a pass not wholly fetched. */
  get pending(): number {
    return this.#dirtyBytes + (this.#pass?.whole === false ? bytesOf(this.#pass.runs) : 0);
  }

  /** The last page may be shorter than others. */
  get #dirtyBytes(): number {
    const { size } = this.#log;
    const short = -size & (DIRTY_PAGE - 1);
    const last = Math.ceil(size / DIRTY_PAGE) - 1;
    return this.dirtyPages * DIRTY_PAGE - (this.isDirty(last) ? short : 0);
  }

  /**
   * Freezes the dirty pages; those of a pass that was not wholly fetched are dirty again before.
   *
   * @returns length of the new pass, 0 when nothing is dirty
   * @throws StateError EIO when the bytes are gone; they stay dirty
   */
  take(): number {
    if (this.#pass?.whole === false) this.#putBack(this.#pass.runs);
    this.#pass = undefined;
    const runs = this.#takeRuns();
    if (runs.length === 0) return 0;
    const { memory } = this;
    let there = true;
    const capacity = this.#log.size;
    const header = { kind: 'memory', capacity, logging: true, pass: this.#number + 1 } as const;
    const stream = writeContainer(header, runs, (offset, into) => {
      there = memory.read(offset, into) && there;
    });
    if (!there) {
      this.#putBack(runs);
      throw new StateError('EIO', 'bytes of the device memory are gone');
    }
    this.#number++;
    this.#pass = { runs, stream, fetched: new Set(), whole: false };
    return stream.length;
  }

  /** The stream of the last pass, undefined when none was taken since the last one was empty. */
  get stream(): Uint8Array | undefined {
    return this.#pass?.stream;
  }
  /** Notes that the chunk of `length` bytes at `pos` was fetched. */
  fetched(pos: number, length: number): void {
    const pass = this.#pass;
    if (pass === undefined || pass.whole) return;
    pass.fetched.add(pos);
    pass.whole = pass.fetched.size === Math.ceil(pass.stream.length / length);
  }

  /** Ends the session. */
  close(): void {
    this.#log.close();
    this.#pass = undefined;
  }

  /** As many as one pass takes, from where the last one stopped; so that each page has its turn. */
  #takeRuns(): DirtyRun[] {
    const before = this.#log.dirtyPages;
    const runs = this.#log.take(this.#cursor, this.#pagesPerPass);
    const left = this.#pagesPerPass - (before - this.#log.dirtyPages);
    if (left > 0 && this.#cursor > 0) runs.push(...this.#log.take(0, left));
    const last = runs.at(-1);
    const full = this.#log.dirtyPages > 0 && last !== undefined;
    this.#cursor = full ? Math.ceil((last.offset + last.length) / DIRTY_PAGE) : 0;
    return runs;
  }
  #putBack(runs: readonly DirtyRun[]): void {
    for (const { offset, length } of runs) this.#log.mark(offset, length);
  }
}

import type { DeviceState, StateValue } from '../core/device.js';
import { fields, flag, list } from '../core/saved-state.js';
import type { Interval } from '../core/interval-set.js';
import { viewOf } from './bytes.js';
import {
  LINE,
  writePoison,
  POISON_OVERFLOW_LIMIT,
  savedPoison,
  type Poison,
  type PoisonList,
} from './poison-list.js';

/** Nanoseconds for each line. reference/cxl.md §5.6 */
const LINE_NS = 500n;
const NS_PER_MS = 1_000_000n;

/** Search of the media for poison, and what the last one found. CXL 3.1 §8.2.9.9.4.5 */
export class MediaScan {
  readonly #poison: PoisonList;
  readonly #isRunning: () => boolean;
  #results: readonly Poison[] = [];
  #hasRun = false;

  constructor(poison: PoisonList, isRunning: () => boolean) {
    this.#poison = poison;
    this.#isRunning = isRunning;
  }

  get running(): boolean {
    return this.#isRunning();
  }
  runtimeMs({ len }: Interval): number {
    const ms = ((len / LINE) * LINE_NS) / NS_PER_MS;
    return ms < 1n ? 1 : Number(BigInt.asUintN(32, ms));
  }

  start(): void {
    this.#results = [];
  }
  finish(range: Interval): void {
    this.#results = this.#poison.scan(range);
    this.#hasRun = true;
  }
  /** The next records, which are then forgotten; undefined when nothing was scanned since reset. */
  takeResults(limit: number): Uint8Array | undefined {
    if (!this.#hasRun) return undefined;
    const taken = this.#results.slice(0, limit);
    this.#results = this.#results.slice(limit);
    const output = writePoison(taken);
    const view = viewOf(output);
    view.setUint8(16, this.#results.length > 0 ? 1 : 0);
    view.setUint16(18, taken.length, true);
    return output;
  }

  reset(): void {
    this.#results = [];
    this.#hasRun = false;
  }
  save(): DeviceState {
    return { hasRun: this.#hasRun, results: this.#results.map((poison) => ({ ...poison })) };
  }
  /** Checks a saved state and returns what applies it. @throws QmpError when it does not fit */
  prepareLoad(state: StateValue | undefined): () => void {
    const { hasRun, results } = savedScan(state, 'saved media scan');
    return () => {
      this.#hasRun = hasRun;
      this.#results = results;
    };
  }
}

const savedScan = fields({ hasRun: flag, results: list(savedPoison, POISON_OVERFLOW_LIMIT) });

import { refused } from '../../schema/error.js';
import type { DeviceState, StateValue } from '../core/device.js';
import { fields, integer, list, unsigned, type Reader } from '../core/saved-state.js';
import type { Interval } from '../core/interval-set.js';
import { viewOf } from './bytes.js';
import { overlap } from './extents.js';

/** Poison is kept in cache lines. */
export const LINE = 64n;
/** Entries that software can list; more set the overflow. */
export const POISON_LIMIT = 256;
/** Entries that wait behind a full list for a scan of the media; more are refused. */
export const POISON_OVERFLOW_LIMIT = 4096;

/** Header and records of the lists that software reads. CXL 3.1 §8.2.9.9.4.1 */
const LIST_HEADER = 32;
const RECORD_SIZE = 16;

/** Where poison comes from. CXL 3.1 §8.2.9.9.4.1 table 8-140 */
export const POISON_SOURCE = { EXTERNAL: 1, INTERNAL: 2, INJECTED: 3 } as const;
export type PoisonSource = (typeof POISON_SOURCE)[keyof typeof POISON_SOURCE];

export interface Poison extends Interval {
  readonly source: PoisonSource;
}

/**
 * Poisoned ranges of the media, newest first.
 *
 * @see reference/cxl.md §5.6
 */
export class PoisonList {
  #entries: readonly Poison[] = [];
  /** What did not fit, newest first. */
  #overflowed: readonly Poison[] = [];
  #overflowTime = 0n;

  get entries(): readonly Poison[] {
    return this.#entries;
  }
  get isFull(): boolean {
    return this.#entries.length >= POISON_LIMIT;
  }
  /** Device time of the first entry that did not fit; undefined without overflow. */
  get overflowTime(): bigint | undefined {
    return this.#overflowed.length > 0 ? this.#overflowTime : undefined;
  }

  touches(range: Interval): boolean {
    if (this.#entries.length === 0 && this.#overflowed.length === 0) return false;
    const hit = (poison: Poison): boolean => overlap(poison, range);
    return this.#entries.some(hit) || this.#overflowed.some(hit);
  }

  /** @returns false when there is room neither in the list nor behind it */
  add(poison: Poison, now: bigint): boolean {
    if (!this.isFull) {
      this.#entries = [poison, ...this.#entries];
      return true;
    }
    if (this.#overflowed.length >= POISON_OVERFLOW_LIMIT) return false;
    if (this.#overflowed.length === 0) this.#overflowTime = now;
    this.#overflowed = [poison, ...this.#overflowed];
    return true;
  }

  /** Takes a range out; entries around it are split, and what finds no room waits. */
  remove(range: Interval, now: bigint): void {
    this.#overflowed = this.#overflowed.flatMap((poison) => split(poison, range));
    const left = this.#entries.flatMap((poison) => split(poison, range));
    this.#entries = left.slice(0, POISON_LIMIT);
    for (const poison of left.slice(POISON_LIMIT)) this.add(poison, now);
  }

  /** Finds what waits behind the list inside `range`; it joins the list as far as there is room. */
  scan(range: Interval): readonly Poison[] {
    const found = this.#overflowed.filter((poison) => overlap(poison, range));
    const room = found.slice(0, Math.max(POISON_LIMIT - this.#entries.length, 0));
    this.#overflowed = this.#overflowed.filter((poison) => !room.includes(poison));
    this.#entries = [...room, ...this.#entries];
    return found;
  }

  save(): DeviceState {
    const plain = (poison: Poison): DeviceState => ({ ...poison });
    return {
      entries: this.#entries.map(plain),
      overflowed: this.#overflowed.map(plain),
      overflowTime: this.#overflowTime,
    };
  }
  /** Checks a saved state and returns what applies it. @throws QmpError when it does not fit */
  prepareLoad(state: StateValue | undefined): () => void {
    const saved = savedList(state, 'saved poison list');
    return () => {
      this.#entries = saved.entries;
      this.#overflowed = saved.overflowed;
      this.#overflowTime = saved.overflowTime;
    };
  }
}

const split = (poison: Poison, { base, len }: Interval): Poison[] => {
  const end = poison.base + poison.len;
  if (base >= end || base + len <= poison.base) return [poison];
  const rest: Poison[] = [];
  if (poison.base < base) rest.push({ ...poison, len: base - poison.base });
  if (base + len < end) rest.push({ ...poison, base: base + len, len: end - base - len });
  return rest;
};

/** Whole lines from the start of one on. */
const lines: Reader<bigint> = (value, place) => {
  const count = unsigned()(value, place);
  if (count % LINE === 0n) return count;
  throw refused(`${place} must be a multiple of ${String(LINE)}`);
};
/** Of poison, as it is saved. */
export const savedPoison: Reader<Poison> = fields({
  base: lines,
  len: lines,
  source: (value, place) => integer(3, 1)(value, place) as PoisonSource,
});
const savedList = fields({
  entries: list(savedPoison, POISON_LIMIT),
  overflowed: list(savedPoison, POISON_OVERFLOW_LIMIT),
  overflowTime: unsigned(),
});

/** Writes poison records behind a header of 32 bytes. CXL 3.1 §8.2.9.9.4.1 table 8-140 */
export const writePoison = (entries: readonly Poison[]): Uint8Array => {
  const output = new Uint8Array(LIST_HEADER + RECORD_SIZE * entries.length);
  const view = viewOf(output);
  entries.forEach(({ base, len, source }, i) => {
    const at = LIST_HEADER + RECORD_SIZE * i;
    view.setBigUint64(at, base | BigInt(source), true);
    view.setUint32(at + 8, Number(len / LINE), true);
  });
  return output;
};
/** Records that an answer of so many bytes holds. */
export const poisonRecords = (payloadSize: number): number =>
  Math.floor((payloadSize - LIST_HEADER) / RECORD_SIZE);

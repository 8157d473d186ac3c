import { EXTENT_LIMIT, overlap, type Extent } from '../../devices/cxl/extents.js';
import { regionOf } from '../../devices/cxl/regions.js';
import { viewOf } from '../../devices/cxl/bytes.js';
import { capacityInfo } from '../../devices/cxl/capacity-info.js';
import type { Dpa } from '../../devices/cxl/addresses.js';
import type { Type3Bench } from './type3.js';
import { MiB } from './type3.js';

export const BLOCK = 2n * MiB;

/** What a dynamic capacity record must say. */
export interface ExpectedRecord {
  readonly type: number;
  readonly dpa: bigint;
  readonly len: bigint;
  readonly more: number;
  /** Pending group that it announces; 0 for others. */
  readonly group: number;
}

/** Throws with `what` unless it holds. */
export const check = (holds: boolean, what: string): void => {
  if (!holds) throw new Error(`invariant broken: ${what}`);
};
const same = (a: unknown, b: unknown, what: string): void =>
  check(text(a) === text(b), `${what}: ${text(a)} is not ${text(b)}`);
const text = (value: unknown): string =>
  JSON.stringify(value, (_, v: unknown) => (typeof v === 'bigint' ? `${String(v)}n` : v));

/** Numbers of the blocks that ranges cover. */
export const blocksOf = (ranges: readonly { base: bigint; len: bigint }[]): number[] =>
  ranges
    .flatMap(({ base, len }) =>
      Array.from({ length: Number(len / BLOCK) }, (_, i) => Number(base / BLOCK) + i),
    )
    .sort((a, b) => a - b);

const readBlock = (b: Type3Bench, block: number): number | undefined => {
  const byte = new Uint8Array(1);
  const fault = b.device.readDpa((BigInt(block) * BLOCK + 7n) as Dpa, byte);
  return fault === undefined ? byte[0] : undefined;
};
export const writeBlock = (b: Type3Bench, block: number, value: number): boolean => {
  const address = (BigInt(block) * BLOCK + 7n) as Dpa;
  return b.device.writeDpa(address, Uint8Array.of(value)) === undefined;
};

/** Reads whatever records wait, clears them, and compares them with what was expected. */
export const drain = (b: Type3Bench, expected: ExpectedRecord[]): void => {
  for (let { list } = b.records(); list.length > 0; { list } = b.records()) {
    for (const { type, dpa, len, more } of list) {
      const next = expected.shift();
      const shown = { type, dpa, len, more };
      same(shown, next && { ...shown, ...pick(next) }, '9: records come in order, none lost');
    }
    b.clear(4, ...list.map(({ handle }) => handle));
  }
  same(expected, [], '9: no record is lost');
};
const pick = ({ type, dpa, len, more }: ExpectedRecord) => ({ type, dpa, len, more });

/**
 * Checks what must hold between commands: numbers as in reference/cxl.md §8.8.
 *
 * @param bytes what each accepted block must read as
 */
export const checkInvariants = (b: Type3Bench, bytes: ReadonlyMap<number, number>): void => {
  const { capacity } = b;
  const { accepted, regions } = capacity;
  const pending = capacity.pending.flatMap(({ extents }) => extents);
  const total = Number(b.state.media.size / BLOCK);
  const backed = Array.from({ length: total }, (_, i) => i).filter(
    (block) => readBlock(b, block) !== undefined,
  );
  same(backed, blocksOf(accepted), '1: what can be read is what was accepted');
  for (const extent of accepted) {
    const region = regionOf(regions, extent);
    const aligned = extent.base % BLOCK === 0n && extent.len % BLOCK === 0n && extent.len > 0n;
    check(region !== undefined && aligned, '2: accepted extents are whole blocks of one region');
  }
  checkDisjoint([...accepted, ...pending], '2, 3: extents are disjoint');
  const tracked = accepted.length + pending.length;
  check(tracked <= EXTENT_LIMIT && capacity.tracked === tracked, '4: tracked extents');
  checkReports(b, EXTENT_LIMIT - tracked);
  for (const [block, value] of bytes)
    same(readBlock(b, block), value, `10: block ${String(block)} reads what was written`);
  const records = b.records().list.length > 0;
  same((b.read(0x80, 8) & 0x10n) !== 0n, records, '15: event status');
  check(
    capacity.pending.every(({ extents, begun }) => extents.length > 0 || begun),
    'no group is empty but one whose answer has begun',
  );
};

const checkDisjoint = (extents: readonly Extent[], what: string): void => {
  const sorted = [...extents].sort((a, b) => (a.base < b.base ? -1 : 1));
  sorted.slice(1).forEach((extent, i) => {
    const before = sorted[i];
    check(before === undefined || !overlap(before, extent), what);
  });
};

/** Every report tells the same. */
const checkReports = (b: Type3Bench, available: number): void => {
  const { fabric } = b.state;
  same(b.available(), available, '4: available in 4800h');
  const config = fabric.execute(0x5601, Uint8Array.of(0, 0, 0, 0)).output;
  same(viewOf(config).getUint32(8, true), available, '4: available in 5601h');
  const info = capacityInfo(b.capacity);
  same(info['extents-available'], available, '4: available over QMP');
  const listed: string[] = [];
  const count = (start: number): Uint8Array => {
    const input = new Uint8Array(12);
    viewOf(input).setUint32(4, 1000, true);
    viewOf(input).setUint32(8, start, true);
    return fabric.execute(0x5603, input).output;
  };
  for (;;) {
    const output = count(listed.length);
    const view = viewOf(output);
    const returned = view.getUint32(8, true);
    same(view.getUint32(12, true), b.capacity.accepted.length, '14: total in 5603h');
    same(view.getUint32(16, true), b.capacity.generation, '14: generation in 5603h');
    for (let i = 0; i < returned; i++)
      listed.push(Buffer.from(output.subarray(24 + 40 * i, 64 + 40 * i)).toString('hex'));
    if (returned === 0) break;
  }
  const host: string[] = [];
  for (;;) {
    const input = new Uint8Array(8);
    viewOf(input).setUint32(0, 1000, true);
    viewOf(input).setUint32(4, host.length, true);
    const { output } = b.state.host.execute(0x4801, input);
    const returned = viewOf(output).getUint32(0, true);
    for (let i = 0; i < returned; i++)
      host.push(Buffer.from(output.subarray(16 + 40 * i, 56 + 40 * i)).toString('hex'));
    if (returned === 0) break;
  }
  same(host, listed, '14: 4801h and 5603h agree');
  same(
    info.accepted.map((extent) => [extent['start-dpa'], extent.len]),
    b.capacity.accepted.map(({ base, len }) => [base, len]),
    '14: QMP agrees',
  );
  same(info.accepted.length, host.length, '14: QMP agrees with 4801h');
};

import { EFFECT, type CciCommand } from '../cci.js';
import { viewOf } from '../bytes.js';
import type { Interval } from '../../core/interval-set.js';
import type { DeviceTime } from '../device-time.js';
import type { DynamicCapacity } from '../dynamic-capacity.js';
import { overlap } from '../extents.js';
import type { Media } from '../media.js';
import type { MediaScan } from '../media-scan.js';
import {
  LINE,
  POISON_SOURCE,
  poisonRecords,
  writePoison,
  type Poison,
  type PoisonList,
} from '../poison-list.js';
import { RETURN_CODE, type ReturnCode } from '../return-code.js';

export interface PoisonParts {
  readonly poison: PoisonList;
  readonly media: Media;
  readonly capacity: DynamicCapacity | undefined;
  readonly time: DeviceTime;
  readonly scan: MediaScan;
  /** Most bytes of an answer. */
  readonly payloadSize: () => number;
}

/** Address and length in lines, as several commands begin. */
export const rangeOf = (input: Uint8Array): Interval => {
  const view = viewOf(input);
  return { base: view.getBigUint64(0, true), len: view.getBigUint64(8, true) * LINE };
};
const isAligned = (address: bigint): boolean => address % LINE === 0n;

const clip = (poison: Poison, { base, len }: Interval): Poison => {
  const start = poison.base > base ? poison.base : base;
  const end = poison.base + poison.len;
  const stop = end < base + len ? end : base + len;
  return { ...poison, base: start, len: stop - start };
};

const list = (parts: PoisonParts, range: Interval): Uint8Array => {
  const found = parts.poison.entries.filter((entry) => overlap(entry, range));
  const shown = found.slice(0, poisonRecords(parts.payloadSize()));
  const output = writePoison(shown.map((entry) => clip(entry, range)));
  const view = viewOf(output);
  const { overflowTime } = parts.poison;
  const more = shown.length < found.length ? 1 : 0;
  const overflowed = overflowTime === undefined ? 0 : 2;
  view.setUint8(0, more | overflowed | (parts.scan.running ? 4 : 0));
  view.setBigUint64(2, overflowTime ?? 0n, true);
  view.setUint16(10, shown.length, true);
  return output;
};

/** Inject Poison; nothing happens while the media is scanned, or where poison is already. */
const inject = ({ poison, media, time, scan }: PoisonParts, base: bigint): ReturnCode => {
  if (!isAligned(base)) return RETURN_CODE.INVALID_INPUT;
  if (base + LINE > media.size) return RETURN_CODE.INVALID_PHYSICAL_ADDRESS;
  const line = { base, len: LINE };
  if (poison.touches(line) || scan.running) return RETURN_CODE.SUCCESS;
  if (poison.isFull) return RETURN_CODE.INJECT_POISON_LIMIT;
  poison.add({ ...line, source: POISON_SOURCE.INJECTED }, time.now());
  return RETURN_CODE.SUCCESS;
};

/** Clear Poison: the line takes the given bytes where the host has it. */
const clear = (parts: PoisonParts, base: bigint, data: Uint8Array): ReturnCode => {
  const { poison, media, capacity, time } = parts;
  if (base + LINE > media.size) return RETURN_CODE.INVALID_PHYSICAL_ADDRESS;
  if (!isAligned(base)) return RETURN_CODE.INVALID_INPUT;
  const line = { base, len: LINE };
  if (media.fault(line, capacity) === undefined) media.write(base, data);
  poison.remove(line, time.now());
  return RETURN_CODE.SUCCESS;
};

/** Get Poison List, Inject Poison, Clear Poison. CXL 3.1 §8.2.9.9.4; reference/cxl.md §5.6 */
export const poisonCommands = (parts: PoisonParts): CciCommand[] => [
  {
    opcode: 0x4300,
    inputLength: 16,
    effects: 0,
    run: (input) => {
      const range = rangeOf(input);
      return isAligned(range.base) ? list(parts, range) : RETURN_CODE.INVALID_INPUT;
    },
  },
  {
    opcode: 0x4301,
    inputLength: 8,
    effects: 0,
    run: (input) => inject(parts, viewOf(input).getBigUint64(0, true)),
  },
  {
    opcode: 0x4302,
    inputLength: 72,
    effects: 0,
    run: (input) => clear(parts, viewOf(input).getBigUint64(0, true), input.subarray(8)),
  },
];

/** Scan media: capabilities, start, results. §8.2.9.9.4.4 to §8.2.9.9.4.6 */
export const scanCommands = ({ scan, media, payloadSize }: PoisonParts): CciCommand[] => {
  const check = ({ base, len }: Interval): ReturnCode => {
    if (!isAligned(base)) return RETURN_CODE.INVALID_INPUT;
    return base + len > media.staticSize
      ? RETURN_CODE.INVALID_PHYSICAL_ADDRESS
      : RETURN_CODE.SUCCESS;
  };
  return [
    {
      opcode: 0x4303,
      inputLength: 16,
      effects: 0,
      run: (input) => {
        const range = rangeOf(input);
        const code = check(range);
        if (code !== RETURN_CODE.SUCCESS) return code;
        const output = new Uint8Array(4);
        viewOf(output).setUint32(0, scan.runtimeMs(range), true);
        return output;
      },
    },
    {
      opcode: 0x4304,
      inputLength: 17,
      effects: EFFECT.BACKGROUND | EFFECT.ABORTABLE,
      run: (input) => {
        const range = rangeOf(input);
        const code = check(range);
        if (code !== RETURN_CODE.SUCCESS) return code;
        scan.start();
        return { runtimeMs: scan.runtimeMs(range) };
      },
      finish: (input) => scan.finish(rangeOf(input)),
    },
    {
      opcode: 0x4305,
      inputLength: 0,
      effects: 0,
      run: () => scan.takeResults(poisonRecords(payloadSize())) ?? RETURN_CODE.UNSUPPORTED,
    },
  ];
};

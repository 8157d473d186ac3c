import type { Interval } from '../../core/interval-set.js';
import { CAPACITY_UNIT } from '../addresses.js';
import { EFFECT, type Cci, type CciCommand } from '../cci.js';
import { viewOf } from '../bytes.js';
import { type DynamicCapacity } from '../dynamic-capacity.js';
import { EXTENT_LIMIT, EXTENT_SIZE, packExtent } from '../extents.js';
import { RETURN_CODE, type ReturnCode } from '../return-code.js';

const LIST_HEADER = 16;
/** Count, flags, reserved; then entries. CXL 3.1 §8.2.9.9.9.3 */
const RESPONSE_HEADER = 8;
const ENTRY_SIZE = 24;
const MORE = 1;

/** What follows the regions: extents and tags supported and available. */
export const writeLimits = (view: DataView, at: number, capacity: DynamicCapacity): void => {
  view.setUint32(at, EXTENT_LIMIT, true);
  view.setUint32(at + 4, capacity.available, true);
};

/** Get Dynamic Capacity Configuration. */
const configuration = (capacity: DynamicCapacity, count: number, start: number): Uint8Array => {
  const shown = capacity.regions.slice(start, start + count);
  const output = new Uint8Array(8 + 40 * shown.length + 16);
  const view = viewOf(output);
  output.set([capacity.regions.length, shown.length]);
  shown.forEach(({ base, len, blockSize, dsmadHandle }, i) => {
    const at = 8 + 40 * i;
    view.setBigUint64(at, base, true);
    view.setBigUint64(at + 8, len / CAPACITY_UNIT, true);
    view.setBigUint64(at + 16, len, true);
    view.setBigUint64(at + 24, blockSize, true);
    view.setUint32(at + 32, dsmadHandle, true);
  });
  writeLimits(view, 8 + 40 * shown.length, capacity);
  return output;
};

/** Accepted extents from `start` on, behind `header` bytes; as many as the payload holds. */
export const writeExtents = (
  capacity: DynamicCapacity,
  { start, count, header, limit }: { start: number; count: number; header: number; limit: number },
): { readonly output: Uint8Array; readonly returned: number } => {
  const room = Math.floor((limit - header) / EXTENT_SIZE);
  const shown = capacity.accepted.slice(start, start + Math.min(count, room));
  const output = new Uint8Array(header + EXTENT_SIZE * shown.length);
  shown.forEach((extent, i) => output.set(packExtent(extent), header + EXTENT_SIZE * i));
  return { output, returned: shown.length };
};

const extentList = (
  capacity: DynamicCapacity,
  limit: number,
  count: number,
  start: number,
): Uint8Array => {
  const { output, returned } = writeExtents(capacity, { start, count, header: LIST_HEADER, limit });
  const view = viewOf(output);
  view.setUint32(0, returned, true);
  view.setUint32(4, capacity.accepted.length, true);
  view.setUint32(8, capacity.generation, true);
  return output;
};

/** Ranges and the flag of 4802h and 4803h; undefined when the input is too short. */
const readResponse = (
  input: Uint8Array,
): { readonly entries: Interval[]; readonly more: boolean } | undefined => {
  if (input.length < RESPONSE_HEADER) return undefined;
  const view = viewOf(input);
  const count = view.getUint32(0, true);
  if (input.length < RESPONSE_HEADER + ENTRY_SIZE * count) return undefined;
  const entries = Array.from({ length: count }, (_, i) => ({
    base: view.getBigUint64(RESPONSE_HEADER + ENTRY_SIZE * i, true),
    len: view.getBigUint64(RESPONSE_HEADER + ENTRY_SIZE * i + 8, true),
  }));
  return { entries, more: (view.getUint8(4) & MORE) !== 0 };
};

/** A command whose input is a list of ranges. */
const answer = (
  opcode: number,
  run: (response: NonNullable<ReturnType<typeof readResponse>>) => ReturnCode,
): CciCommand => ({
  opcode,
  inputLength: undefined,
  effects: EFFECT.DATA_CHANGE,
  run: (input) => {
    const response = readResponse(input);
    return response === undefined ? RETURN_CODE.INVALID_PAYLOAD_LENGTH : run(response);
  },
});

/** Dynamic capacity as the host sees it. CXL 3.1 §8.2.9.9.9; reference/cxl.md §5.7 */
export const dynamicCapacityCommands = (cci: Cci, capacity: DynamicCapacity): CciCommand[] => [
  {
    opcode: 0x4800,
    inputLength: 2,
    effects: 0,
    run: ([count = 0, start = 0]) =>
      start >= capacity.regions.length
        ? RETURN_CODE.INVALID_INPUT
        : configuration(capacity, count, start),
  },
  {
    opcode: 0x4801,
    inputLength: 8,
    effects: 0,
    run: (input) => {
      const count = viewOf(input).getUint32(0, true);
      const start = viewOf(input).getUint32(4, true);
      return start > capacity.accepted.length
        ? RETURN_CODE.INVALID_INPUT
        : extentList(capacity, cci.payloadSize, count, start);
    },
  },
  answer(0x4802, ({ entries, more }) => capacity.respond(entries, more)),
  answer(0x4803, ({ entries }) => capacity.release(entries)),
];

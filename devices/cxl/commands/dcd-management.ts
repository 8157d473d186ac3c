import { CAPACITY_UNIT } from '../addresses.js';
import { EFFECT, type Cci, type CciCommand, type CommandResult } from '../cci.js';
import { viewOf } from '../bytes.js';
import type { CapacityManager } from '../capacity-manager.js';
import { EXTENT_SIZE, unpackExtent, type Extent } from '../extents.js';
import { RETURN_CODE } from '../return-code.js';
import { writeExtents, writeLimits } from './dynamic-capacity.js';

const { INVALID_INPUT, INVALID_PAYLOAD_LENGTH } = RETURN_CODE;

/** Policies of this device: the fabric manager names the extents. CXL 3.1 §7.6.7.6.1 */
const ADD_POLICY = { PRESCRIPTIVE: 2 } as const;
const RELEASE_POLICY = { PRESCRIPTIVE: 1 } as const;
const FORCED = 0x10;
const SANITIZE = 0x20;
const POLICY = 0x0f;

const REQUEST_HEADER = 32;
const COUNT_AT = 28;
const LIST_HEADER = 24;
/** As QEMU: configuration, data and policy change at once; bits 11 and 12 tell of resets. */
const CHANGES =
  EFFECT.COLD_RESET |
  EFFECT.CONFIG_CHANGE |
  EFFECT.DATA_CHANGE |
  EFFECT.CONVENTIONAL_RESET |
  EFFECT.CXL_RESET;

/** 5600h Get DCD Info. */
const dcdInfo = ({ capacity }: CapacityManager): Uint8Array => {
  const output = new Uint8Array(84);
  const view = viewOf(output);
  output.set([1, capacity.regions.length]);
  view.setUint16(4, 1 << ADD_POLICY.PRESCRIPTIVE, true);
  view.setUint16(8, 1 << RELEASE_POLICY.PRESCRIPTIVE, true);
  const total = capacity.regions.reduce((sum, { len }) => sum + len, 0n);
  view.setBigUint64(12, total / CAPACITY_UNIT, true);
  capacity.regions.forEach(({ blockSizeMask }, i) =>
    view.setBigUint64(20 + 8 * i, blockSizeMask, true),
  );
  return output;
};

/** 5601h Get Host DC Region Configuration. */
const hostRegions = (
  { capacity }: CapacityManager,
  count: number,
  start: number,
): Uint8Array | typeof INVALID_INPUT => {
  if (start >= capacity.regions.length) return INVALID_INPUT;
  const shown = capacity.regions.slice(start, start + count);
  const output = new Uint8Array(4 + 40 * shown.length + 16);
  const view = viewOf(output);
  output.set([capacity.regions.length, shown.length], 2);
  shown.forEach(({ base, len, blockSize }, i) => {
    const at = 4 + 40 * i;
    view.setBigUint64(at, base, true);
    view.setBigUint64(at + 8, len / CAPACITY_UNIT, true);
    view.setBigUint64(at + 16, len, true);
    view.setBigUint64(at + 24, blockSize, true);
  });
  writeLimits(view, 4 + 40 * shown.length, capacity);
  return output;
};

/** 5603h Get DC Region Extent Lists. */
const hostExtents = (
  { capacity }: CapacityManager,
  limit: number,
  input: Uint8Array,
): CommandResult => {
  const view = viewOf(input);
  const start = view.getUint32(8, true);
  if (view.getUint16(0, true) !== 0 || start > capacity.accepted.length) return INVALID_INPUT;
  const count = view.getUint32(4, true);
  const { output, returned } = writeExtents(capacity, { start, count, header: LIST_HEADER, limit });
  const out = viewOf(output);
  out.setUint32(4, start, true);
  out.setUint32(8, returned, true);
  out.setUint32(12, capacity.accepted.length, true);
  out.setUint32(16, capacity.generation, true);
  return output;
};

/** The extents of 5604h and 5605h; undefined when the input is too short for them. */
const readExtents = (input: Uint8Array): Extent[] | undefined => {
  if (input.length < REQUEST_HEADER) return undefined;
  const count = viewOf(input).getUint32(COUNT_AT, true);
  if (input.length < REQUEST_HEADER + EXTENT_SIZE * count) return undefined;
  return Array.from({ length: count }, (_, i) =>
    unpackExtent(input, REQUEST_HEADER + EXTENT_SIZE * i),
  );
};

const initiateAdd = (manager: CapacityManager, input: Uint8Array): CommandResult => {
  const extents = readExtents(input);
  if (extents === undefined) return INVALID_PAYLOAD_LENGTH;
  if (input[2] !== ADD_POLICY.PRESCRIPTIVE) return INVALID_INPUT;
  return manager.fabricAdd(viewOf(input).getUint16(0, true), extents);
};

const initiateRelease = (manager: CapacityManager, input: Uint8Array): CommandResult => {
  const ranges = readExtents(input);
  if (ranges === undefined) return INVALID_PAYLOAD_LENGTH;
  const flags = input[2] ?? 0;
  if ((flags & POLICY) !== RELEASE_POLICY.PRESCRIPTIVE) return INVALID_INPUT;
  return manager.fabricRelease({
    hostId: viewOf(input).getUint16(0, true),
    forced: (flags & FORCED) !== 0,
    sanitize: (flags & SANITIZE) !== 0,
    ranges,
  });
};

/** DCD management as the fabric manager has it. CXL 3.1 §7.6.7.6; reference/cxl.md §5.8 */
export const dcdManagementCommands = (cci: Cci, manager: CapacityManager): CciCommand[] => [
  { opcode: 0x5600, inputLength: 0, effects: 0, run: () => dcdInfo(manager) },
  {
    opcode: 0x5601,
    inputLength: 4,
    effects: 0,
    run: ([, , count = 0, start = 0]) => hostRegions(manager, count, start),
  },
  {
    opcode: 0x5602,
    inputLength: 16,
    effects: CHANGES,
    run: (input) => {
      const view = viewOf(input);
      const sanitize = (view.getUint8(12) & 1) !== 0;
      return manager.configureRegion(view.getUint8(0), view.getBigUint64(4, true), sanitize);
    },
  },
  {
    opcode: 0x5603,
    inputLength: 12,
    effects: 0,
    run: (input) => hostExtents(manager, cci.payloadSize, input),
  },
  {
    opcode: 0x5604,
    inputLength: undefined,
    effects: CHANGES,
    run: (input) => initiateAdd(manager, input),
  },
  {
    opcode: 0x5605,
    inputLength: undefined,
    effects: CHANGES,
    run: (input) => initiateRelease(manager, input),
  },
];

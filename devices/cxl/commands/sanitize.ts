import type { HostMemory } from '../../core/host-memory.js';
import type { Interval } from '../../core/interval-set.js';
import { EFFECT, type CciCommand, type CommandResult } from '../cci.js';
import { viewOf } from '../bytes.js';
import type { DynamicCapacity } from '../dynamic-capacity.js';
import type { EventLogs } from '../event-logs.js';
import { fillMemory, type Media } from '../media.js';
import { LINE } from '../poison-list.js';
import { RETURN_CODE } from '../return-code.js';

const MiB = 1n << 20n;
/** Seconds that sanitizing takes up to a capacity in MiB. reference/cxl.md §5.6 */
const RUNTIMES: readonly (readonly [bigint, number])[] = [
  [512n, 4],
  [1024n, 8],
  [2n * 1024n, 15],
  [4n * 1024n, 30],
  [8n * 1024n, 60],
  [16n * 1024n, 120],
  [32n * 1024n, 240],
  [64n * 1024n, 480],
  [128n * 1024n, 900],
  [256n * 1024n, 1800],
  [512n * 1024n, 3600],
  [1024n * 1024n, 7200],
];
const LONGEST_S = 14_400;

export interface SanitizeParts {
  readonly media: Media;
  readonly labels: HostMemory | undefined;
  readonly capacity: DynamicCapacity | undefined;
  readonly logs: EventLogs;
  /** Keeps software from the media, or lets it back. */
  readonly setDisabled: (disabled: boolean) => void;
}

const runtimeMs = (bytes: bigint): number => {
  const seconds = RUNTIMES.find(([size]) => bytes <= size * MiB)?.[1] ?? LONGEST_S;
  return seconds * 1000;
};

/** Sanitize. CXL 3.1 §8.2.9.9.5.1 */
export const sanitizeCommand = (parts: SanitizeParts): CciCommand => {
  const { media, labels, logs, setDisabled } = parts;
  return {
    opcode: 0x4400,
    inputLength: 0,
    effects: EFFECT.DATA_CHANGE | EFFECT.SECURITY_CHANGE | EFFECT.BACKGROUND | EFFECT.ABORTABLE,
    run: () => {
      setDisabled(true);
      return { runtimeMs: runtimeMs(media.staticSize) };
    },
    finish: () => {
      media.fill({ base: 0n, len: media.staticSize }, 0);
      if (labels !== undefined) fillMemory(labels, { base: 0n, len: labels.size }, 0);
      logs.forgetAll();
      setDisabled(false);
    },
  };
};

const OPERATION = { GENERAL: 0, SANITIZE: 1 } as const;
const SUBCLASS = { DISCOVERY: 0, SANITIZE: 0, ZERO: 1 } as const;
/** What discovery lists: class and subclass. */
const OPERATIONS = [
  [OPERATION.GENERAL, SUBCLASS.DISCOVERY],
  [OPERATION.SANITIZE, SUBCLASS.SANITIZE],
  [OPERATION.SANITIZE, SUBCLASS.ZERO],
] as const;
const HEADER = 8;
const RANGE = 16;
const SANITIZED = 0x0f;

const discover = (input: Uint8Array, rangeCount: number): CommandResult => {
  if (input.length < HEADER + 4) return RETURN_CODE.INVALID_PAYLOAD_LENGTH;
  const view = viewOf(input);
  const start = view.getUint16(HEADER, true);
  const count = view.getUint16(HEADER + 2, true);
  if (rangeCount !== 0 || start + count > OPERATIONS.length) return RETURN_CODE.INVALID_INPUT;
  const output = new Uint8Array(12 + 2 * count);
  const out = viewOf(output);
  out.setBigUint64(0, LINE, true);
  out.setUint16(8, OPERATIONS.length, true);
  out.setUint16(10, count, true);
  output.set(OPERATIONS.slice(start, start + count).flat(), 12);
  return output;
};

const rangesOf = (input: Uint8Array, count: number): Interval[] => {
  const view = viewOf(input);
  return Array.from({ length: count }, (_, i) => ({
    base: view.getBigUint64(HEADER + RANGE * i, true),
    len: view.getBigUint64(HEADER + RANGE * i + 8, true),
  }));
};

const operate = (parts: SanitizeParts, input: Uint8Array, count: number): CommandResult => {
  if (count === 0) return RETURN_CODE.SUCCESS;
  if (input.length < HEADER + RANGE * count) return RETURN_CODE.INVALID_PAYLOAD_LENGTH;
  const ranges = rangesOf(input, count);
  const wrong = ({ base, len }: Interval): boolean =>
    len === 0n ||
    base % LINE !== 0n ||
    len % LINE !== 0n ||
    parts.media.fault({ base, len }, parts.capacity) !== undefined;
  if (ranges.some(wrong)) return RETURN_CODE.INVALID_INPUT;
  return { runtimeMs: runtimeMs(ranges.reduce((sum, { len }) => sum + len, 0n)) };
};

/** Media Operations. CXL 3.1 §8.2.9.9.5.3 */
export const mediaOperationsCommand = (parts: SanitizeParts): CciCommand => ({
  opcode: 0x4402,
  inputLength: undefined,
  effects: EFFECT.DATA_CHANGE | EFFECT.BACKGROUND,
  run: (input) => {
    if (input.length < HEADER) return RETURN_CODE.INVALID_PAYLOAD_LENGTH;
    const [operation = 0, subclass = 0] = input;
    const count = viewOf(input).getUint32(4, true);
    if (operation === OPERATION.GENERAL && subclass === SUBCLASS.DISCOVERY)
      return discover(input, count);
    if (operation === OPERATION.SANITIZE && subclass <= SUBCLASS.ZERO)
      return operate(parts, input, count);
    return RETURN_CODE.UNSUPPORTED;
  },
  accepts: (input) =>
    input.length >= HEADER && input.length >= HEADER + RANGE * viewOf(input).getUint32(4, true),
  finish: (input) => {
    const value = input[1] === SUBCLASS.ZERO ? 0 : SANITIZED;
    for (const range of rangesOf(input, viewOf(input).getUint32(4, true)))
      // What was given back meanwhile is no longer this host's to overwrite.
      if (parts.media.fault(range, parts.capacity) === undefined) parts.media.fill(range, value);
  },
});

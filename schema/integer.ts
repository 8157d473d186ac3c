import type { IntWidth } from './lang.js';

/** Integer widths: which values fit, and what they become (reference/qmp-protocol.md §6.2). */

const INT64_MIN = -(1n << 63n);
const UINT64_END = 1n << 64n;

/** Bounds of the widths, end exclusive. */
export const RANGE: Readonly<Record<IntWidth, readonly [bigint, bigint]>> = {
  int8: [-(1n << 7n), 1n << 7n],
  int16: [-(1n << 15n), 1n << 15n],
  int32: [-(1n << 31n), 1n << 31n],
  uint8: [0n, 1n << 8n],
  uint16: [0n, 1n << 16n],
  uint32: [0n, 1n << 32n],
  int: [INT64_MIN, 1n << 63n],
  int64: [INT64_MIN, 1n << 63n],
  uint64: [INT64_MIN, UINT64_END],
  size: [INT64_MIN, UINT64_END],
};
export const isUnsigned = (width: IntWidth): boolean => width.startsWith('u') || width === 'size';
const isWide = (width: IntWidth): boolean => RANGE[width][1] > 1n << 32n;

/** Width words of `qapiInt`: `number` takes integers and doubles and gives a double. */
export type NumericWidth = IntWidth | 'number';

export const fits = (width: NumericWidth, value: unknown): value is bigint | number => {
  if (width === 'number') return typeof value === 'bigint' || typeof value === 'number';
  return typeof value === 'bigint' && value >= RANGE[width][0] && value < RANGE[width][1];
};

/** The value in the type that the schema promises; negative values of 64-bit unsigned types wrap. */
export const narrowed = (width: NumericWidth, value: bigint | number): bigint | number => {
  if (width === 'number' || !isWide(width)) return Number(value);
  return isUnsigned(width) ? BigInt.asUintN(64, BigInt(value)) : value;
};

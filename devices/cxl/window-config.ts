import { refused } from '../../schema/error.js';
import { CAPACITY_UNIT } from './addresses.js';
import { interleaveWaysCode } from './interleave.js';

/** A fixed memory window as the machine's options describe it. */
export interface FixedWindowConfig {
  /** Ids or paths of pxb-cxl devices. */
  readonly targets: readonly string[];
  /** Bytes. */
  readonly size: bigint;
  /** Bytes; 256 by default. */
  readonly granularity?: bigint | undefined;
}

export const DEFAULT_GRANULARITY = 256n;
const GRANULARITIES: readonly bigint[] = [8n, 9n, 10n, 11n, 12n, 13n, 14n].map((bit) => 1n << bit);

/** @throws QmpError with the texts of reference/cxl.md §1.3 */
export const checkWindow = ({ targets, size, granularity }: FixedWindowConfig): void => {
  if (interleaveWaysCode(targets.length) === undefined)
    throw refused(`Interleave ways: ${String(targets.length)} not supported`);
  if (size % CAPACITY_UNIT !== 0n)
    throw refused('Size of a CXL fixed memory window must be a multiple of 256MiB');
  if (granularity !== undefined && !GRANULARITIES.includes(granularity))
    throw refused(`Interleave granularity: ${String(granularity)} invalid`);
};

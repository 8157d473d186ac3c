/** Interleave ways by code. CXL 3.1 §8.2.4.20.7. */
const WAYS: ReadonlyMap<number, number> = new Map([
  ...[1, 2, 4, 8, 16].map((ways, code) => [code, ways] as const),
  ...[3, 6, 12].map((ways, i) => [8 + i, ways] as const),
]);

/** Number of ways of an interleave ways code; undefined for reserved codes. */
export const interleaveWays = (code: number): number | undefined => WAYS.get(code);
/** Code of a number of ways; undefined when no interleave has so many. */
export const interleaveWaysCode = (ways: number): number | undefined =>
  [...WAYS].find(([, count]) => count === ways)?.[0];
/** Bytes that lie together on one target. */
export const interleaveGranularity = (code: number): bigint => 1n << BigInt(8 + code);

import * as zlib from 'node:zlib';

type Crc32 = (bytes: Uint8Array, seed?: number) => number;

/** Reflected form of the IEEE 802.3 polynomial. */
const POLYNOMIAL = 0xedb88320;

const tableEntry = (byte: number): number => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? POLYNOMIAL : 0);
  return value;
};

/** For versions of Node that have none of their own (before 20.15). */
export const tableCrc32 = (): Crc32 => {
  const table = Int32Array.from({ length: 256 }, (_, byte) => tableEntry(byte));
  return (bytes, seed = 0) => {
    let crc = ~seed;
    for (const byte of bytes) crc = (crc >>> 8) ^ (table[(crc ^ byte) & 0xff] ?? 0);
    return ~crc >>> 0;
  };
};

/**
 * CRC-32 of IEEE 802.3, reflected, as zlib and PNG have it.
 *
 * @param seed the checksum of what comes before `bytes`; 0 when nothing does
 * @returns 32 bits, unsigned
 */
export const crc32: Crc32 = (Reflect.get(zlib, 'crc32') as Crc32 | undefined) ?? tableCrc32();

import { crc32 } from '../core/crc32.js';
import type { DirtyRun } from '../core/dirty-log.js';
import { StateError } from './errno.js';

/** `DSM1` in memory order. */
const MAGIC = 0x314d_5344;
const VERSION = 1;
/** Flag of a snapshot that was taken outside LOGGING. */
const SNAPSHOT = 1;
/** Bytes before the records. */
export const CONTAINER_HEADER = 32;
/** Bytes before the data of each record. */
export const RECORD_HEADER = 16;

/** Offsets in the header. reference/vfio-device-state.md §8 */
const AT = {
  MAGIC: 0,
  VERSION: 4,
  KIND: 6,
  FLAGS: 8,
  PASS: 12,
  CAPACITY: 16,
  RECORDS: 24,
  CRC: 28,
} as const;

const KIND = { config: 1, memory: 2 } as const;
export type ContainerKind = keyof typeof KIND;

export interface ContainerHeader {
  readonly kind: ContainerKind;
  /** Bytes of device memory, or of configuration, of the source. */
  readonly capacity: number;
  /** Whether the device was in LOGGING: passes are of it, and a configuration may be. */
  readonly logging: boolean;
  /** Number of the pass; 0 for a whole snapshot. */
  readonly pass: number;
}

/** Bytes at `offset` of the memory, or of the configuration. */
export interface ContainerRecord {
  readonly offset: number;
  readonly data: Uint8Array;
}

/** Length of a container with these records. */
export const containerLength = (runs: readonly DirtyRun[]): number =>
  runs.reduce((sum, { length }) => sum + RECORD_HEADER + length, CONTAINER_HEADER);

/**
 * Makes a container of the given pieces.
 *
 * @param read fills the bytes at an offset of the source
 */
export const writeContainer = (
  header: ContainerHeader,
  runs: readonly DirtyRun[],
  read: (offset: number, into: Uint8Array) => void,
): Uint8Array => {
  const bytes = new Uint8Array(containerLength(runs));
  const view = new DataView(bytes.buffer);
  let at = CONTAINER_HEADER;
  for (const { offset, length } of runs) {
    view.setBigUint64(at, BigInt(offset), true);
    view.setBigUint64(at + 8, BigInt(length), true);
    at += RECORD_HEADER;
    read(offset, bytes.subarray(at, at + length));
    at += length;
  }
  view.setUint32(AT.MAGIC, MAGIC, true);
  view.setUint16(AT.VERSION, VERSION, true);
  view.setUint16(AT.KIND, KIND[header.kind], true);
  view.setUint32(AT.FLAGS, header.logging ? 0 : SNAPSHOT, true);
  view.setUint32(AT.PASS, header.pass, true);
  view.setBigUint64(AT.CAPACITY, BigInt(header.capacity), true);
  view.setUint32(AT.RECORDS, runs.length, true);
  view.setUint32(AT.CRC, crc32(bytes.subarray(CONTAINER_HEADER)), true);
  return bytes;
};

const invalid = (reason: string): StateError => new StateError('EINVAL', reason);

/**
 * Checks a container whole.
 *
 * @param capacity what the source must have had; undefined: what its records say
 * @returns its records, whose data are parts of `bytes`
 * @throws StateError EINVAL telling what is wrong
 */
export const readContainer = (
  bytes: Uint8Array,
  kind: ContainerKind,
  capacity?: number,
): ContainerRecord[] => {
  if (bytes.length < CONTAINER_HEADER)
    throw invalid(`a container of ${String(bytes.length)} bytes has no header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  checkHeader(view, kind);
  const own = view.getBigUint64(AT.CAPACITY, true);
  if (capacity !== undefined && own !== BigInt(capacity))
    throw invalid(`capacity of the source is ${String(own)}, here it is ${String(capacity)}`);
  if (crc32(bytes.subarray(CONTAINER_HEADER)) !== view.getUint32(AT.CRC, true))
    throw invalid('checksum of the container is wrong');
  return readRecords(bytes, view, own);
};

const checkHeader = (view: DataView, kind: ContainerKind): void => {
  if (view.getUint32(AT.MAGIC, true) !== MAGIC) throw invalid('container does not begin with DSM1');
  const version = view.getUint16(AT.VERSION, true);
  if (version !== VERSION)
    throw invalid(`format version of the container is ${String(version)}, known is 1`);
  const found = view.getUint16(AT.KIND, true);
  if (found !== KIND[kind])
    throw invalid(`kind of the container is ${String(found)}, ${kind} is ${String(KIND[kind])}`);
  const flags = view.getUint32(AT.FLAGS, true);
  if ((flags & ~SNAPSHOT) !== 0) throw invalid(`container has unknown flags ${String(flags)}`);
};

const readRecords = (bytes: Uint8Array, view: DataView, capacity: bigint): ContainerRecord[] => {
  const count = view.getUint32(AT.RECORDS, true);
  const records: ContainerRecord[] = [];
  let at = CONTAINER_HEADER;
  for (let i = 0; i < count; i++) {
    if (at + RECORD_HEADER > bytes.length)
      throw invalid(`container ends in record ${String(i)} of ${String(count)}`);
    const offset = view.getBigUint64(at, true);
    const length = view.getBigUint64(at + 8, true);
    at += RECORD_HEADER;
    if (length > BigInt(bytes.length - at))
      throw invalid(`record ${String(i)} is longer than what is left of the container`);
    if (offset + length > capacity)
      throw invalid(`record ${String(i)} reaches beyond the capacity of ${String(capacity)} bytes`);
    const end = at + Number(length);
    records.push({ offset: Number(offset), data: bytes.subarray(at, end) });
    at = end;
  }
  if (at !== bytes.length) throw invalid('container goes on after its last record');
  return records;
};

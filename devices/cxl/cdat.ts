import { refused } from '../../schema/error.js';
import type { Log } from '../core/device.js';
import { HostError, type HostFile, type HostMemoryService } from '../core/host-memory.js';

/** A coherent device attribute table: its header, then one entry per structure. CDAT 1.03 §2. */
export interface Cdat {
  /** In the order of their handles; entry 0 is the header. */
  readonly entries: readonly Uint8Array[];
}

/** Structure types. CDAT 1.03 §2, table 3. */
const TYPE = { DSMAS: 0, DSLBIS: 1, DSMSCIS: 2, DSIS: 3, DSEMTS: 4, SSLBIS: 5 } as const;
const HEADER_SIZE = 16;
const STRUCTURE_HEADER = 4;
const REVISION = 2;
const STRUCTURE_SIZE = 24;

const DSMAS_FLAG = { NON_VOLATILE: 0x04, DYNAMIC: 0x20 } as const;
const EFI_TYPE = { VOLATILE: 1, PERSISTENT: 2 } as const;

/** Kinds of latency and bandwidth. ACPI 6.5 §5.2.27.4, HMAT data type. */
const DATA_TYPE = {
  ACCESS_LATENCY: 0,
  READ_LATENCY: 1,
  WRITE_LATENCY: 2,
  ACCESS_BANDWIDTH: 3,
  READ_BANDWIDTH: 4,
  WRITE_BANDWIDTH: 5,
} as const;
const PICOSECONDS = 10_000n;
const MEGABYTES = 1000n;
/** What every memory area reports: data type, unit, value. */
const PERFORMANCE = [
  [DATA_TYPE.READ_LATENCY, PICOSECONDS, 15],
  [DATA_TYPE.WRITE_LATENCY, PICOSECONDS, 25],
  [DATA_TYPE.READ_BANDWIDTH, MEGABYTES, 16],
  [DATA_TYPE.WRITE_BANDWIDTH, MEGABYTES, 16],
] as const;

const structure = (type: number, size: number): { bytes: Uint8Array; view: DataView } => {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, type);
  view.setUint16(2, size, true);
  return { bytes, view };
};

/** Puts the header, with the checksum that makes all bytes add up to 0, before the structures. */
const withHeader = (structures: readonly Uint8Array[]): Cdat => {
  const header = new Uint8Array(HEADER_SIZE);
  const view = new DataView(header.buffer);
  const length = structures.reduce((sum, bytes) => sum + bytes.length, HEADER_SIZE);
  view.setUint32(0, length, true);
  view.setUint8(4, REVISION);
  view.setUint8(5, -sumOf([header, ...structures]) & 0xff);
  return { entries: [header, ...structures] };
};

const sumOf = (entries: readonly Uint8Array[]): number =>
  entries.reduce((sum, bytes) => bytes.reduce((s, byte) => s + byte, sum), 0);

/** A range of device addresses with attributes of its own: static memory, or a region. */
export interface MemoryArea {
  /** DSMAD handle. */
  readonly handle: number;
  /** DPA. */
  readonly base: bigint;
  readonly size: bigint;
  readonly nonVolatile: boolean;
  readonly dynamic: boolean;
}

/** The table of a memory device. reference/cxl.md §2.3. */
export const memoryCdat = (areas: readonly MemoryArea[]): Cdat =>
  withHeader(areas.flatMap((area) => [dsmas(area), ...dslbis(area.handle), dsemts(area)]));

const dsmas = ({ handle, base, size, nonVolatile, dynamic }: MemoryArea): Uint8Array => {
  const { bytes, view } = structure(TYPE.DSMAS, STRUCTURE_SIZE);
  const flags = (nonVolatile ? DSMAS_FLAG.NON_VOLATILE : 0) | (dynamic ? DSMAS_FLAG.DYNAMIC : 0);
  view.setUint8(4, handle);
  view.setUint8(5, flags);
  view.setBigUint64(8, base, true);
  view.setBigUint64(16, size, true);
  return bytes;
};

const dslbis = (handle: number): Uint8Array[] =>
  PERFORMANCE.map(([dataType, unit, value]) => {
    const { bytes, view } = structure(TYPE.DSLBIS, STRUCTURE_SIZE);
    view.setUint8(4, handle);
    view.setUint8(6, dataType);
    view.setBigUint64(8, unit, true);
    view.setUint16(16, value, true);
    return bytes;
  });

const dsemts = ({ handle, size, nonVolatile }: MemoryArea): Uint8Array => {
  const { bytes, view } = structure(TYPE.DSEMTS, STRUCTURE_SIZE);
  view.setUint8(4, handle);
  view.setUint8(5, nonVolatile ? EFI_TYPE.PERSISTENT : EFI_TYPE.VOLATILE);
  view.setBigUint64(16, size, true);
  return bytes;
};

/** Port number that stands for the upstream port. CDAT 1.03 §2.1.6. */
const UPSTREAM_PORT = 0x100;

/** The table of a switch: latency and bandwidth between its upstream and each downstream port. */
export const switchCdat = (ports: readonly number[]): Cdat =>
  withHeader([
    sslbis(DATA_TYPE.ACCESS_LATENCY, PICOSECONDS, 15, ports),
    sslbis(DATA_TYPE.ACCESS_BANDWIDTH, 1024n, 16, ports),
  ]);

const sslbis = (
  dataType: number,
  unit: bigint,
  value: number,
  ports: readonly number[],
): Uint8Array => {
  const { bytes, view } = structure(TYPE.SSLBIS, 16 + 8 * ports.length);
  view.setUint8(4, dataType);
  view.setBigUint64(8, unit, true);
  for (const [i, port] of ports.entries()) {
    view.setUint16(16 + 8 * i, UPSTREAM_PORT, true);
    view.setUint16(18 + 8 * i, port, true);
    view.setUint16(20 + 8 * i, value, true);
  }
  return bytes;
};

/** Bytes of the largest file that is read: far more than any device describes. */
const LARGEST_FILE = 1n << 20n;

/**
 * Reads a table from a file; a wrong checksum is only warned of.
 *
 * @throws QmpError with the texts of reference/cxl.md §1.6
 */
export const readCdatFile = (path: string, host: HostMemoryService, log: Log): Cdat => {
  const entries = split(readFile(path, host));
  if ((sumOf(entries) & 0xff) !== 0) log.warn({ path }, 'checksum of the CDAT file is wrong');
  return { entries };
};

const readFile = (path: string, host: HostMemoryService): Uint8Array => {
  const file = openFile(path, host);
  try {
    const length = file.length() ?? 0n;
    if (length < BigInt(HEADER_SIZE)) throw refused('CDAT: File too short');
    if (length > LARGEST_FILE)
      throw refused(`CDAT: File longer than ${String(LARGEST_FILE)} bytes`);
    const mapping = file.map(0n, length, { readonly: true });
    try {
      const bytes = new Uint8Array(Number(length));
      mapping.read(0n, bytes);
      return bytes;
    } finally {
      mapping.close();
    }
  } finally {
    file.close();
  }
};

const openFile = (path: string, host: HostMemoryService): HostFile => {
  try {
    return host.open(path, { readonly: true });
  } catch (error) {
    const reason = error instanceof HostError ? error.message : 'unknown error';
    throw refused(`CDAT: File read failed: Failed to open file “${path}”: ${reason}`, error);
  }
};

const split = (bytes: Uint8Array): Uint8Array[] => {
  const view = new DataView(bytes.buffer);
  const entries = [bytes.slice(0, HEADER_SIZE)];
  for (let at = HEADER_SIZE; at < bytes.length;) {
    if (at + STRUCTURE_HEADER > bytes.length) throw refused('CDAT: Truncated table');
    const type = view.getUint8(at);
    const length = view.getUint16(at + 2, true);
    if (type > TYPE.SSLBIS) throw refused(`Type ${String(type)} is reserved`);
    if (length < STRUCTURE_HEADER || at + length > bytes.length)
      throw refused('CDAT: Truncated table');
    entries.push(bytes.slice(at, at + length));
    at += length;
  }
  if (view.getUint32(0, true) !== bytes.length) throw refused('CDAT: File length mismatch');
  return entries;
};

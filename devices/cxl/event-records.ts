import { viewOf, bytesOfHex } from './bytes.js';

/** Bytes of every event record. */
export const RECORD_SIZE = 128;

/** Common event record header. CXL 3.1 §8.2.9.2.1 table 8-55 */
const HEADER = { LENGTH: 16, FLAGS: 17, HANDLE: 20, TIMESTAMP: 24 } as const;
/** Where the handle is, for the log that gives it. */
export const HANDLE_AT = HEADER.HANDLE;
export const TIMESTAMP_AT = HEADER.TIMESTAMP;

/** Kinds of records, bytes in printed order. reference/cxl.md §6.3 */
const RECORD_UUID = {
  GENERAL_MEDIA: 'fbcd0a77c260417f85a9088b1621eba6',
  DRAM: '601dcbb39c064eabb8af4e9bfb5c9624',
  MEMORY_MODULE: 'fe927475dd594339a58679bab113b774',
  DYNAMIC_CAPACITY: 'ca95afa7f18340188c2f95268e101a2a',
} as const;

/** A record with uuid, length and flags; handle and timestamp are the log's. */
const startRecord = (uuid: string, flags: number): Uint8Array => {
  const record = new Uint8Array(RECORD_SIZE);
  record.set(bytesOfHex(uuid));
  const view = viewOf(record);
  view.setUint8(HEADER.LENGTH, RECORD_SIZE);
  view.setUint8(HEADER.FLAGS, flags);
  return record;
};

/** What general media and DRAM records begin with. */
export interface MediaEvent {
  readonly flags: number;
  readonly dpa: bigint;
  readonly descriptor: number;
  readonly type: number;
  readonly transactionType: number;
  readonly channel?: number | undefined;
  readonly rank?: number | undefined;
}

const startMedia = (uuid: string, event: MediaEvent): Uint8Array => {
  const record = startRecord(uuid, event.flags);
  const view = viewOf(record);
  view.setBigUint64(48, event.dpa, true);
  view.setUint8(56, event.descriptor);
  view.setUint8(57, event.type);
  view.setUint8(58, event.transactionType);
  return record;
};
const setUint24 = (view: DataView, at: number, value: number): void => {
  view.setUint16(at, value & 0xffff, true);
  view.setUint8(at + 2, (value >> 16) & 0xff);
};

/** Sets optional members of a record and collects which of them are valid. */
class OptionalMembers {
  validity = 0;
  set<T>(bit: number, value: T | undefined, store: (value: T) => void): void {
    if (value === undefined) return;
    this.validity |= 1 << bit;
    store(value);
  }
}

export interface GeneralMediaEvent extends MediaEvent {
  readonly device?: number | undefined;
  /** Cut at 15 bytes. */
  readonly componentId?: string | undefined;
}
const COMPONENT_ID_LIMIT = 15;

/** CXL 3.1 §8.2.9.2.1.1 General Media Event Record */
export const generalMediaRecord = (event: GeneralMediaEvent): Uint8Array => {
  const record = startMedia(RECORD_UUID.GENERAL_MEDIA, event);
  const view = viewOf(record);
  const members = new OptionalMembers();
  members.set(0, event.channel, (value) => view.setUint8(61, value));
  members.set(1, event.rank, (value) => view.setUint8(62, value));
  members.set(2, event.device, (value) => setUint24(view, 63, value));
  members.set(3, event.componentId, (value) =>
    record.set(Buffer.from(value, 'utf8').subarray(0, COMPONENT_ID_LIMIT), 66),
  );
  view.setUint16(59, members.validity, true);
  return record;
};

export interface DramEvent extends MediaEvent {
  readonly nibbleMask?: number | undefined;
  readonly bankGroup?: number | undefined;
  readonly bank?: number | undefined;
  readonly row?: number | undefined;
  readonly column?: number | undefined;
  /** The first four are used. */
  readonly correctionMask?: readonly bigint[] | undefined;
}

/** CXL 3.1 §8.2.9.2.1.2 DRAM Event Record */
export const dramRecord = (event: DramEvent): Uint8Array => {
  const record = startMedia(RECORD_UUID.DRAM, event);
  const view = viewOf(record);
  const members = new OptionalMembers();
  members.set(0, event.channel, (value) => view.setUint8(61, value));
  members.set(1, event.rank, (value) => view.setUint8(62, value));
  members.set(2, event.nibbleMask, (value) => setUint24(view, 63, value));
  members.set(3, event.bankGroup, (value) => view.setUint8(66, value));
  members.set(4, event.bank, (value) => view.setUint8(67, value));
  members.set(5, event.row, (value) => setUint24(view, 68, value));
  members.set(6, event.column, (value) => view.setUint16(71, value, true));
  members.set(7, event.correctionMask, (masks) =>
    masks.slice(0, 4).forEach((mask, i) => view.setBigUint64(73 + 8 * i, mask, true)),
  );
  view.setUint16(59, members.validity, true);
  return record;
};

export interface MemoryModuleEvent {
  readonly flags: number;
  readonly type: number;
  readonly healthStatus: number;
  readonly mediaStatus: number;
  readonly additionalStatus: number;
  readonly lifeUsed: number;
  /** Degrees Celsius. */
  readonly temperature: number;
  readonly dirtyShutdownCount: number;
  readonly correctedVolatileErrorCount: number;
  readonly correctedPersistentErrorCount: number;
}

/** CXL 3.1 §8.2.9.2.1.3 Memory Module Event Record */
export const memoryModuleRecord = (event: MemoryModuleEvent): Uint8Array => {
  const record = startRecord(RECORD_UUID.MEMORY_MODULE, event.flags);
  const view = viewOf(record);
  view.setUint8(48, event.type);
  view.setUint8(49, event.healthStatus);
  view.setUint8(50, event.mediaStatus);
  view.setUint8(51, event.additionalStatus);
  view.setUint8(52, event.lifeUsed);
  view.setInt16(53, event.temperature, true);
  view.setUint32(55, event.dirtyShutdownCount, true);
  view.setUint32(59, event.correctedVolatileErrorCount, true);
  view.setUint32(63, event.correctedPersistentErrorCount, true);
  return record;
};

/** What a dynamic capacity record tells. reference/cxl.md §6.3 */
export const CAPACITY_EVENT = {
  ADD: 0,
  RELEASE: 1,
  FORCED_RELEASE: 2,
  REGION_UPDATED: 3,
} as const;

export interface CapacityEvent {
  readonly type: (typeof CAPACITY_EVENT)[keyof typeof CAPACITY_EVENT];
  readonly hostId: number;
  /** The region whose configuration was updated. */
  readonly region?: number;
  /** Further records of the same request follow. */
  readonly more: boolean;
  /** The packed extent of 40 bytes; none for a region update. */
  readonly extent?: Uint8Array;
  readonly extentsAvailable: number;
}

/** As QEMU: bit 0 of the flags and of the validity. */
const CAPACITY_FLAGS = 1;

/** CXL 3.1 §8.2.9.2.1.6 Dynamic Capacity Event Record */
export const capacityRecord = (event: CapacityEvent): Uint8Array => {
  const record = startRecord(RECORD_UUID.DYNAMIC_CAPACITY, CAPACITY_FLAGS);
  const view = viewOf(record);
  view.setUint8(48, event.type);
  view.setUint8(49, 1);
  view.setUint16(50, event.hostId, true);
  view.setUint8(52, event.region ?? 0);
  view.setUint8(53, event.more ? 1 : 0);
  if (event.extent !== undefined) record.set(event.extent, 56);
  view.setUint32(120, event.extentsAvailable, true);
  return record;
};

import type { DeviceState, StateValue } from '../core/device.js';
import { bytes, fields, flag, integer, list, unsigned } from '../core/saved-state.js';
import { viewOf } from './bytes.js';
import { HANDLE_AT, RECORD_SIZE, TIMESTAMP_AT } from './event-records.js';
import { RETURN_CODE, type ReturnCode } from './return-code.js';

export const EVENT_LOG = {
  INFORMATIONAL: 0,
  WARNING: 1,
  FAILURE: 2,
  FATAL: 3,
  DYNAMIC_CAPACITY: 4,
} as const;
export type EventLogIndex = (typeof EVENT_LOG)[keyof typeof EVENT_LOG];
const EVENT_LOG_COUNT = 5;

/** Records that software can see in each log. */
export const LOG_CAPACITY = 8;
/** Dynamic capacity records that wait behind a full log; a request that needs more is refused. */
export const WAITING_RECORDS_LIMIT = 4096;

/** MSI-X vectors; dynamic capacity shares that of the informational log. reference/cxl.md §6.1 */
const VECTORS = [2, 3, 4, 5, 2] as const;
const MODE_MSI = 1;
const CLEAR_ALL = 1;
const HEADER_SIZE = 32;
const MAX_U16 = 0xffff;
const MIN_POLICY_LENGTH = 4;

interface Entry {
  readonly record: Uint8Array;
  /** The pending group that the record announces; 0 for others. */
  readonly group: number;
}
interface Log {
  entries: Entry[];
  /** What did not fit; dynamic capacity records are never lost. */
  waiting: Entry[];
  nextHandle: number;
  overflowCount: number;
  firstOverflow: bigint;
  lastOverflow: bigint;
  interrupt: boolean;
}

export interface EventLogsOptions {
  /** Device time in nanoseconds. */
  readonly timestamp: () => bigint;
  /** Raises an MSI-X vector. */
  readonly notify: (vector: number) => void;
}

const emptyLog = (): Log => ({
  entries: [],
  waiting: [],
  nextHandle: 1,
  overflowCount: 0,
  firstOverflow: 0n,
  lastOverflow: 0n,
  interrupt: false,
});

/**
 * The event logs of a memory device.
 *
 * @see reference/cxl.md §6
 */
export class EventLogs {
  readonly #options: EventLogsOptions;
  #logs: readonly Log[] = Array.from({ length: EVENT_LOG_COUNT }, emptyLog);

  constructor(options: EventLogsOptions) {
    this.#options = options;
  }

  /** Event status register: one bit for each log that holds records. */
  get status(): bigint {
    return this.#logs.reduce(
      (bits, { entries }, i) => (entries.length > 0 ? bits | (1n << BigInt(i)) : bits),
      0n,
    );
  }

  /** Whether so many more dynamic capacity records find room. */
  hasRoom(count: number): boolean {
    const { entries, waiting } = this.#log(EVENT_LOG.DYNAMIC_CAPACITY);
    const free = waiting.length > 0 ? 0 : LOG_CAPACITY - entries.length;
    return waiting.length + count - free <= WAITING_RECORDS_LIMIT;
  }

  /**
   * Appends a record. A full log loses it and counts the loss, except for dynamic capacity records,
   * which wait until the log drains.
   *
   * @param group the pending group that it announces
   */
  append(index: EventLogIndex, record: Uint8Array, group = 0): void {
    const log = this.#log(index);
    viewOf(record).setBigUint64(TIMESTAMP_AT, this.#options.timestamp(), true);
    if (log.entries.length < LOG_CAPACITY) this.#insert(index, { record, group });
    else if (index === EVENT_LOG.DYNAMIC_CAPACITY) log.waiting.push({ record, group });
    else this.#lose(log);
  }

  #insert(index: number, entry: Entry): void {
    const log = this.#log(index);
    viewOf(entry.record).setUint16(HANDLE_AT, log.nextHandle, true);
    log.nextHandle = log.nextHandle === MAX_U16 ? 1 : log.nextHandle + 1;
    log.entries.push(entry);
    if (log.entries.length === 1 && log.interrupt) this.#options.notify(VECTORS[index] ?? 0);
  }
  #lose(log: Log): void {
    const now = this.#options.timestamp();
    if (log.overflowCount === 0) log.firstOverflow = now;
    log.lastOverflow = now;
    log.overflowCount = Math.min(log.overflowCount + 1, MAX_U16);
  }
  #refill(index: number): void {
    const log = this.#log(index);
    while (log.entries.length < LOG_CAPACITY) {
      const next = log.waiting.shift();
      if (next === undefined) return;
      this.#insert(index, next);
    }
  }

  /** Get Event Records: a header of 32 bytes and at most `limit` records. CXL 3.1 §8.2.9.2.2 */
  read(index: number, limit: number): Uint8Array | undefined {
    const log = this.#logs[index];
    if (log === undefined) return undefined;
    const records = log.entries.slice(0, limit);
    const output = new Uint8Array(HEADER_SIZE + RECORD_SIZE * records.length);
    const view = viewOf(output);
    const overflow = log.overflowCount > 0 ? 1 : 0;
    const more = records.length < log.entries.length + log.waiting.length ? 2 : 0;
    view.setUint8(0, overflow | more);
    view.setUint16(2, log.overflowCount, true);
    view.setBigUint64(4, log.firstOverflow, true);
    view.setBigUint64(12, log.lastOverflow, true);
    view.setUint16(20, records.length, true);
    records.forEach(({ record }, i) => output.set(record, HEADER_SIZE + RECORD_SIZE * i));
    return output;
  }

  /**
   * Clear Event Records: the oldest ones, named by their handles in order, or all.
   *
   * @see CXL 3.1 §8.2.9.2.3
   */
  clear(index: number, flags: number, handles: readonly number[]): ReturnCode {
    const log = this.#logs[index];
    if (log === undefined) return RETURN_CODE.INVALID_INPUT;
    const all = (flags & CLEAR_ALL) !== 0;
    if (all && handles.length > 0 && log.overflowCount === 0) return RETURN_CODE.INVALID_INPUT;
    const count = all ? log.entries.length : Math.min(handles.length, log.entries.length);
    const wrong = (entry: Entry, i: number): boolean =>
      viewOf(entry.record).getUint16(HANDLE_AT, true) !== handles[i];
    if (!all && (handles.includes(0) || log.entries.slice(0, count).some(wrong)))
      return RETURN_CODE.INVALID_HANDLE;
    log.entries.splice(0, count);
    log.overflowCount = 0;
    log.firstOverflow = 0n;
    log.lastOverflow = 0n;
    this.#refill(index);
    return RETURN_CODE.SUCCESS;
  }

  /** Drops the unread records that announce a pending group. */
  forgetGroups(): void {
    for (const [index, log] of this.#logs.entries()) {
      log.entries = log.entries.filter(({ group }) => group === 0);
      log.waiting = log.waiting.filter(({ group }) => group === 0);
      this.#refill(index);
    }
  }
  /** Drops every record. */
  forgetAll(): void {
    for (const log of this.#logs)
      Object.assign(log, emptyLog(), { nextHandle: log.nextHandle, interrupt: log.interrupt });
  }

  /** Get Event Interrupt Policy. CXL 3.1 §8.2.9.2.4 */
  get policy(): Uint8Array {
    return Uint8Array.from(this.#logs, ({ interrupt }, i) => {
      if (!interrupt) return 0;
      // As QEMU: dynamic capacity reports no vector.
      return i === EVENT_LOG.DYNAMIC_CAPACITY ? MODE_MSI : MODE_MSI | ((VECTORS[i] ?? 0) << 4);
    });
  }
  /** Set Event Interrupt Policy; with four bytes dynamic capacity keeps its own. §8.2.9.2.5 */
  setPolicy(settings: Uint8Array): ReturnCode {
    if (settings.length < MIN_POLICY_LENGTH) return RETURN_CODE.INVALID_PAYLOAD_LENGTH;
    for (const [i, log] of this.#logs.entries()) {
      const setting = settings[i];
      if (setting !== undefined) log.interrupt = (setting & 3) === MODE_MSI;
    }
    return RETURN_CODE.SUCCESS;
  }

  #log(index: number): Log {
    const log = this.#logs[index];
    if (log === undefined) throw new RangeError(`no event log ${String(index)}`);
    return log;
  }

  save(): StateValue {
    return this.#logs.map((log) => ({
      ...log,
      entries: log.entries.map(saveEntry),
      waiting: log.waiting.map(saveEntry),
    }));
  }
  /** Checks a saved state and returns what applies it. @throws QmpError when it does not fit */
  prepareLoad(state: StateValue | undefined): () => void {
    const logs = savedLogs(state, 'saved event logs');
    return () => {
      this.#logs = logs;
    };
  }
}

const saveEntry = ({ record, group }: Entry): DeviceState => ({ record: record.slice(), group });

const savedEntry = fields({
  record: bytes(RECORD_SIZE),
  group: integer(Number.MAX_SAFE_INTEGER),
});
const savedLogs = list(
  fields({
    entries: list(savedEntry, LOG_CAPACITY),
    waiting: list(savedEntry, WAITING_RECORDS_LIMIT),
    nextHandle: integer(MAX_U16, 1),
    overflowCount: integer(MAX_U16),
    firstOverflow: unsigned(),
    lastOverflow: unsigned(),
    interrupt: flag,
  }),
  EVENT_LOG_COUNT,
  EVENT_LOG_COUNT,
);

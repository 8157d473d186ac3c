import { QmpError, refused } from '../../schema/error.js';
import type { GuestAccess } from '../core/guest-access.js';
import { IntervalSet, type Interval } from '../core/interval-set.js';
import { viewOf } from './bytes.js';
import { contains, EXTENT_LIMIT, unpackExtent, withoutRanges, type Extent } from './extents.js';
import { CAPACITY_EVENT, HANDLE_AT, RECORD_SIZE } from './event-records.js';
import { EVENT_LOG } from './event-logs.js';
import { MailboxAccess, type MailboxReply } from './mailbox-access.js';
import { describeReturnCode, RETURN_CODE } from './return-code.js';

const OPCODE = { GET_RECORDS: 0x0100, CLEAR_RECORDS: 0x0101, RESPOND: 0x4802, RELEASE: 0x4803 };
const RECORDS_HEADER = 32;
/** Ranges that one payload of 2048 bytes holds. reference/cxl.md §8.3 */
const MOST_ENTRIES = 85;

export interface CxlDriverOptions {
  /** Host time for an answer of the mailbox. Default 2000. */
  readonly timeoutMs?: number;
}

/** A dynamic capacity record as its driver reads it. */
interface CapacityRecord {
  readonly type: number;
  readonly more: boolean;
  readonly extent: Extent;
}

/**
 * The driver of a CXL device with a mailbox. It remembers what it was offered and has not answered,
 * as a driver in a guest does; a reset of the device makes it forget.
 *
 * @see design §5
 */
export class CxlDriver {
  readonly #access: GuestAccess;
  readonly #mailbox: MailboxAccess;
  /** Offers whose last record came, oldest first. */
  #offers: (readonly Extent[])[] = [];
  /** Extents of the offer whose last record is still to come. */
  #chain: readonly Extent[] = [];
  /** What the device asked to have back. */
  #wanted: Interval[] = [];

  constructor(access: GuestAccess, { timeoutMs }: CxlDriverOptions = {}) {
    this.#access = access;
    this.#mailbox = new MailboxAccess(access, () => this.#forget(), timeoutMs);
  }

  /** One mailbox command. @throws QmpError when the device does not answer */
  mailbox(opcode: number, payload: Uint8Array, signal?: AbortSignal): Promise<MailboxReply> {
    return this.#access.exclusive(async () => {
      const reply = await this.#mailbox.run(opcode, payload, signal);
      const answered = opcode === OPCODE.RESPOND && reply.code === RETURN_CODE.SUCCESS;
      if (answered && ((payload[4] ?? 0) & 1) === 0) this.#offers.shift();
      return reply;
    });
  }

  /**
   * Answers the oldest offer: takes `extents` of it, or all but those, or everything.
   *
   * @throws QmpError when nothing is offered, or the device refuses; the offer then stands
   */
  respond(
    action: 'accept' | 'reject',
    extents: readonly Interval[] | undefined,
    signal?: AbortSignal,
  ): Promise<void> {
    return this.#access.exclusive(async () => {
      await this.#collect(signal);
      const [offer] = this.#offers;
      if (offer === undefined) throw this.#nothingOffered();
      await this.#answer(this.#chosen(offer, action, extents), signal);
    });
  }

  /** Gives ranges back. @throws QmpError when the device refuses */
  release(ranges: readonly Interval[], signal?: AbortSignal): Promise<void> {
    // Ranges of several payloads would not be released all or not at all.
    if (ranges.length > MOST_ENTRIES) throw tooMany(ranges.length, MOST_ENTRIES);
    return this.#access.exclusive(() => this.#send(OPCODE.RELEASE, ranges, signal));
  }

  /**
   * Answers everything that waits, as a guest that is up does: takes all and gives back what is
   * asked for, or refuses all and keeps what it has.
   *
   * @throws QmpError when the device does not answer, or refuses
   */
  answerAll(action: 'accept' | 'reject'): Promise<void> {
    return this.#access.exclusive(async () => {
      await this.#collect();
      for (let [offer] = this.#offers; offer !== undefined; [offer] = this.#offers)
        await this.#answer(action === 'accept' ? offer : []);
      const wanted = this.#wanted;
      this.#wanted = [];
      if (action === 'accept')
        for (const range of wanted) await this.#send(OPCODE.RELEASE, [range]);
    });
  }

  #forget(): void {
    this.#offers = [];
    this.#chain = [];
    this.#wanted = [];
  }
  #nothingOffered(): Error {
    const { name } = this.#access;
    const begun = this.#chain.length;
    return refused(
      begun === 0
        ? `device '${name}' offers no extents`
        : `device '${name}' has not finished its offer: more records follow the ${String(begun)} that came`,
    );
  }

  #chosen(
    offer: readonly Extent[],
    action: 'accept' | 'reject',
    extents: readonly Interval[] | undefined,
  ): readonly Interval[] {
    if (extents === undefined) return action === 'accept' ? offer : [];
    if (extents.length > EXTENT_LIMIT) throw tooMany(extents.length, EXTENT_LIMIT);
    const seen = new IntervalSet();
    for (const range of extents) {
      const where = `extent at ${String(range.base)} of ${String(range.len)} bytes`;
      if (range.len === 0n || !offer.some((extent) => contains(extent, range)))
        throw refused(`${where} is not part of one offered extent`);
      if (seen.overlaps(range)) throw refused(`${where} overlaps another one`);
      seen.add(range);
    }
    return action === 'accept' ? extents : withoutRanges(offer, extents);
  }

  /** Answers the oldest offer, which is done with then. */
  async #answer(entries: readonly Interval[], signal?: AbortSignal): Promise<void> {
    try {
      await this.#send(OPCODE.RESPOND, entries, signal);
    } catch (error) {
      // Whoever answered in our place took the oldest offer; what we know is of no use any more.
      if (error instanceof Refusal && error.isStale) this.#forget();
      throw error;
    }
    this.#offers.shift();
  }

  async #send(opcode: number, ranges: readonly Interval[], signal?: AbortSignal): Promise<void> {
    let sent = 0;
    do {
      const part = ranges.slice(sent, sent + MOST_ENTRIES);
      sent += part.length;
      const payload = packRanges(part, sent < ranges.length);
      const { code } = await this.#mailbox.run(opcode, payload, signal);
      if (code !== RETURN_CODE.SUCCESS) throw new Refusal(this.#access.name, opcode, code);
    } while (sent < ranges.length);
  }

  // Event records.

  /** Reads and clears the log until it is empty. */
  async #collect(signal?: AbortSignal): Promise<void> {
    const log = Uint8Array.of(EVENT_LOG.DYNAMIC_CAPACITY);
    for (;;) {
      const { code, output } = await this.#mailbox.run(OPCODE.GET_RECORDS, log, signal);
      if (code !== RETURN_CODE.SUCCESS)
        throw new Refusal(this.#access.name, OPCODE.GET_RECORDS, code);
      const { records, handles } = readRecords(output);
      if (records.length === 0) return;
      await this.#mailbox.run(OPCODE.CLEAR_RECORDS, packHandles(handles), signal);
      for (const record of records) this.#take(record);
    }
  }
  #take({ type, more, extent }: CapacityRecord): void {
    if (type === CAPACITY_EVENT.ADD) {
      this.#chain = [...this.#chain, extent];
      if (more) return;
      this.#offers.push(this.#chain);
      this.#chain = [];
    } else if (type === CAPACITY_EVENT.RELEASE) this.#wanted.push(extent);
    else if (type === CAPACITY_EVENT.FORCED_RELEASE)
      this.#offers = this.#offers
        .map((offer) => withoutRanges(offer, [extent]))
        .filter((offer) => offer.length > 0);
  }
}

const tooMany = (count: number, limit: number): Error =>
  refused(`${String(count)} extents are more than the ${String(limit)} of one answer`);

/** A return code that is no success. */
class Refusal extends QmpError {
  readonly isStale: boolean;
  constructor(name: string, opcode: number, code: number) {
    super('GenericError', `device '${name}' refused: ${describeReturnCode(code)}`);
    const gone: readonly number[] = [
      RETURN_CODE.INVALID_PHYSICAL_ADDRESS,
      RETURN_CODE.INVALID_INPUT,
    ];
    this.isStale = opcode === OPCODE.RESPOND && gone.includes(code);
  }
}

const packRanges = (ranges: readonly Interval[], more: boolean): Uint8Array => {
  const payload = new Uint8Array(8 + 24 * ranges.length);
  const view = viewOf(payload);
  view.setUint32(0, ranges.length, true);
  view.setUint8(4, more ? 1 : 0);
  ranges.forEach(({ base, len }, i) => {
    view.setBigUint64(8 + 24 * i, base, true);
    view.setBigUint64(16 + 24 * i, len, true);
  });
  return payload;
};

const packHandles = (handles: readonly number[]): Uint8Array => {
  const payload = new Uint8Array(6 + 2 * handles.length);
  payload.set([EVENT_LOG.DYNAMIC_CAPACITY, 0, handles.length]);
  handles.forEach((handle, i) => viewOf(payload).setUint16(6 + 2 * i, handle, true));
  return payload;
};

const readRecords = (
  output: Uint8Array,
): { readonly records: CapacityRecord[]; readonly handles: number[] } => {
  const view = viewOf(output);
  const places = Array.from(
    { length: view.getUint16(20, true) },
    (_, i) => RECORDS_HEADER + RECORD_SIZE * i,
  );
  return {
    handles: places.map((at) => view.getUint16(at + HANDLE_AT, true)),
    records: places.map((at) => ({
      type: view.getUint8(at + 48),
      more: (view.getUint8(at + 53) & 1) !== 0,
      extent: unpackExtent(output, at + 56),
    })),
  };
};

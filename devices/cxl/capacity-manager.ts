import { refused } from '../../schema/error.js';
import type { Interval } from '../core/interval-set.js';
import {
  checkTracked,
  findRegion,
  selectExtents,
  selectReleased,
  shareExtents,
  describe,
  type AddRequest,
  type ReleaseRequest,
} from './capacity-requests.js';
import { type DynamicCapacity } from './dynamic-capacity.js';
import { EXTENT_LIMIT, NO_TAG, packExtent, type Extent } from './extents.js';
import { CAPACITY_EVENT, capacityRecord } from './event-records.js';
import { EVENT_LOG, LOG_CAPACITY, WAITING_RECORDS_LIMIT, type EventLogs } from './event-logs.js';
import type { Region } from './regions.js';
import { RETURN_CODE, type ReturnCode } from './return-code.js';

const { SUCCESS, INVALID_INPUT, UNSUPPORTED, INVALID_PHYSICAL_ADDRESS } = RETURN_CODE;
const { INVALID_EXTENT_LIST, RESOURCES_EXHAUSTED } = RETURN_CODE;

type RecordType = (typeof CAPACITY_EVENT)[keyof typeof CAPACITY_EVENT];

/** A release by mailbox. CXL 3.1 §7.6.7.6.6 */
export interface FabricRelease {
  readonly hostId: number;
  readonly forced: boolean;
  readonly sanitize: boolean;
  readonly ranges: readonly Interval[];
}

/**
 * The fabric manager's side of dynamic capacity, over QMP and over the mailbox: checks a request,
 * changes the state, and tells the host by event records.
 *
 * @see reference/cxl.md §5.8, §7.2 to §7.4
 */
export class CapacityManager {
  readonly capacity: DynamicCapacity;
  readonly #logs: EventLogs;
  readonly #wakeDriver: () => void;

  /** @param wakeDriver called when records wait for the host */
  constructor(capacity: DynamicCapacity, logs: EventLogs, wakeDriver: () => void) {
    this.capacity = capacity;
    this.#logs = logs;
    this.#wakeDriver = wakeDriver;
  }

  /** Offers extents to the host. @throws QmpError and changes nothing */
  add(request: AddRequest): void {
    const region = findRegion(this.capacity, request.region);
    if (request.policy === 'enable-shared-access') {
      this.#addShared(region, request);
      return;
    }
    const extents = selectExtents(this.capacity, region, request);
    this.#checkRoom(extents.length);
    if (extents.length === 0) return;
    const outcome = this.capacity.offer(request.hostId, extents);
    if ('refusal' in outcome) throw refused(outcome.refusal);
    this.#tagged(extents);
    this.#record(CAPACITY_EVENT.ADD, request.hostId, extents, outcome.group);
  }

  /** Offers what other heads have under the tag; the blocks are shared before they are counted. */
  #addShared(region: Region, request: AddRequest): void {
    const extents = shareExtents(this.capacity, region, request);
    try {
      checkTracked(this.capacity, extents.length);
      this.#checkRoom(extents.length);
    } catch (error) {
      this.capacity.ownership.release(extents.map((extent) => this.capacity.relative(extent)));
      throw error;
    }
    const group = this.capacity.offerClaimed(request.hostId, extents);
    this.#record(CAPACITY_EVENT.ADD, request.hostId, extents, group);
  }

  /** Asks the host for extents, or takes them at once. @throws QmpError and changes nothing */
  release(request: ReleaseRequest): void {
    const region = findRegion(this.capacity, request.region);
    // More than ever find room: not worth a look at each.
    if (request.extents.length > WAITING_RECORDS_LIMIT + LOG_CAPACITY)
      this.#checkRoom(request.extents.length);
    const extents = selectReleased(this.capacity, region, request);
    this.#checkRoom(extents.length);
    if (request.forced && this.capacity.trackedWithout(extents) > EXTENT_LIMIT)
      throw refused(`the rest would be more than ${String(EXTENT_LIMIT)} extents`);
    this.#release(request, extents);
  }

  #release(
    { hostId, forced, sanitize }: Omit<FabricRelease, 'ranges'>,
    extents: readonly Extent[],
  ): void {
    if (sanitize) this.capacity.eraseOnRelease(extents);
    if (forced) this.capacity.force(extents);
    const type = forced ? CAPACITY_EVENT.FORCED_RELEASE : CAPACITY_EVENT.RELEASE;
    this.#record(type, hostId, extents);
  }

  // By mailbox; the same rules with return codes.

  /** Initiate Dynamic Capacity Add, prescriptive. CXL 3.1 §7.6.7.6.5 */
  fabricAdd(hostId: number, extents: readonly Extent[]): ReturnCode {
    if (extents.length === 0) return INVALID_INPUT;
    const { capacity } = this;
    if (extents.length + capacity.tracked > EXTENT_LIMIT) return RESOURCES_EXHAUSTED;
    const taken = (e: Extent): boolean => capacity.touchesBacked(e) || capacity.touchesPending(e);
    if (extents.some(taken)) return INVALID_EXTENT_LIST;
    const code = capacity.checkEntries(extents);
    if (code !== SUCCESS) return code;
    if (extents.some(({ tag }) => tag !== NO_TAG && capacity.hasTag(tag))) return INVALID_INPUT;
    if (!this.#logs.hasRoom(extents.length)) return RESOURCES_EXHAUSTED;
    const outcome = capacity.offer(hostId, extents);
    if ('refusal' in outcome) return INVALID_INPUT;
    this.#tagged(extents);
    this.#record(CAPACITY_EVENT.ADD, hostId, extents, outcome.group);
    return SUCCESS;
  }

  /** Initiate Dynamic Capacity Release, prescriptive. CXL 3.1 §7.6.7.6.6 */
  fabricRelease(request: FabricRelease): ReturnCode {
    const { ranges, forced } = request;
    const { capacity } = this;
    if (ranges.length === 0) return INVALID_INPUT;
    const code = capacity.checkEntries(ranges);
    if (code !== SUCCESS) return code;
    const pending = ranges.some((range) => capacity.touchesPending(range));
    if (pending && !forced) return INVALID_PHYSICAL_ADDRESS;
    const known = (range: Interval): boolean =>
      forced ? capacity.isKnown(range) : capacity.isBacked(range);
    if (!ranges.every(known)) return INVALID_PHYSICAL_ADDRESS;
    if (capacity.trackedWithout(ranges) > EXTENT_LIMIT || !this.#logs.hasRoom(ranges.length))
      return RESOURCES_EXHAUSTED;
    const extents = ranges.map((range) => describe(capacity, range));
    this.#release(request, extents);
    return SUCCESS;
  }

  /** Set DC Region Configuration. CXL 3.1 §7.6.7.6.3; reference/cxl.md §5.8 */
  configureRegion(index: number, blockSize: bigint, sanitize: boolean): ReturnCode {
    if (sanitize) return UNSUPPORTED;
    const region = this.capacity.regions[index];
    if (region === undefined || this.#isBusy(region)) return UNSUPPORTED;
    const powerOfTwo = blockSize > 0n && (blockSize & (blockSize - 1n)) === 0n;
    if (!powerOfTwo || (blockSize & region.blockSizeMask) === 0n) return INVALID_INPUT;
    if (blockSize === region.blockSize) return SUCCESS;
    if (!this.#logs.hasRoom(1)) return RESOURCES_EXHAUSTED;
    region.blockSize = blockSize;
    const type = CAPACITY_EVENT.REGION_UPDATED;
    const { available: extentsAvailable } = this.capacity;
    const event = { type, hostId: 0, region: index, more: false, extentsAvailable };
    this.#logs.append(EVENT_LOG.DYNAMIC_CAPACITY, capacityRecord(event));
    return SUCCESS;
  }
  #isBusy(region: Region): boolean {
    return this.capacity.touchesBacked(region) || this.capacity.touchesPending(region);
  }

  #tagged(extents: readonly Extent[]): void {
    const { ownership } = this.capacity;
    for (const tag of new Set(extents.map((extent) => extent.tag)))
      if (tag !== NO_TAG)
        ownership.tagged?.(
          tag,
          extents.filter((e) => e.tag === tag).map((e) => this.capacity.relative(e)),
        );
  }
  /** @throws QmpError when the records of the request would find no room */
  #checkRoom(count: number): void {
    if (!this.#logs.hasRoom(count))
      throw refused(
        `${String(count)} more event records exceed the ${String(WAITING_RECORDS_LIMIT)} that may wait for the host to read the log`,
      );
  }
  #record(type: RecordType, hostId: number, extents: readonly Extent[], group = 0): void {
    const { available: extentsAvailable } = this.capacity;
    extents.forEach((extent, i) => {
      const more = i < extents.length - 1;
      const event = { type, hostId, more, extent: packExtent(extent), extentsAvailable };
      this.#logs.append(EVENT_LOG.DYNAMIC_CAPACITY, capacityRecord(event), group);
    });
    this.#wakeDriver();
  }
}

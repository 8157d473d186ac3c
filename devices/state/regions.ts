import { refused } from '../../schema/error.js';
import type { DeviceState } from '../core/device.js';
import { StateError } from './errno.js';
import type { StateControl } from './control.js';
import { checkStart } from './page-log.js';

export const DATA_REGIONS = ['config', 'memory', 'bitmap'] as const;
export type DataRegion = (typeof DATA_REGIONS)[number];
/** Bytes of each region of data. */
export type RegionLengths = Readonly<Record<DataRegion, number>>;

export const DEFAULT_LENGTHS: RegionLengths = {
  config: 2 ** 20,
  memory: 2 ** 20,
  bitmap: 2 ** 16,
};
export const LEAST_LENGTH = 4096;
export const MOST_LENGTH = 2 ** 24;

/** @throws QmpError unless a region can have this length */
export const checkLength = (name: string, length: number): void => {
  if (length < LEAST_LENGTH || length > MOST_LENGTH || !Number.isInteger(Math.log2(length)))
    throw refused(
      `${name} is ${String(length)}, not a power of two from ${String(LEAST_LENGTH)} to ${String(MOST_LENGTH)}`,
    );
};

const REGION_CAPABILITY = { memory: 'DEVICE_MEMORY', bitmap: 'SYSTEM_MEMORY' } as const;
const PAGES_PER_BYTE = 8;

/**
 * The three regions of data of one device, and what its control structure does with them. They
 * belong to the client but for the time of an action.
 *
 * @see reference/vfio-device-state.md §1, §4
 */
export class StateRegions {
  readonly control: StateControl;
  readonly lengths: RegionLengths;
  readonly #data = new Map<DataRegion, Uint8Array>();
  #pos = 0n;
  #start = 0n;
  #pages = 0n;

  constructor(control: StateControl, lengths: RegionLengths) {
    this.control = control;
    this.lengths = lengths;
  }

  /** @throws StateError ENODEV when the device has no such region, EINVAL beyond it */
  read(region: DataRegion, offset: number, length: number): Uint8Array {
    this.#check(region, offset, length);
    return this.#data.get(region)?.slice(offset, offset + length) ?? new Uint8Array(length);
  }
  /** @throws StateError ENODEV when the device has no such region, EINVAL beyond it */
  write(region: DataRegion, offset: number, bytes: Uint8Array): void {
    this.#check(region, offset, bytes.length);
    this.#bytes(region).set(bytes, offset);
  }

  /** Where in the stream of memory the next action works. */
  get position(): bigint {
    return this.#pos;
  }
  /** @throws StateError ENODEV, or EINVAL unless it is a multiple of the length of the region */
  setPosition(pos: bigint): void {
    this.control.checkCapability('DEVICE_MEMORY');
    const { memory } = this.lengths;
    if (pos % BigInt(memory) !== 0n)
      throw new StateError('EINVAL', `position ${String(pos)} is no multiple of ${String(memory)}`);
    this.#pos = pos;
  }
  /** First address of the next query. */
  get start(): bigint {
    return this.#start;
  }
  /** @throws StateError ENODEV, or EINVAL unless it is the address of a page */
  setStart(start: bigint): void {
    this.control.checkCapability('SYSTEM_MEMORY');
    checkStart(start);
    this.#start = start;
  }
  /** Pages of the last query. */
  get pages(): bigint {
    return this.#pages;
  }

  /** Fills DEVICE_CONFIG with a snapshot, and zeros behind it. @throws StateError EFBIG */
  getConfig(): void {
    const snapshot = this.control.configSnapshot();
    if (snapshot.length > this.lengths.config)
      throw new StateError(
        'EFBIG',
        `configuration of ${String(snapshot.length)} bytes is more than the ${String(this.lengths.config)} of the region`,
      );
    this.#fill('config', snapshot);
  }
  /** @throws StateError of the load */
  setConfig(): void {
    this.control.loadConfig(this.#bytes('config'));
  }
  /** Fills DEVICE_MEMORY with the chunk at the position, and zeros behind it. */
  getMemory(): void {
    this.#fill('memory', this.control.memoryChunk(this.#pos, this.lengths.memory));
  }
  /** @throws StateError of the load */
  setMemory(): void {
    this.control.loadMemoryChunk(this.#pos, this.#bytes('memory'));
  }
  /**
   * Puts the dirty pages from the start on into DIRTY_BITMAP, and cleans them.
   *
   * @throws StateError E2BIG when they are more than the region has bits
   */
  query(pages: bigint): void {
    this.control.checkCapability('SYSTEM_MEMORY');
    const most = this.lengths.bitmap * PAGES_PER_BYTE;
    if (pages > BigInt(most))
      throw new StateError('E2BIG', `${String(pages)} pages are more than ${String(most)}`);
    this.#bytes('bitmap').set(this.control.systemPages(this.#start, pages, true));
    this.#pages = pages;
  }

  /** The device was reset: the fields are 0, the data stays. */
  reset(): void {
    this.#pos = 0n;
    this.#start = 0n;
    this.#pages = 0n;
  }

  /** Fields and data, without zeros at the end; the state of the device itself is not here. */
  save(): DeviceState {
    const data: DeviceState = {};
    for (const region of DATA_REGIONS) {
      const bytes = trimmed(this.#data.get(region) ?? NOTHING);
      if (bytes.length > 0) data[region] = bytes;
    }
    return { pos: this.#pos, start: this.#start, pages: this.#pages, data };
  }
  /** Checks a saved state and returns what applies it. @throws QmpError when it does not fit */
  prepareLoad(state: unknown): () => void {
    const saved = (typeof state === 'object' ? state : undefined) as DeviceState | undefined;
    const { pos, start, pages, data } = saved ?? {};
    if (!isField(pos) || !isField(start) || !isField(pages) || typeof data !== 'object')
      throw refused('saved fields do not fit the regions of a device state');
    if (pos % BigInt(this.lengths.memory) !== 0n || start % 4096n !== 0n)
      throw refused('saved position or address does not fit the regions of a device state');
    const pieces = DATA_REGIONS.flatMap((region) => {
      const bytes = (data as DeviceState)[region];
      if (bytes === undefined) return [];
      if (!(bytes instanceof Uint8Array && bytes.length <= this.lengths[region]))
        throw refused(`saved data of region ${region} does not fit`);
      return [{ region, bytes }];
    });
    return () => {
      this.#pos = pos;
      this.#start = start;
      this.#pages = pages;
      this.#data.clear();
      for (const { region, bytes } of pieces) this.#bytes(region).set(bytes);
    };
  }

  #bytes(region: DataRegion): Uint8Array {
    let bytes = this.#data.get(region);
    if (bytes === undefined) {
      bytes = new Uint8Array(this.lengths[region]);
      this.#data.set(region, bytes);
    }
    return bytes;
  }
  #fill(region: DataRegion, data: Uint8Array): void {
    const bytes = this.#bytes(region);
    bytes.set(data);
    bytes.fill(0, data.length);
  }
  #check(region: DataRegion, offset: number, length: number): void {
    this.control.checkThere();
    if (region !== 'config') this.control.checkCapability(REGION_CAPABILITY[region]);
    const size = this.lengths[region];
    if (length === 0 || offset + length > size)
      throw new StateError(
        'EINVAL',
        `${String(length)} bytes at ${String(offset)} are not inside the ${String(size)} bytes of the region`,
      );
  }
}

const NOTHING = new Uint8Array(0);
const isField = (value: unknown): value is bigint =>
  typeof value === 'bigint' && BigInt.asUintN(64, value) === value;

const trimmed = (bytes: Uint8Array): Uint8Array => {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return bytes.slice(0, end);
};

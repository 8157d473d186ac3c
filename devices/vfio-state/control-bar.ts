import { refused } from '../../schema/error.js';
import type { Activity } from '../core/activity.js';
import type { DeviceState } from '../core/device.js';
import type { AccessSize } from '../core/host-memory.js';
import { bytesFromInt, intFromBytes, MemoryRegion } from '../core/memory-region.js';
import { CTL_FIELDS, CTL_SIZE, readControl, writeControl } from '../state/ctl-registers.js';
import { ERRNO, StateError } from '../state/errno.js';
import type { StateRegions } from '../state/regions.js';
import { CONTROL_BAR_SIZE, REGISTER } from './registers.js';

const DWORD = 0xffff_ffffn;

/**
 * The control structure as registers of 32 bits. A write to the low half of a 64-bit field is kept
 * until the high half is written; a read of the low half reads the field, and keeps the high half for
 * the read that follows.
 */
export class ControlBar {
  readonly region: MemoryRegion;
  readonly #regions: () => StateRegions;
  readonly #activity: Activity;
  #result = 0;
  /** Low halves that were written, by the offset of their field. */
  readonly #low = new Map<number, bigint>();
  /** High halves of what was read. */
  readonly #high = new Map<number, bigint>();

  /** @param activity of the vfio-state itself, not of the device that it shows */
  constructor(regions: () => StateRegions, activity: Activity) {
    this.#regions = regions;
    this.#activity = activity;
    this.region = MemoryRegion.mmio(
      'vfio-state-control',
      CONTROL_BAR_SIZE,
      {
        read: (offset) => this.#read(offset),
        write: (offset, _size: AccessSize, value) => this.#write(offset, value),
      },
      { valid: { min: 4, max: 8 }, impl: { min: 4, max: 4 } },
    );
  }

  reset(): void {
    this.#result = 0;
    this.#low.clear();
    this.#high.clear();
  }

  save(): DeviceState {
    return { result: this.#result, low: halves(this.#low), high: halves(this.#high) };
  }
  /** Checks a saved state and returns what applies it. @throws QmpError when it does not fit */
  prepareLoad(state: unknown): () => void {
    const saved = (typeof state === 'object' ? state : undefined) as DeviceState | undefined;
    const { result, low, high } = saved ?? {};
    const isErrno = result === 0 || Object.values<unknown>(ERRNO).includes(result);
    if (typeof result !== 'number' || !isErrno)
      throw refused('saved state has no result of device type vfio-state');
    const lows = readHalves(low);
    const highs = readHalves(high);
    return () => {
      this.reset();
      this.#result = result;
      for (const [offset, half] of lows) this.#low.set(offset, half);
      for (const [offset, half] of highs) this.#high.set(offset, half);
    };
  }

  #read(offset: number): bigint {
    if (offset >= CTL_SIZE) return this.#register(offset);
    if (this.#activity.stopped) return this.#peek(offset);
    const kept = this.#high.get(offset - 4);
    if (kept !== undefined) {
      this.#high.delete(offset - 4);
      return kept;
    }
    const size = sizeAt(offset);
    const value = this.#try(() => intFromBytes(readControl(this.#regions(), offset, size))) ?? 0n;
    if (size === 8) this.#high.set(offset, value >> 32n);
    return value & DWORD;
  }
  /** What can be read without a trace: no field of 64 bits. */
  #peek(offset: number): bigint {
    if (sizeAt(offset) === 8 || sizeAt(offset - 4) === 8) return 0n;
    try {
      return intFromBytes(readControl(this.#regions(), offset, 4));
    } catch (error) {
      if (error instanceof StateError) return 0n;
      throw error;
    }
  }
  #write(offset: number, value: bigint): void {
    if (offset >= CTL_SIZE) return;
    if (sizeAt(offset) === 8) {
      this.#low.set(offset, value);
      return;
    }
    const isHigh = sizeAt(offset - 4) === 8;
    const at = isHigh ? offset - 4 : offset;
    const bytes = new Uint8Array(isHigh ? 8 : 4);
    bytesFromInt(isHigh ? (value << 32n) | (this.#low.get(at) ?? 0n) : value, bytes);
    this.#try(() => writeControl(this.#regions(), at, bytes));
  }
  /** Runs an access of the control structure; its errno is the result. */
  #try<T>(access: () => T): T | undefined {
    try {
      const value = access();
      this.#result = 0;
      return value;
    } catch (error) {
      if (!(error instanceof StateError)) throw error;
      this.#result = ERRNO[error.errno];
      return undefined;
    }
  }
  #register(offset: number): bigint {
    const { config, memory, bitmap } = this.#regions().lengths;
    switch (offset) {
      case REGISTER.RESULT:
        return BigInt(this.#result);
      case REGISTER.CTL_SIZE:
        return BigInt(CTL_SIZE);
      case REGISTER.CONFIG_LENGTH:
        return BigInt(config);
      case REGISTER.MEMORY_LENGTH:
      case REGISTER.BITMAP_OFFSET:
        return BigInt(memory);
      case REGISTER.BITMAP_LENGTH:
        return BigInt(bitmap);
      default:
        return 0n;
    }
  }
}

/** Size of the field that begins there; 4 where none does. */
const sizeAt = (offset: number): 4 | 8 =>
  CTL_FIELDS.find((field) => field.offset === offset)?.size ?? 4;

const halves = (map: ReadonlyMap<number, bigint>): DeviceState =>
  Object.fromEntries([...map].map(([offset, half]) => [String(offset), half]));

const readHalves = (state: unknown): [number, bigint][] => {
  if (typeof state !== 'object' || state === null)
    throw refused('saved state has no halves of fields of device type vfio-state');
  return Object.entries(state).map(([text, half]: [string, unknown]) => {
    const offset = Number(text);
    if (sizeAt(offset) !== 8 || typeof half !== 'bigint' || half < 0n || half > DWORD)
      throw refused(`saved half of field ${text} does not fit device type vfio-state`);
    return [offset, half];
  });
};

import type { DeviceState, StateValue } from '../core/device.js';
import type { AccessSize } from '../core/host-memory.js';
import { MemoryRegion } from '../core/memory-region.js';
import type { Cci } from './cci.js';
import { Mailbox, MAILBOX_PAYLOAD_SIZE, PAYLOAD_AT } from './mailbox.js';

/** Bytes of the BAR. */
export const DEVICE_REGISTERS_SIZE = 0x1000n;
/** Places of the blocks in the BAR. reference/cxl.md §4 */
export const DEVICE_BLOCK = {
  STATUS: { offset: 0x80, length: 8 },
  MAILBOX: { offset: 0x88, length: PAYLOAD_AT + MAILBOX_PAYLOAD_SIZE },
  MEMORY_DEVICE: { offset: 0x8a8, length: 8 },
} as const;

const ARRAY_ID = 0x10000n;

/** A capability header: id and version, then offset and length. CXL 3.1 §8.2.8.2 */
interface Header {
  readonly id: number;
  readonly version: number;
  readonly at: { readonly offset: number; readonly length: number };
}
const STATUS_HEADER: Header = { id: 1, version: 2, at: DEVICE_BLOCK.STATUS };
const MAILBOX_HEADER: Header = { id: 2, version: 1, at: DEVICE_BLOCK.MAILBOX };
const MEMORY_HEADER: Header = { id: 0x4000, version: 1, at: DEVICE_BLOCK.MEMORY_DEVICE };

export interface DeviceRegistersOptions {
  readonly name: string;
  readonly cci: Cci;
  /** Event status: one bit for each log that holds records; 0 without logs. */
  readonly eventStatus: () => bigint;
  /** Memory device status; undefined for what is no memory device. */
  readonly memoryStatus?: () => bigint;
}

/**
 * The device register block: capability array, event status, mailbox and memory device status.
 *
 * @see reference/cxl.md §4
 */
export class DeviceRegisters {
  readonly mailbox: Mailbox;
  /** The whole BAR. */
  readonly region: MemoryRegion;
  readonly #options: DeviceRegistersOptions;
  readonly #array: readonly number[];

  constructor(options: DeviceRegistersOptions) {
    this.#options = options;
    this.mailbox = new Mailbox(options.cci);
    const headers = [STATUS_HEADER, MAILBOX_HEADER];
    if (options.memoryStatus !== undefined) headers.push(MEMORY_HEADER);
    this.#array = [Number(ARRAY_ID), headers.length, 0, 0, ...headers.flatMap(dwordsOf)];
    this.region = MemoryRegion.mmio(
      options.name,
      DEVICE_REGISTERS_SIZE,
      {
        read: (offset, size) => this.#read(offset, size),
        write: (offset, size, value) => this.#write(offset, size, value),
      },
      { valid: { min: 1, max: 8 }, impl: { min: 1, max: 8 } },
    );
  }

  #read(offset: number, size: AccessSize): bigint {
    const { STATUS, MAILBOX, MEMORY_DEVICE } = DEVICE_BLOCK;
    if (offset < STATUS.offset) return size < 4 ? 0n : this.#readArray(offset, size);
    if (offset < STATUS.offset + STATUS.length)
      return cut(this.#options.eventStatus(), offset - STATUS.offset, size);
    if (offset < MAILBOX.offset + MAILBOX.length)
      return this.mailbox.read(offset - MAILBOX.offset, size);
    if (offset < MEMORY_DEVICE.offset + MEMORY_DEVICE.length)
      return cut(this.#options.memoryStatus?.() ?? 0n, offset - MEMORY_DEVICE.offset, size);
    return 0n;
  }

  #readArray(offset: number, size: AccessSize): bigint {
    const low = BigInt(this.#array[offset / 4] ?? 0);
    return size === 4 ? low : low | (BigInt(this.#array[offset / 4 + 1] ?? 0) << 32n);
  }

  #write(offset: number, size: AccessSize, value: bigint): void {
    const { offset: first, length } = DEVICE_BLOCK.MAILBOX;
    if (offset >= first && offset < first + length) this.mailbox.write(offset - first, size, value);
  }

  reset(): void {
    this.mailbox.reset();
  }
  save(): DeviceState {
    return this.mailbox.save();
  }
  /** Checks a saved state and returns what applies it. @throws QmpError when it does not fit */
  prepareLoad(state: StateValue | undefined): () => void {
    return this.mailbox.prepareLoad(state);
  }
}

const dwordsOf = ({ id, version, at }: Header): number[] => [
  id + version * 0x10000,
  at.offset,
  at.length,
  0,
];
const cut = (value: bigint, offset: number, size: AccessSize): bigint =>
  BigInt.asUintN(8 * size, value >> BigInt(8 * offset));

import type { DeviceState, StateValue } from '../core/device.js';
import { fields, flag, integer, list, unsigned } from '../core/saved-state.js';
import type { Clock } from '../core/clock.js';
import { RETURN_CODE, type ReturnCode } from './return-code.js';

const { SUCCESS, INVALID_INPUT, FW_TRANSFER_IN_PROGRESS } = RETURN_CODE;
const { FW_TRANSFER_OUT_OF_ORDER, FW_INVALID_SLOT } = RETURN_CODE;

export const FIRMWARE_SLOTS = 2;
/** Largest image. reference/cxl.md §5.4 */
const MAX_IMAGE = 32 * 2 ** 20;
const PART_TIMEOUT_NS = 30_000_000_000n;

export const TRANSFER = { FULL: 0, START: 1, CONTINUE: 2, END: 3, ABORT: 4 } as const;
const ACTIVATE = { ONLINE: 0, AT_RESET: 1 } as const;

/** A part of an image; the bytes themselves are not kept. */
export interface FirmwarePart {
  readonly action: number;
  readonly slot: number;
  /** Bytes from the start of the image. */
  readonly offset: number;
  readonly length: number;
}
interface Transfer {
  readonly lastAt: bigint;
  readonly lastOffset: number;
  readonly lastLength: number;
}

/**
 * Firmware slots and the transfer of an image.
 *
 * @see CXL 3.1 §8.2.9.3; reference/cxl.md §5.4
 */
export class Firmware {
  readonly #clock: Clock;
  #active = 1;
  #staged = 0;
  /** Whether slot 2 holds an image; slot 1 always does. */
  #present = false;
  #transfer: Transfer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Slots are numbered from 1; `staged` 0 is none. */
  get slots(): { readonly active: number; readonly staged: number } {
    return { active: this.#active, staged: this.#staged };
  }
  isPresent(slot: number): boolean {
    return slot === 1 || (slot === FIRMWARE_SLOTS && this.#present);
  }

  /** Checks a part and takes note of it; SUCCESS means that its transfer may begin. */
  transfer(part: FirmwarePart): ReturnCode {
    if (part.action === TRANSFER.ABORT) {
      this.#transfer = undefined;
      return SUCCESS;
    }
    const code = this.#check(part);
    if (code !== SUCCESS) return code;
    const { action, offset, length } = part;
    const open = action === TRANSFER.START || action === TRANSFER.CONTINUE;
    const now = this.#clock.now();
    this.#transfer = open ? { lastAt: now, lastOffset: offset, lastLength: length } : undefined;
    return SUCCESS;
  }

  #check(part: FirmwarePart): ReturnCode {
    const { action, offset, length } = part;
    if (action > TRANSFER.ABORT || offset + length > MAX_IMAGE) return INVALID_INPUT;
    const first = action === TRANSFER.FULL || action === TRANSFER.START;
    const order = first ? this.#checkFirst() : this.#checkNext(part);
    if (order !== SUCCESS) return order;
    if (action === TRANSFER.START && offset !== 0) return INVALID_INPUT;
    const last = action === TRANSFER.FULL || action === TRANSFER.END;
    return last && !this.#isTarget(part.slot) ? FW_INVALID_SLOT : SUCCESS;
  }
  #checkFirst(): ReturnCode {
    return this.#isFresh() ? FW_TRANSFER_IN_PROGRESS : SUCCESS;
  }
  #isFresh(): boolean {
    const open = this.#transfer;
    return open !== undefined && this.#clock.now() - open.lastAt <= PART_TIMEOUT_NS;
  }
  #checkNext({ offset, length }: FirmwarePart): ReturnCode {
    const open = this.#transfer;
    if (open === undefined || !this.#isFresh()) return INVALID_INPUT;
    const repeated = offset === open.lastOffset && length === open.lastLength;
    return offset < open.lastOffset + open.lastLength && !repeated
      ? FW_TRANSFER_OUT_OF_ORDER
      : SUCCESS;
  }
  #isTarget(slot: number): boolean {
    return slot >= 1 && slot <= FIRMWARE_SLOTS && slot !== this.#active;
  }

  /** The transfer of a part is done; the last one makes the slot usable. */
  transferred({ action, slot }: FirmwarePart): void {
    const last = action === TRANSFER.FULL || action === TRANSFER.END;
    if (last && slot === FIRMWARE_SLOTS) this.#present = true;
  }

  activate(action: number, slot: number): ReturnCode {
    if (!this.#isTarget(slot) || !this.isPresent(slot)) return FW_INVALID_SLOT;
    if (action === ACTIVATE.ONLINE) this.#active = slot;
    else if (action === ACTIVATE.AT_RESET) this.#staged = slot;
    else return INVALID_INPUT;
    return SUCCESS;
  }

  /** Back to the image that the device came with; a transfer is forgotten. */
  reset(): void {
    this.#active = 1;
    this.#staged = 0;
    this.#present = false;
    this.#transfer = undefined;
  }

  save(): DeviceState {
    const transfer = this.#transfer;
    return {
      ...{ active: this.#active, staged: this.#staged, present: this.#present },
      transfer:
        transfer === undefined
          ? []
          : [{ ...transfer, lastAt: this.#clock.now() - transfer.lastAt }],
    };
  }
  /** Checks a saved state and returns what applies it. @throws QmpError when it does not fit */
  prepareLoad(state: StateValue | undefined): () => void {
    const { active, staged, present, transfer } = savedFirmware(state, 'saved firmware slots');
    const [open] = transfer;
    return () => {
      this.#active = active;
      this.#staged = staged;
      this.#present = present;
      this.#transfer =
        open === undefined ? undefined : { ...open, lastAt: this.#clock.now() - open.lastAt };
    };
  }
}

const savedFirmware = fields({
  active: integer(FIRMWARE_SLOTS, 1),
  staged: integer(FIRMWARE_SLOTS),
  present: flag,
  /** The open one, if there is; `lastAt` in nanoseconds before now. */
  transfer: list(
    fields({
      lastAt: unsigned(),
      lastOffset: integer(MAX_IMAGE),
      lastLength: integer(MAX_IMAGE),
    }),
    1,
  ),
});

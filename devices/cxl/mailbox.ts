import type { DeviceState, StateValue } from '../core/device.js';
import { bytes, fields, part } from '../core/saved-state.js';
import type { AccessSize } from '../core/host-memory.js';
import { intFromBytes, bytesFromInt } from '../core/memory-region.js';
import { field, RegisterFile, whole, type RegisterMap } from '../core/register-file.js';
import type { Cci } from './cci.js';

/** Primary mailbox; offsets from the start of the capability. CXL 3.1 §8.2.8.4 */
export const MAILBOX = {
  // §8.2.8.4.3 Mailbox Capabilities; payload is 2^PAYLOAD_SIZE bytes
  CAP: {
    offset: 0x00,
    size: 4,
    fields: {
      PAYLOAD_SIZE: field([4, 0], 'RO', 11n),
      DOORBELL_INTERRUPT: field([5, 5], 'RO', 0n),
      BACKGROUND_INTERRUPT: field([6, 6], 'RO', 1n),
      VECTOR: field([10, 7], 'RO', 7n),
      READY_TIME: field([18, 11], 'RO', 0n),
      TYPE: field([22, 19], 'RO', 0n),
    },
  },
  // §8.2.8.4.4 Mailbox Control
  CTRL: {
    offset: 0x04,
    size: 4,
    fields: {
      DOORBELL: field([0, 0], 'RW'),
      DOORBELL_INTERRUPT: field([1, 1], 'RW'),
      BACKGROUND_INTERRUPT: field([2, 2], 'RW'),
    },
  },
  // §8.2.8.4.5 Command
  COMMAND: {
    offset: 0x08,
    size: 8,
    fields: {
      OPCODE: field([15, 0], 'RW'),
      LENGTH: field([35, 16], 'RW'),
    },
  },
  // §8.2.8.4.6 Mailbox Status
  STATUS: {
    offset: 0x10,
    size: 8,
    fields: {
      BACKGROUND: field([0, 0], 'RO'),
      RETURN_CODE: field([47, 32], 'RO'),
      VENDOR: field([63, 48], 'RO'),
    },
  },
  // §8.2.8.4.7 Background Command Status
  BACKGROUND: whole(0x18, 8, 'RO'),
} as const satisfies RegisterMap;

/** §8.2.8.4.8 Command Payload, from the start of the capability. */
export const PAYLOAD_AT = 0x20;
/** As MAILBOX.CAP says. */
export const MAILBOX_PAYLOAD_SIZE = 2048;
/** MSI-X vector of the end of a background operation, as MAILBOX.CAP says. */
export const MAILBOX_VECTOR = 7;

/**
 * The registers through which software on the host reaches a command interface. The doorbell runs
 * the command before the write returns, so that it always reads 0.
 *
 * @see reference/cxl.md §4.1
 */
export class Mailbox {
  readonly #cci: Cci;
  readonly #registers = new RegisterFile(MAILBOX);
  readonly #payload = new Uint8Array(MAILBOX_PAYLOAD_SIZE);

  constructor(cci: Cci) {
    this.#cci = cci;
  }

  /** Whether software wants a message at the end of a background operation. */
  get backgroundInterrupt(): boolean {
    return this.#registers.getField('CTRL', 'BACKGROUND_INTERRUPT') === 1n;
  }

  /** @param offset from the start of the capability; accesses never straddle the payload's ends */
  read(offset: number, size: AccessSize): bigint {
    if (offset >= PAYLOAD_AT)
      return intFromBytes(this.#payload.subarray(offset - PAYLOAD_AT, offset - PAYLOAD_AT + size));
    this.#refresh();
    if (size >= 4) return this.#registers.read(offset, size);
    const dword = this.#registers.read(offset - (offset % 4), 4);
    return BigInt.asUintN(8 * size, dword >> BigInt(8 * (offset % 4)));
  }

  /** Registers take 4 and 8 bytes at a time only; smaller writes change nothing. */
  write(offset: number, size: AccessSize, value: bigint): void {
    if (offset >= PAYLOAD_AT) {
      bytesFromInt(value, this.#payload.subarray(offset - PAYLOAD_AT, offset - PAYLOAD_AT + size));
      return;
    }
    if (size < 4) return;
    const touched = this.#registers.write(offset, size, value);
    if (touched.includes('CTRL') && this.#registers.getField('CTRL', 'DOORBELL') === 1n)
      this.#run();
  }

  #run(): void {
    const length = Number(this.#registers.getField('COMMAND', 'LENGTH'));
    const opcode = Number(this.#registers.getField('COMMAND', 'OPCODE'));
    // What is longer than the payload has no bytes; its length alone makes the command fail.
    const input =
      length > this.#payload.length ? new Uint8Array(length) : this.#payload.slice(0, length);
    this.#payload.fill(0);
    const { code, output } = this.#cci.execute(opcode, input);
    this.#payload.set(output);
    this.#registers.setField('COMMAND', 'LENGTH', BigInt(output.length));
    this.#registers.setField('STATUS', 'RETURN_CODE', BigInt(code));
    this.#registers.setField('CTRL', 'DOORBELL', 0n);
  }

  #refresh(): void {
    const { background } = this.#cci;
    this.#registers.setField('STATUS', 'BACKGROUND', background.running ? 1n : 0n);
    this.#registers.set('BACKGROUND', background.status);
  }

  reset(): void {
    this.#registers.reset();
    this.#payload.fill(0);
  }
  save(): DeviceState {
    this.#refresh();
    return { registers: this.#registers.save(), payload: this.#payload.slice() };
  }
  /** Checks a saved state and returns what applies it. @throws QmpError when it does not fit */
  prepareLoad(state: StateValue | undefined): () => void {
    const { registers, payload } = savedMailbox(state, 'saved mailbox');
    const apply = this.#registers.prepareLoad(registers);
    return () => {
      apply();
      this.#payload.set(payload);
    };
  }
}

const savedMailbox = fields({ registers: part, payload: bytes(MAILBOX_PAYLOAD_SIZE) });

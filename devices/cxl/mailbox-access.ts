import { refused } from '../../schema/error.js';
import type { GuestAccess } from '../core/guest-access.js';
import { COMMAND, CONFIG, EXTENDED_CAPABILITY } from '../pci/registers.js';
import { MAILBOX, PAYLOAD_AT } from './mailbox.js';

const ABSENT = 0xffff;
const POLL_MS = 10;
const TIMEOUT_MS = 2000;
const CXL_VENDOR = 0x1e98;
/** Register locator DVSEC; offsets from its start. CXL 3.1 §8.1.9 */
const LOCATOR = { ID: 8, FIRST_BLOCK: 0x0c, BLOCKS: 3, BLOCK_SIZE: 8 } as const;
const DEVICE_REGISTERS = 3;
/** Capability array of the device registers. CXL 3.1 §8.2.8.1 */
const ARRAY = { COUNT: 4, FIRST: 0x10, HEADER_SIZE: 0x10, OFFSET: 4 } as const;
const PRIMARY_MAILBOX = 2;
const EXTENDED_SPACE = 0x100;

/** Where a function has its mailbox. */
interface MailboxPlace {
  readonly bar: number;
  readonly offset: number;
}
export interface MailboxReply {
  readonly code: number;
  readonly output: Uint8Array;
}

/**
 * The mailbox of a function as its driver finds and uses it: register locator, capability array,
 * doorbell.
 */
export class MailboxAccess {
  readonly #access: GuestAccess;
  readonly #reset: () => void;
  readonly #timeoutMs: number;
  #place: MailboxPlace | undefined;

  /** @param reset called when the function has lost what its driver set up */
  constructor(access: GuestAccess, reset: () => void, timeoutMs = TIMEOUT_MS) {
    this.#access = access;
    this.#reset = reset;
    this.#timeoutMs = timeoutMs;
  }

  /** @throws QmpError when the device does not answer, or has no mailbox for so many bytes */
  async run(opcode: number, input: Uint8Array, signal?: AbortSignal): Promise<MailboxReply> {
    this.#access.checkActive();
    const place = this.#bind();
    const limit = 2 ** Number(this.#read(place, 'CAP') & 0x1fn);
    if (input.length > limit)
      throw refused(
        `payload of ${String(input.length)} bytes exceeds the ${String(limit)} of device '${this.#access.name}'`,
      );
    await this.#idle(place, signal);
    this.#writePayload(place, input);
    this.#write(place, 'COMMAND', BigInt(opcode) | (BigInt(input.length) << 16n));
    this.#write(place, 'CTRL', this.#read(place, 'CTRL') | 1n);
    await this.#idle(place, signal);
    const code = Number((this.#read(place, 'STATUS') >> 32n) & 0xffffn);
    const length = Number((this.#read(place, 'COMMAND') >> 16n) & 0xfffffn);
    return { code, output: this.#readPayload(place, Math.min(length, limit)) };
  }

  /** Waits until the doorbell is clear. */
  async #idle(place: MailboxPlace, signal: AbortSignal | undefined): Promise<void> {
    for (let left = this.#timeoutMs; (this.#read(place, 'CTRL') & 1n) !== 0n; left -= POLL_MS) {
      if (left <= 0) throw refused(`device '${this.#access.name}' did not answer in time`);
      const end = await this.#access.wait({ timeoutMs: POLL_MS, signal }, () => undefined);
      if (end === 'timeout' || end === 'message') continue;
      throw refused(`device '${this.#access.name}' is no longer waited for: ${end}`);
    }
  }

  /** Lets the function decode and master the bus; a function that did not was reset. */
  #bind(): MailboxPlace {
    const access = this.#access;
    if (access.configRead(CONFIG.VENDOR_ID, 2) === ABSENT)
      throw refused(`device '${access.name}' does not answer`);
    const command = access.configRead(CONFIG.COMMAND, 2);
    const wanted = COMMAND.MEMORY | COMMAND.MASTER;
    if ((command & COMMAND.MEMORY) === 0) this.#reset();
    if ((command & wanted) !== wanted) access.configWrite(CONFIG.COMMAND, 2, command | wanted);
    this.#place ??= this.#find();
    return this.#place;
  }

  #find(): MailboxPlace {
    const block = this.#findBlock();
    const read = (offset: number): number =>
      block === undefined ? 0 : Number(this.#access.mmioRead(block.bar, block.offset + offset, 4));
    for (let i = 0; i < (read(ARRAY.COUNT) & 0xffff); i++) {
      const header = ARRAY.FIRST + ARRAY.HEADER_SIZE * i;
      if (block !== undefined && (read(header) & 0xffff) === PRIMARY_MAILBOX)
        return { bar: block.bar, offset: block.offset + read(header + ARRAY.OFFSET) };
    }
    throw refused(`device '${this.#access.name}' has no CXL mailbox`);
  }

  /** The device register block that the register locator names. */
  #findBlock(): MailboxPlace | undefined {
    const at = this.#findLocator();
    if (at === undefined) return undefined;
    for (let i = 0; i < LOCATOR.BLOCKS; i++) {
      const entry = this.#access.configRead(at + LOCATOR.FIRST_BLOCK + LOCATOR.BLOCK_SIZE * i, 4);
      if (((entry >> 8) & 0xff) === DEVICE_REGISTERS)
        return { bar: entry & 7, offset: Math.floor(entry / 0x10000) * 0x10000 };
    }
    return undefined;
  }
  #findLocator(): number | undefined {
    let at = EXTENDED_SPACE;
    // As many capabilities as the space holds; a list that bites its tail ends there.
    for (let seen = 0; at >= EXTENDED_SPACE && seen < 960; seen++) {
      const header = this.#access.configRead(at, 4);
      const isDvsec = (header & 0xffff) === EXTENDED_CAPABILITY.DVSEC;
      if (isDvsec && this.#isLocator(at)) return at;
      at = Math.floor(header / 2 ** 20) & 0xffc;
    }
    return undefined;
  }
  #isLocator(at: number): boolean {
    const vendor = this.#access.configRead(at + 4, 2);
    return vendor === CXL_VENDOR && this.#access.configRead(at + 8, 2) === LOCATOR.ID;
  }

  #read({ bar, offset }: MailboxPlace, name: keyof typeof MAILBOX): bigint {
    const register = MAILBOX[name];
    return this.#access.mmioRead(bar, offset + register.offset, register.size);
  }
  #write({ bar, offset }: MailboxPlace, name: keyof typeof MAILBOX, value: bigint): void {
    const register = MAILBOX[name];
    this.#access.mmioWrite(bar, offset + register.offset, register.size, value);
  }
  #writePayload({ bar, offset }: MailboxPlace, bytes: Uint8Array): void {
    const padded = new Uint8Array(Math.ceil(bytes.length / 8) * 8);
    padded.set(bytes);
    const view = new DataView(padded.buffer);
    for (let at = 0; at < padded.length; at += 8)
      this.#access.mmioWrite(bar, offset + PAYLOAD_AT + at, 8, view.getBigUint64(at, true));
  }
  #readPayload({ bar, offset }: MailboxPlace, length: number): Uint8Array {
    const padded = new Uint8Array(Math.ceil(length / 8) * 8);
    const view = new DataView(padded.buffer);
    for (let at = 0; at < padded.length; at += 8)
      view.setBigUint64(at, this.#access.mmioRead(bar, offset + PAYLOAD_AT + at, 8), true);
    return padded.slice(0, length);
  }
}

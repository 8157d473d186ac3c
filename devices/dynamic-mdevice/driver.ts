import { refused } from '../../schema/error.js';
import type { GuestAccess, WaitEnd } from '../core/guest-access.js';
import { CAPABILITY, COMMAND as PCI_COMMAND, CONFIG } from '../pci/registers.js';
import type { AttachmentHolder, MemAttachmentInfo } from './device.js';
import { COMMAND, EVENT, REGISTERS, REGISTERS_BAR, ring } from './registers.js';

export interface DriverOptions {
  /** Host time for the device's answer. Default 1000. */
  readonly timeoutMs?: number;
  /** Aborted when who asked is gone. */
  readonly signal?: AbortSignal;
}
export interface MemRequest {
  readonly size: bigint;
  readonly offset: bigint;
}
/** Which attachment: all without members, the last at `offset`, or the last of both. */
export interface DetachRequest {
  readonly offset?: bigint | undefined;
  readonly size?: bigint | undefined;
}

const TIMEOUT_MS = 1000;
const POLL_MS = 10;
const ABSENT = 0xffff;
const MSI = { CONTROL: 2, ADDRESS: 4, ADDRESS_HIGH: 8, DATA: 12, ENABLE: 1 } as const;
const ANSWERS =
  EVENT.ATTACHED | EVENT.DETACHED | EVENT.NO_MEMORY | EVENT.BAD_ALIGNMENT | EVENT.BAD_COMMAND;

const ENDINGS: Readonly<Record<Exclude<WaitEnd, 'message'>, string>> = {
  timeout: 'timed out: it did not answer',
  removed: 'was removed while it was waited for',
  reset: 'was reset while it was waited for',
  aborted: 'is no longer waited for: the client is gone',
};

/**
 * The driver of a dynamic-mdevice. It is bound while MSI is enabled with its own message address;
 * until then the first piece of work sets MEM and MASTER and programs MSI. When somebody else has
 * MSI or masks events, it polls INT_STATUS.
 *
 * @see design §5
 */
export class DynamicMdeviceDriver {
  readonly #access: GuestAccess;
  readonly #holder: AttachmentHolder;
  readonly #options: DriverOptions;

  constructor(access: GuestAccess, holder: AttachmentHolder, options: DriverOptions = {}) {
    this.#access = access;
    this.#holder = holder;
    this.#options = options;
  }

  /** @throws QmpError when the device refuses or does not answer; nothing stays attached */
  attach({ size, offset }: MemRequest): Promise<MemAttachmentInfo> {
    return this.#access.exclusive(async () => {
      const answer = await this.#run(COMMAND.ATTACH, size, offset);
      if (answer !== EVENT.ATTACHED) throw this.#attachRefusal(answer, size, offset);
      const end = this.#read('HW_OFFSET');
      return { 'bar-offset': end - size, size, offset };
    });
  }

  /** @throws QmpError when nothing matches, or the device does not answer */
  detach(request: DetachRequest = {}): Promise<void> {
    return this.#access.exclusive(async () => {
      const { size, offset } = this.#toDetach(request);
      const answer = await this.#run(COMMAND.DETACH, size, offset);
      if (answer !== EVENT.DETACHED) throw this.#noSuch(size, offset);
    });
  }

  /** What is attached, whoever attached it, by position in the BAR. */
  attachments(): MemAttachmentInfo[] {
    return this.#holder.attachments();
  }

  // Commands.

  /** Rings the door bell and waits for the answer: one bit of INT_STATUS. */
  async #run(command: bigint, size: bigint, offset: bigint): Promise<bigint> {
    const interrupts = this.#bind();
    if (interrupts && command === COMMAND.DETACH) this.#checkMaster();
    this.#write('INT_STATUS', ANSWERS);
    const start = (): void => this.#ring(command, size, offset);
    const end = interrupts ? await this.#wait(this.#timeoutMs, start) : await this.#poll(start);
    if (end !== 'message') {
      if (end !== 'removed' && command === COMMAND.ATTACH) this.#takeBack(size, offset);
      throw refused(`device '${this.#access.name}' ${ENDINGS[end]}`);
    }
    const answer = this.#takeAnswer();
    if (answer === 0n) throw refused(`device '${this.#access.name}' interrupted without a reason`);
    return answer;
  }

  async #poll(start: () => void): Promise<WaitEnd> {
    start();
    for (let left = this.#timeoutMs; left > 0; left -= POLL_MS) {
      if ((this.#read('INT_STATUS') & ANSWERS) !== 0n) return 'message';
      const end = await this.#wait(POLL_MS, () => undefined);
      if (end !== 'timeout' && end !== 'message') return end;
    }
    return 'timeout';
  }

  #wait(timeoutMs: number, start: () => void): Promise<WaitEnd> {
    return this.#access.wait({ timeoutMs, signal: this.#options.signal }, start);
  }

  get #timeoutMs(): number {
    return this.#options.timeoutMs ?? TIMEOUT_MS;
  }

  /** Reads and clears what the device answered. */
  #takeAnswer(): bigint {
    const answer = this.#read('INT_STATUS') & ANSWERS;
    this.#write('INT_STATUS', answer);
    return answer;
  }

  /** Undoes an attachment that the device made without telling: a refused command changes nothing. */
  #takeBack(size: bigint, offset: bigint): void {
    if (this.#takeAnswer() !== EVENT.ATTACHED) return;
    this.#ring(COMMAND.DETACH, size, offset);
    this.#takeAnswer();
  }

  #ring(command: bigint, size: bigint, offset: bigint): void {
    this.#write('MEM_SIZE', size);
    this.#write('MEM_OFFSET', offset);
    this.#write('DOOR_BELL', ring(command));
  }

  /** What is detached cannot be put back in place, so it must not happen without an answer. */
  #checkMaster(): void {
    if ((this.#access.configRead(CONFIG.COMMAND, 2) & PCI_COMMAND.MASTER) === 0)
      throw refused(`device '${this.#access.name}' cannot answer: it may not master the bus`);
  }

  // Binding.

  /** @returns whether the device's message reaches us */
  #bind(): boolean {
    if (this.#access.configRead(CONFIG.VENDOR_ID, 2) === ABSENT)
      throw refused(`device '${this.#access.name}' does not answer`);
    const msi = this.#findMsi();
    const { address, data } = this.#access.message();
    if ((this.#access.configRead(msi + MSI.CONTROL, 2) & MSI.ENABLE) === 0)
      this.#programMsi(msi, address, data);
    else if (this.#messageAddress(msi) !== address) {
      this.#enable(PCI_COMMAND.MEMORY);
      return false;
    }
    return this.#read('INT_MASK') === 0n;
  }

  #programMsi(msi: number, address: bigint, data: number): void {
    this.#enable(PCI_COMMAND.MEMORY | PCI_COMMAND.MASTER);
    this.#access.configWrite(msi + MSI.ADDRESS, 4, Number(address & 0xffffffffn));
    this.#access.configWrite(msi + MSI.ADDRESS_HIGH, 4, Number(address >> 32n));
    this.#access.configWrite(msi + MSI.DATA, 2, data);
    const control = this.#access.configRead(msi + MSI.CONTROL, 2);
    this.#access.configWrite(msi + MSI.CONTROL, 2, control | MSI.ENABLE);
  }

  #messageAddress(msi: number): bigint {
    const high = BigInt(this.#access.configRead(msi + MSI.ADDRESS_HIGH, 4));
    return (high << 32n) | BigInt(this.#access.configRead(msi + MSI.ADDRESS, 4));
  }

  #enable(bits: number): void {
    const command = this.#access.configRead(CONFIG.COMMAND, 2);
    this.#access.configWrite(CONFIG.COMMAND, 2, command | bits);
  }

  #findMsi(): number {
    let at = this.#access.configRead(CONFIG.CAPABILITIES, 1);
    for (let seen = 0; at !== 0 && seen < 48; seen++) {
      if (this.#access.configRead(at, 1) === CAPABILITY.MSI) return at;
      at = this.#access.configRead(at + 1, 1);
    }
    throw refused(`device '${this.#access.name}' has no MSI capability`);
  }

  #read(name: keyof typeof REGISTERS): bigint {
    const { offset, size } = REGISTERS[name];
    return this.#access.mmioRead(REGISTERS_BAR, offset, size);
  }
  #write(name: keyof typeof REGISTERS, value: bigint): void {
    const { offset, size } = REGISTERS[name];
    this.#access.mmioWrite(REGISTERS_BAR, offset, size, value);
  }

  // Refusals.

  #attachRefusal(answer: bigint, size: bigint, offset: bigint): Error {
    const what = `device '${this.#access.name}' cannot attach ${String(size)} bytes at offset ${String(offset)}`;
    if (answer !== EVENT.BAD_ALIGNMENT)
      return refused(
        `${what}: no room left in BAR 2, or the range is outside the host object or its window`,
      );
    const align = String(this.#read('MEM_ALIGN'));
    return refused(`${what}: size must be above 0, and both must be multiples of ${align}`);
  }

  #noSuch(size: bigint | undefined, offset: bigint): Error {
    const bytes = size === undefined ? 'nothing' : `no attachment of ${String(size)} bytes`;
    return refused(`device '${this.#access.name}' has ${bytes} at offset ${String(offset)}`);
  }

  #toDetach({ size, offset }: DetachRequest): MemRequest {
    if (size === undefined && offset === undefined) return { size: 0n, offset: 0n };
    if (offset === undefined) throw refused(`Parameter 'size' needs 'offset' beside it`);
    if (size === 0n) throw refused(`Parameter 'size' expects a value above 0`);
    if (size !== undefined) return { size, offset };
    const found = this.attachments().findLast((one) => one.offset === offset);
    if (found === undefined) throw this.#noSuch(undefined, offset);
    return { size: found.size, offset };
  }
}

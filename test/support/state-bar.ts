import { REGISTER } from '../../devices/vfio-state/registers.js';
import type { Qmp } from './qmp.js';
import type { Qtest } from './qtest.js';
import type { StatePort } from './state-client.js';

const NAMES: Readonly<Record<number, string>> = {
  5: 'EIO',
  7: 'E2BIG',
  16: 'EBUSY',
  19: 'ENODEV',
  22: 'EINVAL',
  27: 'EFBIG',
};

/** Where the 64-bit fields of the control structure are. */
const WIDE = new Set([20, 36, 44, 52, 60]);
const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

/** The regions in the BARs of a vfio-state, through guest memory: accesses of 4 and 8 bytes. */
export class BarPort implements StatePort {
  readonly exact = false;
  readonly #qmp: Qmp;
  readonly #qtest: Qtest;
  readonly #id: string;
  readonly #bars = new Map<number, bigint>();

  constructor(qmp: Qmp, qtest: Qtest, id: string) {
    this.#qmp = qmp;
    this.#qtest = qtest;
    this.#id = id;
  }

  /** Plays firmware, and notes where the BARs are. */
  async open(): Promise<this> {
    const { functions } = (await this.#qmp.execute('guest-enumerate')) as {
      functions: { device?: string; bars: { bar: bigint; address: bigint }[] }[];
    };
    const own = functions.find(({ device }) => device === this.#id);
    for (const { bar, address } of own?.bars ?? []) this.#bars.set(Number(bar), address);
    return this;
  }

  async readRegion(region: string, offset: number, length: number): Promise<Buffer> {
    if (region !== 'control') {
      const reply = await this.#qtest.ask(
        `read ${hex(await this.#address(region, offset))} ${hex(length)}`,
      );
      return Buffer.from(reply.slice('OK 0x'.length), 'hex');
    }
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length;) {
      const size = WIDE.has(offset + at) ? 8 : 4;
      const letter = size === 8 ? 'q' : 'l';
      const value = await this.#qtest.value(
        `read${letter} ${hex(this.#bar(0) + BigInt(offset + at))}`,
      );
      await this.#checkResult();
      if (size === 8) bytes.writeBigUInt64LE(value, at);
      else bytes.writeUInt32LE(Number(value), at);
      at += size;
    }
    return bytes;
  }

  async writeRegion(region: string, offset: number, given: Uint8Array): Promise<void> {
    const bytes = Buffer.from(given);
    if (region !== 'control') {
      const address = hex(await this.#address(region, offset));
      await this.#qtest.ask(`write ${address} ${hex(bytes.length)} 0x${bytes.toString('hex')}`);
      return;
    }
    for (let at = 0; at < bytes.length;) {
      const wide = WIDE.has(offset + at);
      const value = wide ? bytes.readBigUInt64LE(at) : BigInt(bytes.readUInt32LE(at));
      const address = hex(this.#bar(0) + BigInt(offset + at));
      await this.#qtest.ask(`write${wide ? 'q' : 'l'} ${address} ${hex(value)}`);
      await this.#checkResult();
      at += wide ? 8 : 4;
    }
  }

  /** A register behind the control structure. */
  async register(offset: number): Promise<number> {
    return Number(await this.#qtest.value(`readl ${hex(this.#bar(0) + BigInt(offset))}`));
  }

  async #checkResult(): Promise<void> {
    const result = await this.register(REGISTER.RESULT);
    if (result !== 0) throw new Error(`BAR: ${NAMES[result] ?? String(result)}, by its number`);
  }
  async #address(region: string, offset: number): Promise<bigint> {
    if (region === 'config') return this.#bar(2) + BigInt(offset);
    const behind = region === 'bitmap' ? await this.register(REGISTER.BITMAP_OFFSET) : 0;
    return this.#bar(4) + BigInt(behind + offset);
  }
  #bar(index: number): bigint {
    const address = this.#bars.get(index);
    if (address === undefined) throw new Error(`BAR ${String(index)} has no address`);
    return address;
  }
}

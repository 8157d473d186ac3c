import { createHash } from 'node:crypto';
import { intFromBytes, bytesFromInt } from '../../devices/core/memory-region.js';
import type { Json } from '../side-by-side/client.js';
import type { Qmp } from './qmp.js';

/** Offsets in the control structure, as the reference gives them. */
export const CTL = {
  VERSION: 0,
  STATE: 4,
  CAPS: 8,
  CONFIG_ACTION: 12,
  CONFIG_SIZE: 20,
  MEMORY_ACTION: 28,
  MEMORY_SIZE: 36,
  MEMORY_POS: 44,
  START: 52,
  PAGES: 60,
} as const;
export const GET = 1n;
export const SET = 2n;

/** One way to the regions of one device. What fails says `: ERRNO, ` in its message. */
export interface StatePort {
  /** Accesses of any width and over several fields reach the device as one. */
  readonly exact: boolean;
  readRegion(region: string, offset: number, length: number): Promise<Buffer>;
  writeRegion(region: string, offset: number, bytes: Uint8Array): Promise<void>;
}

/** By the commands `vfio-state-read` and `vfio-state-write`. */
export const qmpPort = (qmp: Pick<Qmp, 'execute'>, id: string): StatePort => ({
  exact: true,
  readRegion: async (region, offset, length) => {
    const args = { id, region, offset: BigInt(offset), length: BigInt(length) };
    const { data } = (await qmp.execute('vfio-state-read', args)) as { data: string };
    return Buffer.from(data, 'base64');
  },
  writeRegion: async (region, offset, bytes) => {
    const data = Buffer.from(bytes).toString('base64');
    await qmp.execute('vfio-state-write', { id, region, offset: BigInt(offset), data });
  },
});

/** A client of the device state of one device, and software that uses the device itself. */
export class StateClient {
  readonly #qmp: Pick<Qmp, 'execute'>;
  readonly #port: StatePort;
  readonly id: string;

  constructor(qmp: Pick<Qmp, 'execute'>, id: string, port = qmpPort(qmp, id)) {
    this.#qmp = qmp;
    this.#port = port;
    this.id = id;
  }

  get exact(): boolean {
    return this.#port.exact;
  }
  readRegion(region: string, offset: number, length: number): Promise<Buffer> {
    return this.#port.readRegion(region, offset, length);
  }
  writeRegion(region: string, offset: number, bytes: Uint8Array): Promise<void> {
    return this.#port.writeRegion(region, offset, bytes);
  }

  /** Reads the control structure: bytes in hexadecimal, or the name of the errno. */
  read(offset: number, length: number): Promise<string> {
    return errnoOf(async () => (await this.readRegion('control', offset, length)).toString('hex'));
  }
  /** Writes integers of 4 or 8 bytes at once; OK, or the name of the errno. */
  write(offset: number, ...fields: readonly (readonly [4 | 8, bigint])[]): Promise<string> {
    const bytes = Buffer.concat(
      fields.map(([size, value]) => {
        const field = Buffer.alloc(size);
        bytesFromInt(value, field);
        return field;
      }),
    );
    return errnoOf(async () => {
      await this.writeRegion('control', offset, bytes);
      return 'OK';
    });
  }
  setState(state: number): Promise<string> {
    return this.write(CTL.STATE, [4, BigInt(state)]);
  }
  async number(offset: number, size: 4 | 8): Promise<number> {
    return Number(intFromBytes(await this.readRegion('control', offset, size)));
  }

  /** The chunk at `pos`, as long as the region. */
  async chunk(pos: number, length: number): Promise<Buffer> {
    await this.#must(this.write(CTL.MEMORY_POS, [8, BigInt(pos)]));
    await this.#must(this.write(CTL.MEMORY_ACTION, [4, GET]));
    return this.readRegion('memory', 0, length);
  }
  /** Takes a pass, or a snapshot, whole; empty when there is none. */
  async pass(length: number): Promise<Buffer> {
    const size = await this.number(CTL.MEMORY_SIZE, 8);
    const chunks: Buffer[] = [];
    for (let pos = 0; pos < size; pos += length) chunks.push(await this.chunk(pos, length));
    return Buffer.concat(chunks).subarray(0, size);
  }
  /** Loads a stream of memory; the result of the last SET_BUFFER. */
  async load(stream: Uint8Array, length: number): Promise<string> {
    await this.#must(this.write(CTL.MEMORY_SIZE, [8, BigInt(stream.length)]));
    for (let pos = 0; ; pos += length) {
      await this.writeRegion('memory', 0, stream.subarray(pos, pos + length));
      await this.#must(this.write(CTL.MEMORY_POS, [8, BigInt(pos)]));
      const result = await this.write(CTL.MEMORY_ACTION, [4, SET]);
      if (pos + length >= stream.length || result !== 'OK') return result;
    }
  }
  async config(): Promise<Buffer> {
    const size = await this.number(CTL.CONFIG_SIZE, 8);
    await this.#must(this.write(CTL.CONFIG_ACTION, [4, GET]));
    return this.readRegion('config', 0, size);
  }
  async loadConfig(bytes: Uint8Array): Promise<string> {
    await this.#must(this.write(CTL.CONFIG_SIZE, [8, BigInt(bytes.length)]));
    await this.writeRegion('config', 0, bytes);
    return this.write(CTL.CONFIG_ACTION, [4, SET]);
  }
  query(start: bigint, pages: bigint): Promise<string> {
    return this.write(CTL.START, [8, start], [8, pages]);
  }
  async #must(result: Promise<string>): Promise<void> {
    const errno = await result;
    if (errno !== 'OK') throw new Error(`refused with ${errno}`);
  }

  /** As software: bytes of a BAR. */
  async readBar(bar: number, length: number): Promise<Buffer> {
    const args = { id: this.id, bar: BigInt(bar), offset: 0n, length: BigInt(length) };
    const { data } = (await this.#qmp.execute('guest-mmio-read', args)) as { data: string };
    return Buffer.from(data, 'base64');
  }
  async writeBar(bar: number, offset: number, bytes: readonly number[]): Promise<void> {
    const data = Buffer.from(bytes).toString('base64');
    await this.#qmp.execute('guest-mmio-write', {
      ...{ id: this.id, bar: BigInt(bar) },
      ...{ offset: BigInt(offset), data },
    });
  }
  /** Lets software use memory and DMA. */
  async enable(): Promise<void> {
    await this.#qmp.execute('guest-config-write', {
      ...{ id: this.id, offset: 4n, size: 2n, value: 6n },
    });
  }
  /** DMA of a state-sample: `length` bytes at `address`. */
  async dma(address: bigint, length: number): Promise<void> {
    const request = Buffer.alloc(16);
    request.writeBigUInt64LE(address, 0);
    request.writeUInt32LE(length, 8);
    await this.writeBar(0, 0x10, [...request]);
    await this.writeBar(0, 0x1_0000, [1, 0, 0, 0]);
  }
  async info(): Promise<Record<string, Json>> {
    const [info] = (await this.#qmp.execute('query-device-state', { id: this.id })) as Json[];
    return info as Record<string, Json>;
  }
  /** First 16 hex digits of SHA-256 over configuration and memory of a state-sample. */
  async digest(config = 256, memory = 20_000): Promise<string> {
    const hash = createHash('sha256');
    hash.update(await this.readBar(0, config)).update(await this.readBar(2, memory));
    return hash.digest('hex').slice(0, 16);
  }
}

const errnoOf = async (access: () => Promise<string>): Promise<string> => {
  try {
    return await access();
  } catch (error) {
    const errno = error instanceof Error ? /: (E[A-Z0-9]+), /.exec(error.message)?.[1] : undefined;
    if (errno === undefined) throw error;
    return errno;
  }
};

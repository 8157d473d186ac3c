import { crc32 } from '../../devices/core/crc32.js';
import type { DeviceState, StateValue } from '../../devices/core/device.js';
import { decodeConfig, encodeConfig } from '../../devices/state/config-format.js';
import type { ConfigIdentity } from '../../devices/state/config-format.js';
import { FRAME } from '../../server/state-files/layout.js';

const CONFIG_CRC = 12;
const NUMBERS = [0, 1, -1, 2 ** 31, 2 ** 32, 2 ** 53, 1e300, NaN, -0, 0.5, 255, 4095, 4096];

/** Damages saved devices, the same way for the same seed. */
export class StateMutator {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed * 2_654_435_761) | 1;
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % Math.max(limit, 1);
  }

  /** A damaged copy of the saved state of a device. */
  mutate(saved: Buffer, identity: ConfigIdentity): Buffer {
    switch (this.below(8)) {
      case 0:
        return this.#bits(saved);
      case 1:
        return saved.subarray(0, this.below(saved.length));
      case 2:
        return this.#spliced(saved);
      case 3:
        return resealed(this.#spliced(saved));
      case 4:
        return this.#blocks(saved);
      case 5:
        return resealed(this.#bits(saved));
      default:
        return this.#configuration(saved, identity);
    }
  }

  #bits(saved: Buffer): Buffer {
    const bytes = Buffer.from(saved);
    // Most of what matters stands in front.
    const length = this.below(2) === 0 ? bytes.length : Math.min(bytes.length, 2048);
    for (let i = 0; i <= this.below(3); i++) {
      const at = this.below(length);
      bytes[at] = this.below(2) === 0 ? this.below(256) : (bytes[at] ?? 0) ^ (1 << this.below(8));
    }
    return bytes;
  }
  /** A piece taken out, repeated, or put in. */
  #spliced(saved: Buffer): Buffer {
    const at = this.below(saved.length);
    const piece = saved.subarray(at, at + 1 + this.below(64));
    const other = this.below(saved.length);
    switch (this.below(3)) {
      case 0:
        return Buffer.concat([saved.subarray(0, at), saved.subarray(at + piece.length)]);
      case 1:
        return Buffer.concat([saved.subarray(0, other), piece, saved.subarray(other)]);
      default:
        return Buffer.concat([saved.subarray(0, at), Buffer.alloc(8, 0xff), saved.subarray(at)]);
    }
  }
  /** Blocks that changed places, twice or not at all, with right checksums. */
  #blocks(saved: Buffer): Buffer {
    const { opening, blocks, trailer } = partsOf(saved);
    const at = this.below(blocks.length);
    const [block] = blocks.splice(at, 1);
    if (block !== undefined)
      for (let i = 0; i < this.below(3); i++)
        blocks.splice(this.below(blocks.length + 1), 0, block);
    for (let i = 0; i < this.below(3); i++) {
      const victim = Buffer.from(blocks[this.below(blocks.length)] ?? trailer);
      victim[this.below(FRAME + 16)] = this.below(256);
      if (blocks.length > 0) blocks[this.below(blocks.length)] = victim;
    }
    return resealed(Buffer.concat([opening, ...blocks, trailer]));
  }
  /** Another value in the configuration, all checksums right. */
  #configuration(saved: Buffer, identity: ConfigIdentity): Buffer {
    const start = FRAME + saved.readUInt32LE(12);
    const end = start + saved.readUInt32LE(16);
    const state = decodeConfig(identity, saved.subarray(start, end));
    for (let i = 0; i <= this.below(2); i++) this.#change(state);
    const bytes = encodeConfig(identity, state);
    const head = Buffer.from(saved.subarray(0, start));
    head.writeUInt32LE(bytes.length, 16);
    return resealed(Buffer.concat([head, bytes, saved.subarray(end)]));
  }

  /** Changes something inside a map or a list. */
  #change(inside: DeviceState | StateValue[]): void {
    const keys = Object.keys(inside);
    const key = keys[this.below(keys.length)];
    if (key === undefined) return;
    const fields = inside as Record<string, StateValue>;
    const value = fields[key];
    const nested = typeof value === 'object' && !(value instanceof Uint8Array);
    if (nested && this.below(8) !== 0) {
      this.#change(value);
      return;
    }
    if (Array.isArray(inside)) inside[Number(key)] = this.#other(value);
    else if (this.below(8) === 0) Reflect.deleteProperty(inside, key);
    else if (this.below(8) === 0) fields[`${key}x`] = this.#other(value);
    else fields[key] = this.#other(value);
  }
  #other(value: StateValue | undefined): StateValue {
    if (this.below(6) === 0) return this.#any();
    if (typeof value === 'bigint')
      return [value + 1n, -1n, 0n, 1n << 63n, value ^ 4096n, 1n << 200n][this.below(6)] ?? 0n;
    if (typeof value === 'number')
      return this.below(2) === 0 ? value + 1 : (NUMBERS[this.below(NUMBERS.length)] ?? 0);
    if (typeof value === 'string')
      return [`${value}x`, '', 'constructor', '\u0000'][this.below(4)] ?? '';
    return typeof value === 'boolean' ? !value : this.#otherMany(value);
  }
  #otherMany(
    value: Exclude<StateValue, string | number | bigint | boolean> | undefined,
  ): StateValue {
    if (value instanceof Uint8Array) {
      const bytes = Uint8Array.from(value);
      if (this.below(4) === 0) return bytes.subarray(0, this.below(bytes.length));
      bytes[this.below(bytes.length)] = this.below(256);
      return bytes;
    }
    if (Array.isArray(value))
      return this.below(2) === 0 ? [...value, ...value.slice(0, 1)] : value.slice(1);
    return this.#any();
  }
  #any(): StateValue {
    const values: StateValue[] = [
      0,
      -1,
      1n << 64n,
      'x',
      true,
      new Uint8Array(3),
      [],
      {},
      [[]],
      { '': 1 },
    ];
    return values[this.below(values.length)] ?? 0;
  }
}

/** Where the blocks of a sound state begin, and what they are. */
const partsOf = (saved: Buffer): { opening: Buffer; blocks: Buffer[]; trailer: Buffer } => {
  let at = FRAME + saved.readUInt32LE(12) + saved.readUInt32LE(16);
  const opening = saved.subarray(0, at);
  const blocks: Buffer[] = [];
  while (saved.readUInt32LE(at) === 1) {
    const length = FRAME + saved.readUInt32LE(at + 12);
    blocks.push(saved.subarray(at, at + length));
    at += length;
  }
  return { opening, blocks, trailer: saved.subarray(at) };
};

/** A copy with right checksums, as far as there is a structure. */
const resealed = (damaged: Buffer): Buffer => {
  const bytes = Buffer.from(damaged);
  if (bytes.length < FRAME) return bytes;
  const start = FRAME + bytes.readUInt32LE(12);
  const end = start + bytes.readUInt32LE(16);
  if (end > bytes.length) return bytes;
  sealConfig(bytes.subarray(start, end));
  bytes.writeUInt32LE(crc32(bytes.subarray(FRAME, end)), 20);
  seal(bytes, 0);
  let all = crc32(bytes.subarray(0, FRAME));
  for (let at = end; at + FRAME <= bytes.length;) {
    if (bytes.readUInt32LE(at) !== 1) {
      bytes.writeUInt32LE(all, at + 24);
      seal(bytes, at);
      break;
    }
    const next = at + FRAME + bytes.readUInt32LE(at + 12);
    bytes.writeUInt32LE(crc32(bytes.subarray(at + FRAME, next)), at + 16);
    seal(bytes, at);
    all = crc32(bytes.subarray(at, at + FRAME), all);
    at = next;
  }
  return bytes;
};
const seal = (bytes: Buffer, at: number): void =>
  void bytes.writeUInt32LE(crc32(bytes.subarray(at, at + 28)), at + 28);
const sealConfig = (config: Buffer): void => {
  if (config.length < CONFIG_CRC + 4) return;
  const before = crc32(config.subarray(0, CONFIG_CRC));
  config.writeUInt32LE(crc32(config.subarray(CONFIG_CRC + 4), before), CONFIG_CRC);
};

import { refused } from '../../schema/error.js';
import type { StateValue } from '../core/device.js';
import { integer, list } from '../core/saved-state.js';
import { dpa, type Dpa, type Hpa } from './addresses.js';
import { interleaveGranularity, interleaveWays } from './interleave.js';
import type { MemoryFault } from './memory-target.js';

/** HDM decoder capability structure; offsets from its start. CXL 3.1 §8.2.4.20. */
export const HDM = {
  CAPABILITY: 0x00,
  GLOBAL_CONTROL: 0x04,
  FIRST_DECODER: 0x10,
  STRIDE: 0x20,
  /** Of one decoder. */
  BASE_LOW: 0x00,
  BASE_HIGH: 0x04,
  SIZE_LOW: 0x08,
  SIZE_HIGH: 0x0c,
  CONTROL: 0x10,
  /** Device: DPA skip. Switch and host bridge: target list. */
  SKIP_LOW: 0x14,
  SKIP_HIGH: 0x18,
} as const;

/** Decoder control. CXL 3.1 §8.2.4.20.7. */
export const HDM_CONTROL = {
  INTERLEAVE_GRANULARITY: 0xf,
  INTERLEAVE_WAYS: 0xf0,
  COMMIT: 0x200,
  COMMITTED: 0x400,
  WRITABLE: 0x13ff,
} as const;

/** HDM decoder capability register. CXL 3.1 §8.2.4.20.1. */
const CAPABILITY = {
  TARGET_COUNT_SHIFT: 4,
  INTERLEAVE_256_AND_4K: 0x300,
  WAYS_3_6_12_AND_16: 0x1800,
} as const;
/** Code of a number of decoders: 0, 1, 2, ... for 1, 2, 4, ... */
const COUNT_CODES = [1, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32];

const GLOBAL_CONTROL_WRITABLE = 0x3;
const UNITS = 0xf000_0000;
const ALL = 0xffff_ffff;
/** Targets that the list of a switch or bridge has room for. */
const TARGETS = 8;

/** One decoder as software programmed it. */
export interface Decoder {
  readonly base: bigint;
  readonly size: bigint;
  readonly committed: boolean;
  /** Undefined for reserved codes. */
  readonly ways: bigint | undefined;
  readonly granularity: bigint;
  /** Devices. */
  readonly skip: bigint;
  /** Switches and bridges: port numbers. */
  readonly targets: readonly number[];
}

const holds = ({ base, size }: Decoder, address: bigint): boolean =>
  address >= base && address < base + size;

export interface HdmOptions {
  /** Devices turn host into device addresses, routers (switches, bridges) choose a port. */
  readonly role: 'device' | 'router';
  readonly decoders: number;
  readonly targetCount: number;
}

/**
 * The HDM decoders of one component: registers on one side, address translation on the other.
 *
 * @see reference/cxl.md §3.2, §3.3
 */
export class HdmDecoders {
  readonly count: number;
  readonly #role: 'device' | 'router';
  readonly #capability: number;
  readonly #registers: Uint32Array;
  /** What the registers say, until one is written. */
  #decoders: readonly Decoder[] | undefined;

  constructor({ role, decoders, targetCount }: HdmOptions) {
    this.count = decoders;
    this.#role = role;
    this.#registers = new Uint32Array((HDM.FIRST_DECODER + HDM.STRIDE * decoders) / 4);
    this.#capability =
      COUNT_CODES.indexOf(decoders) |
      (targetCount << CAPABILITY.TARGET_COUNT_SHIFT) |
      CAPABILITY.INTERLEAVE_256_AND_4K |
      (role === 'device' ? CAPABILITY.WAYS_3_6_12_AND_16 : 0);
  }

  /** Bytes of the structure. */
  get size(): number {
    return this.#registers.length * 4;
  }

  /** @param offset a multiple of 4 inside the structure */
  read(offset: number): number {
    return offset === HDM.CAPABILITY ? this.#capability : (this.#registers[offset / 4] ?? 0);
  }

  /** A write by software; 32 bits. */
  write(offset: number, value: number): void {
    const mask = this.#writable(offset);
    if (mask === 0) return;
    const kept = (this.#registers[offset / 4] ?? 0) & ~mask;
    this.#registers[offset / 4] = this.#isControl(offset)
      ? commit(kept | (value & mask))
      : kept | (value & mask);
    this.#decoders = undefined;
  }

  #isControl(offset: number): boolean {
    return offset >= HDM.FIRST_DECODER && (offset - HDM.FIRST_DECODER) % HDM.STRIDE === HDM.CONTROL;
  }

  #writable(offset: number): number {
    if (offset === HDM.GLOBAL_CONTROL) return GLOBAL_CONTROL_WRITABLE;
    if (offset < HDM.FIRST_DECODER || offset >= this.size) return 0;
    switch ((offset - HDM.FIRST_DECODER) % HDM.STRIDE) {
      case HDM.BASE_LOW:
      case HDM.SIZE_LOW:
        return UNITS;
      case HDM.BASE_HIGH:
      case HDM.SIZE_HIGH:
      case HDM.SKIP_HIGH:
        return ALL;
      case HDM.CONTROL:
        return HDM_CONTROL.WRITABLE;
      case HDM.SKIP_LOW:
        return this.#role === 'device' ? UNITS : ALL;
      default:
        return 0;
    }
  }

  /** What the decoders are set to, in order. */
  get settings(): readonly Decoder[] {
    return (this.#decoders ??= Array.from({ length: this.count }, (_, i) => this.#decode(i)));
  }

  #decode(index: number): Decoder {
    const at = (HDM.FIRST_DECODER + HDM.STRIDE * index) / 4;
    const register = (offset: number): number => this.#registers[at + offset / 4] ?? 0;
    const wide = (low: number): bigint =>
      (BigInt(register(low + 4)) << 32n) | BigInt(register(low));
    const control = register(HDM.CONTROL);
    const ways = interleaveWays((control & HDM_CONTROL.INTERLEAVE_WAYS) >> 4);
    const list = [register(HDM.SKIP_LOW), register(HDM.SKIP_HIGH)];
    return {
      base: wide(HDM.BASE_LOW),
      size: wide(HDM.SIZE_LOW),
      committed: (control & HDM_CONTROL.COMMITTED) !== 0,
      ways: ways === undefined ? undefined : BigInt(ways),
      granularity: interleaveGranularity(control & HDM_CONTROL.INTERLEAVE_GRANULARITY),
      skip: wide(HDM.SKIP_LOW),
      targets: Array.from(
        { length: TARGETS },
        (_, i) => ((list[i >> 2] ?? 0) >>> (8 * (i & 3))) & 0xff,
      ),
    };
  }

  /**
   * The device address behind `address`, by the decoders of a device. Decoders follow each other in
   * device address space, so the first one that is not committed ends the walk.
   */
  toDpa(address: Hpa): Dpa | MemoryFault {
    let start = 0n;
    for (const decoder of this.settings) {
      const { base, size, committed, ways, granularity, skip } = decoder;
      if (!committed || ways === undefined) return 'not-committed';
      start += skip;
      if (holds(decoder, address)) {
        const offset = address - base;
        const row = offset / (granularity * ways);
        return dpa(start + row * granularity + (offset % granularity));
      }
      start += size / ways;
    }
    return 'out-of-range';
  }

  /** The port number to which a switch or bridge passes `address` on. */
  toPort(address: Hpa): number | MemoryFault {
    for (const decoder of this.settings) {
      if (!holds(decoder, address)) continue;
      const { committed, ways, granularity, targets } = decoder;
      if (!committed || ways === undefined) return 'not-committed';
      return targets[Number((address / granularity) % ways)] ?? 'no-route';
    }
    return 'no-route';
  }

  /** Bytes from `address` on that the decoder which holds it keeps together; 1 when none does. */
  run(address: Hpa): bigint {
    const decoder = this.settings.find((one) => holds(one, address));
    if (decoder === undefined) return 1n;
    const { base, size, ways, granularity } = decoder;
    return ways === 1n ? base + size - address : granularity - (address % granularity);
  }

  reset(): void {
    this.#registers.fill(0);
    this.#decoders = undefined;
  }
  /** The registers, for saving. */
  get words(): Uint32Array {
    return this.#registers.slice();
  }
  /** Checks saved registers and returns what applies them. @throws QmpError when they do not fit */
  prepareLoad(state: StateValue): () => void {
    const { length } = this.#registers;
    const words = list(integer(0xffff_ffff), length, length)(state, 'saved decoders');
    const stray = words.findIndex((word, i) => (word & ~this.#stored(4 * i)) !== 0);
    if (stray >= 0)
      throw refused(`saved decoders[${String(stray)}] has bits that the register does not have`);
    return () => {
      this.#registers.set(words);
      this.#decoders = undefined;
    };
  }
  /** Bits that the register at `offset` can show. */
  #stored(offset: number): number {
    const writable = this.#writable(offset);
    return this.#isControl(offset) ? writable | HDM_CONTROL.COMMITTED : writable;
  }
}

/** As QEMU: what software asks to be committed is committed at once, without a look at it. */
const commit = (control: number): number =>
  (control & HDM_CONTROL.COMMIT) === 0
    ? control & ~HDM_CONTROL.COMMITTED
    : control | HDM_CONTROL.COMMITTED;

import { EXPRESS, SLOT } from '../../pci/capabilities.js';
import { BRIDGE, CAPABILITY, COMMAND, CONFIG, HEADER_TYPE } from '../../pci/registers.js';
import type { ConfigCycles, FunctionAddress } from './config-ports.js';

/** What memory or ports come out of: `prefetch` is above 4 GiB, the others below. */
export type Kind = 'io' | 'memory' | 'prefetch';

export interface FoundBar {
  readonly index: number;
  readonly type: 'io' | 'memory';
  readonly prefetch: boolean;
  readonly bits64: boolean;
  readonly size: bigint;
  /** What its register held when it was found. */
  readonly address: bigint;
}
export interface FoundFunction extends FunctionAddress {
  readonly vendor: number;
  readonly device: number;
  readonly pin: number;
  readonly bars: readonly FoundBar[];
  /** The bus behind a bridge; undefined for others, and for a bridge without a bus number. */
  child: FoundBus | undefined;
  readonly isBridge: boolean;
  /** Command register when it was found. */
  readonly command: number;
}
export interface FoundBus {
  readonly number: number;
  /** Highest number of the buses behind it. */
  last: number;
  readonly functions: FoundFunction[];
}
export interface Unassigned extends FunctionAddress {
  readonly bar?: number;
  readonly reason: string;
}

const ABSENT = 0xffff;
const LAST_BUS = 255;
const SHPC = 0x0c;
const RESERVE_TYPE = 1;
const NO_WISH = 0xffff_ffff;

/** Room that a bridge wants for devices to come. reference/pci-and-memory-devices.md §1.12 */
export interface Wishes {
  readonly buses: number;
  readonly room: Readonly<Record<Kind, bigint>>;
}
/** What a hot-plug bridge gets without a wish of its own. */
const HOTPLUG_ROOM = { io: 0n, memory: 2n << 20n, prefetch: 32n << 30n } as const;
const NO_ROOM = { io: 0n, memory: 0n, prefetch: 0n } as const;

/** Reads what a bridge wants: by its reserve capability, or because devices can be added behind it. */
export const readWishes = (config: ConfigCycles, at: FunctionAddress): Wishes => {
  const room = isHotplug(config, at) ? HOTPLUG_ROOM : NO_ROOM;
  const wish = config.findCapability(
    at,
    CAPABILITY.VENDOR,
    (offset) => config.read(at, offset + 3, 1) === RESERVE_TYPE,
  );
  if (wish === undefined) return { buses: 0, room };
  const dword = (offset: number): number => config.read(at, wish + offset, 4);
  const wide = (offset: number): bigint =>
    (BigInt(dword(offset + 4)) << 32n) | BigInt(dword(offset));
  const or = (value: bigint, none: bigint, otherwise: bigint): bigint =>
    value === none ? otherwise : value;
  const none32 = BigInt(NO_WISH);
  const none64 = (1n << 64n) - 1n;
  const buses = dword(4);
  return {
    buses: buses === NO_WISH ? 0 : buses,
    room: {
      io: or(wide(8), none64, room.io),
      memory: or(BigInt(dword(16)), none32, room.memory) + or(BigInt(dword(20)), none32, 0n),
      prefetch: or(wide(24), none64, room.prefetch),
    },
  };
};

const isHotplug = (config: ConfigCycles, at: FunctionAddress): boolean => {
  const express = config.findCapability(at, CAPABILITY.EXPRESS);
  const slot = express === undefined ? 0 : config.read(at, express + EXPRESS.SLOT_CAPABILITIES, 4);
  return (slot & SLOT.HOTPLUG) !== 0 || config.findCapability(at, SHPC) !== undefined;
};

/**
 * Finds what is there and numbers the buses. Bridges that have numbers keep them, as far as these
 * fit; others get the lowest free ones.
 */
export class BusScan {
  readonly #config: ConfigCycles;
  readonly unassigned: Unassigned[] = [];
  /** Bridges that got numbers. */
  numbered = 0;

  constructor(config: ConfigCycles) {
    this.#config = config;
  }

  /** @param roots numbers of the root buses */
  scan(roots: readonly number[]): FoundBus[] {
    const sorted = [...roots].sort((a, b) => a - b);
    return sorted.map((root, i) => this.#scanBus(root, (sorted[i + 1] ?? LAST_BUS + 1) - 1));
  }

  #scanBus(number: number, limit: number): FoundBus {
    const bus: FoundBus = { number, last: number, functions: [] };
    for (let slot = 0; slot < 32; slot++) bus.functions.push(...this.#scanSlot(number, slot));
    const bridges = bus.functions.filter(({ isBridge }) => isBridge);
    const fresh = bridges.filter((bridge) => !this.#keep(bus, bridge, limit));
    for (const bridge of fresh) this.#number(bus, bridge, limit);
    return bus;
  }

  #scanSlot(bus: number, slot: number): FoundFunction[] {
    const first = this.#look({ bus, devfn: slot * 8 });
    if (first === undefined) return [];
    const header = this.#config.read(first, CONFIG.HEADER_TYPE, 1);
    if ((header & HEADER_TYPE.MULTIFUNCTION) === 0) return [first];
    const others = [1, 2, 3, 4, 5, 6, 7].map((fn) => this.#look({ bus, devfn: slot * 8 + fn }));
    return [first, ...others.filter((found) => found !== undefined)];
  }

  #look(at: FunctionAddress): FoundFunction | undefined {
    const config = this.#config;
    const vendor = config.read(at, CONFIG.VENDOR_ID, 2);
    if (vendor === ABSENT) return undefined;
    const header = config.read(at, CONFIG.HEADER_TYPE, 1) & ~HEADER_TYPE.MULTIFUNCTION;
    const isBridge = header === HEADER_TYPE.BRIDGE;
    const command = config.read(at, CONFIG.COMMAND, 2);
    return {
      ...at,
      vendor,
      device: config.read(at, CONFIG.DEVICE_ID, 2),
      pin: config.read(at, CONFIG.INTERRUPT_PIN, 1),
      bars: findBars(config, at, command, isBridge ? 2 : 6),
      child: undefined,
      isBridge,
      command,
    };
  }

  #numbers(bridge: FoundFunction): { primary: number; secondary: number; subordinate: number } {
    const read = (register: number): number => this.#config.read(bridge, register, 1);
    return {
      primary: read(BRIDGE.PRIMARY_BUS),
      secondary: read(BRIDGE.SECONDARY_BUS),
      subordinate: read(BRIDGE.SUBORDINATE_BUS),
    };
  }
  #setNumbers(bridge: FoundFunction, primary: number, secondary: number, last: number): void {
    this.#config.write(bridge, BRIDGE.PRIMARY_BUS, 1, primary);
    this.#config.write(bridge, BRIDGE.SECONDARY_BUS, 1, secondary);
    this.#config.write(bridge, BRIDGE.SUBORDINATE_BUS, 1, last);
  }

  /** False, and the bridge closed, when its numbers do not fit. */
  #keep(bus: FoundBus, bridge: FoundFunction, limit: number): boolean {
    const { primary, secondary, subordinate } = this.#numbers(bridge);
    const taken = bus.functions.flatMap(({ child }) => child ?? []);
    const fits =
      primary === bus.number &&
      secondary > bus.number &&
      secondary <= subordinate &&
      subordinate <= limit &&
      taken.every(({ number, last }) => subordinate < number || secondary > last);
    if (!fits) {
      this.#setNumbers(bridge, 0, 0, 0);
      return false;
    }
    bridge.child = this.#scanBus(secondary, subordinate);
    bridge.child.last = subordinate;
    bus.last = Math.max(bus.last, subordinate);
    return true;
  }

  #number(bus: FoundBus, bridge: FoundFunction, limit: number): void {
    const gap = this.#gap(bus, limit);
    if (gap === undefined) {
      this.unassigned.push({ ...addressOf(bridge), reason: 'no bus number is free' });
      return;
    }
    const { first, last } = gap;
    this.#setNumbers(bridge, bus.number, first, last);
    const child = this.#scanBus(first, last);
    child.last = Math.min(
      Math.max(child.last, first + readWishes(this.#config, bridge).buses),
      last,
    );
    this.#setNumbers(bridge, bus.number, first, child.last);
    bridge.child = child;
    bus.last = Math.max(bus.last, child.last);
    this.numbered++;
  }

  /** The lowest bus numbers below a bus that no bridge has. */
  #gap(bus: FoundBus, limit: number): { first: number; last: number } | undefined {
    const taken = bus.functions.flatMap(({ child }) => child ?? []);
    const isFree = (number: number): boolean =>
      taken.every((other) => number < other.number || number > other.last);
    let first = bus.number + 1;
    while (first <= limit && !isFree(first)) first++;
    if (first > limit) return undefined;
    let last = first;
    while (last < limit && isFree(last + 1)) last++;
    return { first, last };
  }
}

export const addressOf = ({ bus, devfn }: FunctionAddress): FunctionAddress => ({ bus, devfn });

/** Sizes the BARs of a function, which decodes nothing meanwhile. */
const findBars = (
  config: ConfigCycles,
  at: FunctionAddress,
  command: number,
  count: number,
): FoundBar[] => {
  const decoding = COMMAND.IO | COMMAND.MEMORY;
  if ((command & decoding) !== 0) config.write(at, CONFIG.COMMAND, 2, command & ~decoding);
  const bars: FoundBar[] = [];
  for (let index = 0; index < count; index++) {
    const bar = sizeBar(config, at, index);
    if (bar === undefined) continue;
    bars.push(bar);
    if (bar.bits64) index++;
  }
  if ((command & decoding) !== 0) config.write(at, CONFIG.COMMAND, 2, command);
  return bars;
};

const sizeBar = (
  config: ConfigCycles,
  at: FunctionAddress,
  index: number,
): FoundBar | undefined => {
  const register = CONFIG.BAR0 + 4 * index;
  const low = probe(config, at, register);
  if (low.mask === 0) return undefined;
  const io = (low.mask & 1) !== 0;
  const bits64 = !io && (low.mask & 6) === 4;
  const high = bits64 ? probe(config, at, register + 4) : { value: 0, mask: NO_WISH };
  const type = BigInt(io ? 0x3 : 0xf);
  const wide = (upper: number, lower: number): bigint => (BigInt(upper) << 32n) | BigInt(lower);
  return {
    index,
    type: io ? 'io' : 'memory',
    prefetch: !io && (low.mask & 8) !== 0,
    bits64,
    size: BigInt.asUintN(64, -(wide(high.mask, low.mask) & ~type)),
    address: wide(high.value, low.value) & ~type,
  };
};

/** What a register holds, and which of its bits can be ones. */
const probe = (
  config: ConfigCycles,
  at: FunctionAddress,
  register: number,
): { value: number; mask: number } => {
  const value = config.read(at, register, 4);
  config.write(at, register, 4, 0xffff_ffff);
  const mask = config.read(at, register, 4);
  config.write(at, register, 4, value);
  return { value, mask };
};

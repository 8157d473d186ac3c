import { COMMAND, CONFIG } from '../../pci/registers.js';
import type { ConfigCycles } from './config-ports.js';
import { RangePool } from './range-pool.js';
import { addressOf, readWishes } from './topology.js';
import type { FoundBar, FoundBus, FoundFunction, Kind, Unassigned } from './topology.js';
import { GRANULARITY, readWindow, writeWindow } from './windows.js';
import type { Window } from './windows.js';

const KINDS = ['io', 'memory', 'prefetch'] as const;
type Pools = Readonly<Partial<Record<Kind, RangePool>>>;
interface Room {
  readonly size: bigint;
  readonly align: bigint;
}
/** Something that gets addresses: a BAR, or the window of a bridge. */
interface Claim extends Room {
  readonly what: string;
  readonly bar?: number;
  readonly give: (base: bigint) => void;
}
const NAMES: Readonly<Record<Kind, string>> = {
  io: 'I/O ports',
  memory: 'memory below 4 GiB',
  prefetch: 'prefetchable memory above 4 GiB',
};

const alignUp = (value: bigint, to: bigint): bigint => ((value + to - 1n) / to) * to;
const larger = (a: bigint, b: bigint): bigint => (a > b ? a : b);
/** Largest alignment first: nothing is lost between them. */
const byAlign = (a: Room, b: Room): number =>
  a.align === b.align ? 0 : a.align < b.align ? 1 : -1;

/** Only memory that is both goes above 4 GiB: bridges have one window for each. */
const kindOf = ({ type, prefetch, bits64 }: FoundBar): Kind =>
  type === 'io' ? 'io' : prefetch && bits64 ? 'prefetch' : 'memory';
const decodeBit = (kind: Kind): number => (kind === 'io' ? COMMAND.IO : COMMAND.MEMORY);

/**
 * Gives every BAR and every window of bridges its addresses. What decodes already keeps its place,
 * so that whoever uses it is not disturbed.
 */
export class Assignment {
  readonly #config: ConfigCycles;
  /** BARs and windows that got addresses. */
  assigned = 0;
  readonly unassigned: Unassigned[] = [];
  /** Addresses of BARs, by function. */
  readonly addresses = new Map<FoundFunction, Map<number, bigint>>();
  readonly windows = new Map<FoundFunction, Map<Kind, Window>>();
  /** What can be given to those behind the windows. */
  readonly #behind = new Map<FoundFunction, Partial<Record<Kind, RangePool>>>();

  constructor(config: ConfigCycles) {
    this.#config = config;
  }

  /** @param pools addresses of the root buses */
  run(roots: readonly FoundBus[], pools: Readonly<Record<Kind, RangePool>>): void {
    // What decodes comes before what merely holds an address.
    for (const decoding of [true, false])
      for (const bus of roots) this.#keepBus(bus, pools, decoding);
    for (const bus of roots) this.#assignBus(bus, pools);
    for (const bus of roots) this.#enableBus(bus);
  }

  #bars(fn: FoundFunction): Map<number, bigint> {
    return ensure(this.addresses, fn, () => new Map<number, bigint>());
  }
  #windowsOf(fn: FoundFunction): Map<Kind, Window> {
    return ensure(this.windows, fn, () => new Map<Kind, Window>());
  }
  #poolsOf(fn: FoundFunction): Partial<Record<Kind, RangePool>> {
    return ensure(this.#behind, fn, () => ({}));
  }

  // What is there.

  #keepBus(bus: FoundBus, pools: Pools, decoding: boolean): void {
    const isTurn = (fn: FoundFunction, kind: Kind): boolean =>
      ((fn.command & decodeBit(kind)) !== 0) === decoding;
    for (const fn of bus.functions) {
      for (const bar of fn.bars) if (isTurn(fn, bar.type)) this.#keepBar(fn, bar, pools);
      if (fn.child === undefined) continue;
      for (const kind of KINDS) if (isTurn(fn, kind)) this.#keepWindow(fn, kind, pools);
      this.#keepBus(fn.child, this.#poolsOf(fn), decoding);
    }
  }

  #keepBar(fn: FoundFunction, bar: FoundBar, pools: Pools): void {
    if (bar.address === 0n) return;
    // A driver may have put prefetchable memory below 4 GiB.
    const candidates = bar.type === 'io' ? [pools.io] : [pools.prefetch, pools.memory];
    if (candidates.some((pool) => pool?.reserve(bar.address, bar.size)))
      this.#bars(fn).set(bar.index, bar.address);
  }

  #keepWindow(fn: FoundFunction, kind: Kind, pools: Pools): void {
    const window = readWindow(this.#config, fn, kind);
    if (window !== undefined && pools[kind]?.reserve(window.base, window.size))
      this.#openWindow(fn, kind, window);
  }

  #openWindow(fn: FoundFunction, kind: Kind, window: Window): void {
    this.#windowsOf(fn).set(kind, window);
    this.#poolsOf(fn)[kind] = new RangePool(window.base, window.base + window.size);
  }

  // What is new.

  #assignBus(bus: FoundBus, pools: Pools): void {
    for (const kind of KINDS) this.#assignKind(bus, kind, pools[kind]);
    for (const fn of bus.functions)
      if (fn.child !== undefined) this.#assignBus(fn.child, this.#poolsOf(fn));
  }

  #assignKind(bus: FoundBus, kind: Kind, pool: RangePool | undefined): void {
    const claims = bus.functions
      .flatMap((fn) => this.#claims(fn, kind).map((claim) => ({ fn, claim })))
      .sort((a, b) => byAlign(a.claim, b.claim));
    for (const { fn, claim } of claims) {
      const base = pool?.allocate(claim.size, claim.align);
      if (base === undefined) this.#refuse(fn, kind, claim);
      else {
        claim.give(base);
        this.assigned++;
      }
    }
  }

  #refuse(fn: FoundFunction, kind: Kind, { what, size, bar }: Claim): void {
    this.unassigned.push({
      ...addressOf(fn),
      ...(bar === undefined ? {} : { bar }),
      reason: `no room for the ${String(size)} bytes of ${what} in ${NAMES[kind]}`,
    });
  }

  /** What a function still needs of one kind. */
  #claims(fn: FoundFunction, kind: Kind): Claim[] {
    const bars = fn.bars
      .filter((bar) => kindOf(bar) === kind && !this.#bars(fn).has(bar.index))
      .map((bar) => ({
        ...{ size: bar.size, align: bar.size, bar: bar.index, what: `BAR ${String(bar.index)}` },
        give: (base: bigint) => this.#setBar(fn, bar, base),
      }));
    const room = this.#windowRoom(fn, kind);
    if (room === undefined) return bars;
    const give = (base: bigint): void => {
      writeWindow(this.#config, fn, kind, { base, size: room.size });
      this.#openWindow(fn, kind, { base, size: room.size });
    };
    return [...bars, { ...room, what: 'the window', give }];
  }

  /** Room that a closed window needs; undefined when it is open, or nothing is behind it. */
  #windowRoom(fn: FoundFunction, kind: Kind): Room | undefined {
    if (fn.child === undefined || this.#windowsOf(fn).has(kind)) return undefined;
    const inside = fn.child.functions.flatMap((child) => this.#claims(child, kind)).sort(byAlign);
    const needed = inside.reduce((end, { size, align }) => alignUp(end, align) + size, 0n);
    const wish = readWishes(this.#config, fn).room[kind];
    const size = alignUp(larger(needed, wish), GRANULARITY[kind]);
    if (size === 0n) return undefined;
    const align = [...inside.map((claim) => claim.align), GRANULARITY[kind]].reduce(larger);
    return { size, align: larger(align, powerOfTwoBelow(wish)) };
  }

  #setBar(fn: FoundFunction, bar: FoundBar, base: bigint): void {
    const register = CONFIG.BAR0 + 4 * bar.index;
    this.#config.write(fn, register, 4, Number(base & 0xffff_ffffn));
    if (bar.bits64) this.#config.write(fn, register + 4, 4, Number(base >> 32n));
    this.#bars(fn).set(bar.index, base);
  }

  // Switching on.

  #enableBus(bus: FoundBus): void {
    for (const fn of bus.functions) {
      this.#enable(fn);
      if (fn.child !== undefined) this.#enableBus(fn.child);
    }
  }

  /** A function that misses addresses stays as it is. */
  #enable(fn: FoundFunction): void {
    if (!fn.isBridge && fn.bars.length === 0) return;
    if (fn.bars.some(({ index }) => !this.#bars(fn).has(index))) return;
    const types: readonly ('io' | 'memory')[] = fn.isBridge
      ? ['io', 'memory']
      : fn.bars.map(({ type }) => type);
    let bits = fn.command | COMMAND.MASTER;
    for (const type of types) bits |= decodeBit(type);
    if (bits !== fn.command) this.#config.write(fn, CONFIG.COMMAND, 2, bits);
  }
}

const powerOfTwoBelow = (value: bigint): bigint =>
  value === 0n ? 0n : 1n << BigInt(value.toString(2).length - 1);

const ensure = <K, V>(map: Map<K, V>, key: K, make: () => V): V => {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
};

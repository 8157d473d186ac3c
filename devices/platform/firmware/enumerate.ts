import type { AddressSpace } from '../../core/address-space.js';
import { CONFIG } from '../../pci/registers.js';
import { PIRQ_ROUTE, PIRQ_ROUTE_HIGH } from '../board-tables.js';
import { PCIEXBAR } from '../config-cycles.js';
import { RAM_SPLIT } from '../memory-map.js';
import { Assignment } from './assignment.js';
import { ConfigCycles } from './config-ports.js';
import { RangePool } from './range-pool.js';
import { BusScan } from './topology.js';
import type { FoundBus, FoundFunction, Kind, Unassigned } from './topology.js';
import type { Window } from './windows.js';

export interface FirmwareOptions {
  /** The ports of the machine: all that is touched. */
  readonly ports: AddressSpace;
  readonly kind: 'pc' | 'q35';
  readonly ramSize: bigint;
  /** Numbers of the root buses, as tables of the board tell firmware. */
  readonly roots: readonly number[];
  /** Above RAM, room for memory modules and fixed windows: BARs may begin here. */
  readonly highBase: bigint;
}
export interface EnumeratedBar {
  readonly bar: number;
  readonly type: 'io' | 'memory';
  readonly prefetch: boolean;
  readonly size: bigint;
  readonly address: bigint;
}
export interface EnumeratedFunction {
  readonly bus: number;
  readonly devfn: number;
  readonly vendor: number;
  readonly device: number;
  readonly bars: readonly EnumeratedBar[];
  /** Of a bridge: what is behind it. */
  readonly bridge?: {
    readonly secondary: number;
    readonly subordinate: number;
    readonly windows: Readonly<Partial<Record<Kind, Window>>>;
  };
}
export interface Enumeration {
  /** Address of the memory-mapped configuration window; undefined on pc. */
  readonly ecam: bigint | undefined;
  /** Bus numbers, windows and BARs that this call set. */
  readonly assigned: number;
  /** Each bridge before what is behind it. */
  readonly functions: readonly EnumeratedFunction[];
  readonly unassigned: readonly Unassigned[];
}

const HOST_BRIDGE = { bus: 0, devfn: 0 };
/** The functions whose registers route PIRQs to inputs of the legacy controller. */
const ROUTER = { pc: { bus: 0, devfn: 0x08 }, q35: { bus: 0, devfn: 0xf8 } } as const;
/** Those inputs, by PIRQ; firmware of PCs has them from the first PCI boards. */
const LINES = [10, 10, 11, 11] as const;
const ROUTE_DISABLED = 0x80;
const FIRST_CHIPSET_SLOT = 25;

const IO = { base: 0xc000n, end: 0x1_0000n } as const;
/** Where the I/O APIC begins. */
const MEMORY_END = 0xfec0_0000n;
const Q35_MEMORY_BASE = 0xc000_0000n;
/** pc: the lowest of these that RAM leaves free. */
const PC_MEMORY_BASES = [0x8000_0000n, 0xc000_0000n, 0xe000_0000n] as const;
/** Addresses that every processor of a server drives. */
const PREFETCH_END = 1n << 48n;
const GIB = 1n << 30n;

const memoryBase = ({ kind, ramSize }: FirmwareOptions): bigint => {
  if (kind === 'q35') return Q35_MEMORY_BASE;
  const { from, low } = RAM_SPLIT.pc;
  const top = ramSize >= from ? low : ramSize;
  return PC_MEMORY_BASES.find((base) => base >= top) ?? MEMORY_END;
};

/**
 * Numbers buses, gives BARs and windows addresses and switches devices on, as firmware does after
 * power-on, through configuration cycles alone. What is in place stays there: a second call finds
 * nothing to do, or only what was added since.
 *
 * @see reference/pci-and-memory-devices.md §1.4, §1.5, §1.9, §1.13
 */
export const enumerate = (options: FirmwareOptions): Enumeration => {
  const config = new ConfigCycles(options.ports);
  const ecam = options.kind === 'q35' ? openEcam(config) : undefined;
  const scan = new BusScan(config);
  const roots = scan.scan(options.roots);
  const assignment = new Assignment(config);
  assignment.run(roots, {
    io: new RangePool(IO.base, IO.end),
    memory: new RangePool(memoryBase(options), MEMORY_END),
    prefetch: new RangePool(((options.highBase + GIB - 1n) / GIB) * GIB, PREFETCH_END),
  });
  routeInterrupts(config, options.kind, roots);
  return {
    ecam,
    assigned: scan.numbered + assignment.assigned,
    functions: roots.flatMap((bus) => describeBus(bus, assignment)),
    unassigned: [...scan.unassigned, ...assignment.unassigned],
  };
};

const openEcam = (config: ConfigCycles): bigint => {
  const low = config.read(HOST_BRIDGE, PCIEXBAR.offset, 4);
  const high = config.read(HOST_BRIDGE, PCIEXBAR.offset + 4, 4);
  if ((low & 1) === 0) config.write(HOST_BRIDGE, PCIEXBAR.offset, 4, low + 1);
  return (BigInt(high) << 32n) | (BigInt(low) & 0xfc00_0000n);
};

// Interrupts.

const routeInterrupts = (
  config: ConfigCycles,
  kind: 'pc' | 'q35',
  roots: readonly FoundBus[],
): void => {
  const registers = [PIRQ_ROUTE, ...(kind === 'q35' ? [PIRQ_ROUTE_HIGH] : [])];
  for (const first of registers)
    for (const [i, line] of LINES.entries()) {
      const route = config.read(ROUTER[kind], first + i, 1);
      if ((route & ROUTE_DISABLED) !== 0) config.write(ROUTER[kind], first + i, 1, line);
    }
  const lineOf = (slot: number, pin: number): number => {
    if (kind === 'pc') return (slot + 3 + pin) % 4;
    return slot < FIRST_CHIPSET_SLOT ? (slot + pin) % 4 : pin;
  };
  for (const bus of roots) setLines(config, bus, lineOf);
};

/** Tells every function which line its pin ends at; bridges turn pins on the way. */
const setLines = (
  config: ConfigCycles,
  bus: FoundBus,
  lineOf: (slot: number, pin: number) => number,
): void => {
  for (const fn of bus.functions) {
    const slot = fn.devfn >> 3;
    const line = LINES[lineOf(slot, fn.pin - 1) % LINES.length];
    if (fn.pin !== 0 && line !== undefined && config.read(fn, CONFIG.INTERRUPT_LINE, 1) === 0)
      config.write(fn, CONFIG.INTERRUPT_LINE, 1, line);
    if (fn.child !== undefined)
      setLines(config, fn.child, (below, pin) => lineOf(slot, (below + pin) % 4));
  }
};

// The answer.

const describeBus = (bus: FoundBus, assignment: Assignment): EnumeratedFunction[] =>
  bus.functions.flatMap((fn) => [
    describe(fn, assignment),
    ...(fn.child === undefined ? [] : describeBus(fn.child, assignment)),
  ]);

const describe = (fn: FoundFunction, assignment: Assignment): EnumeratedFunction => {
  const { bus, devfn, vendor, device, child } = fn;
  const addresses = assignment.addresses.get(fn);
  const bars = fn.bars.flatMap(({ index, type, prefetch, size }) => {
    const address = addresses?.get(index);
    return address === undefined ? [] : [{ bar: index, type, prefetch, size, address }];
  });
  const found = { bus, devfn, vendor, device, bars };
  if (child === undefined) return found;
  const windows = Object.fromEntries(assignment.windows.get(fn) ?? []);
  return { ...found, bridge: { secondary: child.number, subordinate: child.last, windows } };
};

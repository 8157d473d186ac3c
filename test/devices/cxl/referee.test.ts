import t from 'tap';
import { cxlType3 } from '../../../devices/cxl-type3/index.js';
import type { PciFunction } from '../../../devices/pci/function.js';
import { busOf, CxlBoard, HOST_REGISTERS } from '../../support/cxl.js';
import { refereeMissing, startReferee, type Qtest } from '../../support/referee.js';
import { SparseBackend } from '../../support/sparse-memory.js';

/**
 * Configuration space and component registers next to those of real QEMU 7.2, capability by
 * capability. What differs is listed here with its reason, and nothing else may.
 */

const ECAM = 0xb000_0000;
const BUS = { host: 52, upstream: 53, downstream: 54, memory: 55 } as const;
const UNIT = 256n << 20n;

/** Bytes of one function, by the name of the capability they belong to. */
type Parts = ReadonlyMap<string, Uint8Array>;

const word = (bytes: Uint8Array, at: number, size: 2 | 4): number => {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return size === 2 ? view.getUint16(at, true) : view.getUint32(at, true);
};

/** Where each capability begins; the next one, or the end of what is compared, ends it. */
const starts = (bytes: Uint8Array): [name: string, at: number][] => {
  const found: [string, number][] = [];
  for (let at = bytes[0x34] ?? 0; at !== 0; at = bytes[at + 1] ?? 0)
    found.push([`cap ${(bytes[at] ?? 0).toString(16)}`, at]);
  for (let at = 0x100; at !== 0; at = word(bytes, at + 2, 2) >> 4) {
    const id = word(bytes, at, 2);
    const name = id === 0x23 ? `dvsec ${String(word(bytes, at + 8, 2))}` : `ext ${id.toString(16)}`;
    found.push([name, at]);
  }
  return found;
};

/** Lengths of what has no length field. */
const LENGTHS: Readonly<Record<string, number>> = {
  ...{ 'cap 5': 0x18, 'cap 10': 0x3c, 'cap 11': 12, 'cap d': 8 },
  ...{ 'ext 1': 0x48, 'ext d': 8, 'ext 2e': 0x10 },
};

const partsOf = (bytes: Uint8Array): Parts => {
  const parts = new Map<string, Uint8Array>([['header', bytes.slice(0, 0x40)]]);
  for (const [name, at] of bytes.length > 0x100 ? starts(bytes) : []) {
    const length = LENGTHS[name] ?? word(bytes, at + 6, 2) >> 4;
    const body = bytes.slice(at, at + length);
    // Where the next one lies is no part of a capability.
    body.fill(0, name.startsWith('cap') ? 1 : 2, name.startsWith('cap') ? 2 : 4);
    parts.set(name, body);
  }
  parts.get('header')?.fill(0, 0x34, 0x35);
  return parts;
};

/** `CAPABILITY+OFFSET: OURS, QEMU THEIRS`, by 16 bits; and capabilities that one side lacks. */
const differences = (ours: Parts, theirs: Parts): string[] => {
  const found: string[] = [];
  const text = (value: number): string => value.toString(16).padStart(4, '0');
  for (const name of new Set([...ours.keys(), ...theirs.keys()])) {
    const [left, right] = [ours.get(name), theirs.get(name)];
    if (left === undefined || right === undefined) {
      found.push(`${name}: only ${left === undefined ? 'in QEMU' : 'ours'}`);
      continue;
    }
    for (let at = 0; at < Math.min(left.length, right.length); at += 2) {
      const [mine, his] = [word(left, at, 2), word(right, at, 2)];
      if (mine !== his) found.push(`${name}+${at.toString(16)}: ${text(mine)}, QEMU ${text(his)}`);
    }
  }
  return found;
};

/** Extended tags, and what links of 10.2 announce: speed, width, reports, list of speeds. */
const LINK = (lines: Readonly<Record<string, string>>): string[] => [
  'cap 10+4: 8020, QEMU 8000',
  ...Object.entries(lines).map(([at, values]) => `cap 10+${at}: ${values}`),
];
/** 10.2 masks internal errors. */
const AER = 'ext 1+a: 0240, QEMU 0000';
/** CXL 3.1: longer and newer. */
const FLEX_BUS = 'dvsec 7+6: 0202, QEMU 0141';
const SPEEDS_32 = { '2c': '003e, QEMU 0000', '30': '0005, QEMU 0000' };
const SPEEDS_64 = { '2c': '007e, QEMU 0000', '30': '0006, QEMU 0000' };

/** Lines of `differences` that QEMU 10.2 (reference/cxl.md §1.2, §2), or what is named, explains. */
const EXPECTED: Readonly<Record<string, readonly string[]>> = {
  'pxb-cxl': ['header+0: 1b36, QEMU 0000', 'header+2: 000b, QEMU 0000'],
  'cxl-rp': [
    ...LINK({
      ...{ c: '0606, QEMU 0411', e: '0030, QEMU 0000', '12': '2105, QEMU 2011' },
      // Power and indicators of a populated slot.
      ...{ '18': '03c0, QEMU 01c0', ...SPEEDS_64 },
    }),
    'cap 5: only ours',
    AER,
    FLEX_BUS,
  ],
  'cxl-upstream': [
    ...LINK({
      ...{ c: '0505, QEMU 0411', '12': '0105, QEMU 0011' },
      ...SPEEDS_32,
    }),
    AER,
    FLEX_BUS,
  ],
  'cxl-downstream': [
    ...LINK({
      ...{ c: '0506, QEMU 0400', e: '0330, QEMU 0300', '12': '2105, QEMU 2011' },
      // docs/differences.md: the slot can be switched off.
      ...{ '14': '007b, QEMU 0079', '18': '03c0, QEMU 00c0', ...SPEEDS_64 },
    }),
    AER,
    FLEX_BUS,
  ],
  'cxl-type3': [
    ...LINK({
      ...{ c: '0505, QEMU 0411', '12': '0105, QEMU 0011' },
      ...SPEEDS_32,
    }),
    // 8 vectors; a newer revision of the device DVSEC; no flex bus and no AER in 7.2.
    'cap 11+2: 0007, QEMU 0000',
    'dvsec 0+6: 03c3, QEMU 0381',
    'dvsec 7: only ours',
    'ext 1: only ours',
  ],
};

const OPTIONS = [
  ...['-M', 'q35,cxl=on', '-m', '128M', '-nodefaults', '-S'],
  ...['-object', 'memory-backend-ram,id=m0,size=256M'],
  ...['-object', 'memory-backend-ram,id=l0,size=256K'],
  ...['-device', `pxb-cxl,id=cx0,bus=pcie.0,addr=5,bus_nr=${String(BUS.host)}`],
  ...['-device', 'cxl-rp,id=rp0,bus=cx0,slot=0'],
  ...['-device', 'cxl-rp,id=rp1,bus=cx0,slot=1,port=1'],
  ...['-device', 'cxl-upstream,id=us0,bus=rp0'],
  ...['-device', 'cxl-downstream,id=ds0,bus=us0,port=3,slot=2'],
  ...['-device', 'cxl-type3,id=t0,bus=ds0,memdev=m0,lsa=l0'],
];

const build = (): { board: CxlBoard; functions: Record<string, PciFunction> } => {
  const board = new CxlBoard([]);
  const bus = board.hostBridge('cx0', BUS.host);
  const rootPort = board.rootPort(bus, 'rp0');
  board.rootPort(bus, 'rp1', 1);
  const upstream = board.upstream(rootPort, 'us0', {}, false);
  const downstream = board.downstream(upstream, 'ds0', 3);
  const backends = {
    memdev: new SparseBackend('m0', UNIT),
    lsa: new SparseBackend('l0', 0x40000n),
  };
  const memory = board.plug(board.create(cxlType3, 't0', backends), { bus: busOf(downstream) });
  board.start();
  const expander = board.root.functions.find(({ typeName }) => typeName === 'pxb-cxl');
  if (expander === undefined) throw new Error('no host bridge');
  const ports = { 'cxl-rp': rootPort, 'cxl-upstream': upstream, 'cxl-downstream': downstream };
  const functions = Object.entries({ ...ports, 'cxl-type3': memory }).map(
    ([name, { pci }]) => [name, pci] as const,
  );
  return { board, functions: { 'pxb-cxl': expander, ...Object.fromEntries(functions) } };
};

/** Bus and slot of each function in QEMU. */
const PLACE: Readonly<Record<string, readonly [bus: number, slot: number]>> = {
  'pxb-cxl': [0, 5],
  'cxl-rp': [BUS.host, 0],
  'cxl-upstream': [BUS.upstream, 0],
  'cxl-downstream': [BUS.downstream, 0],
  'cxl-type3': [BUS.memory, 0],
};
const address = (type: string, offset: number): number => {
  const [bus, slot] = PLACE[type] ?? [0, 0];
  return ECAM + bus * 0x10_0000 + slot * 0x8000 + offset;
};

/** Opens the window on configuration space, and reads each function before bridges are programmed. */
const dumpQemu = async (qemu: Qtest): Promise<Record<string, Uint8Array>> => {
  await qemu.ask('outl 0xcf8 0x80000060');
  await qemu.ask(`outl 0xcfc ${String(ECAM + 1)}`);
  const dumps: Record<string, Uint8Array> = {};
  const { host, upstream, downstream, memory } = BUS;
  const next: Readonly<Record<string, readonly [number, number]>> = {
    'cxl-rp': [host, upstream],
    'cxl-upstream': [upstream, downstream],
    'cxl-downstream': [downstream, memory],
  };
  for (const type of Object.keys(PLACE)) {
    dumps[type] = await qemu.memory(address(type, 0), type === 'pxb-cxl' ? 0x100 : 0x400);
    const buses = next[type];
    if (buses === undefined) continue;
    const numbers = buses[0] + buses[1] * 0x100 + memory * 0x1_0000;
    await qemu.ask(`writel ${String(address(type, 0x18))} ${String(numbers)}`);
  }
  return dumps;
};

const skip = refereeMissing();

t.test('configuration space is that of QEMU 7.2 but for what is listed', { skip }, async (t) => {
  const dumps = await dumpQemu(await startReferee(t, OPTIONS));
  const { functions } = build();
  for (const [type, theirs] of Object.entries(dumps)) {
    const fn = functions[type];
    const mine = Uint8Array.from({ length: theirs.length }, (_, at) => fn?.config.get(at, 1) ?? 0);
    const found = differences(partsOf(mine), partsOf(theirs));
    t.strictSame(found.sort(), [...(EXPECTED[type] ?? [])].sort(), type);
  }
});

const BAR = { 'cxl-rp': 0xe100_0000, 'cxl-upstream': 0xe010_0000 } as const;
const BARS: Readonly<Record<string, number>> = {
  ...BAR,
  ...{ 'cxl-downstream': 0xe020_0000, 'cxl-type3': 0xe030_0000 },
};

/** Opens the windows of all bridges and maps every BAR 0. */
const mapComponents = async (qemu: Qtest): Promise<void> => {
  for (const [type, bar] of Object.entries(BARS)) {
    if (type !== 'cxl-type3') await qemu.ask(`writel ${String(address(type, 0x20))} 0xe0f0e000`);
    await qemu.ask(`writel ${String(address(type, 0x10))} ${String(bar)}`);
    await qemu.ask(`writew ${String(address(type, 4))} 6`);
  }
};

interface Access {
  read(offset: number): Promise<number>;
  write(offset: number, value: number): Promise<void>;
}

/** Value after reset and writable bits of each register in a range. */
const probe = async ({ read, write }: Access, from: number, length: number): Promise<string[]> => {
  const found: string[] = [];
  for (let offset = from; offset < from + length; offset += 4) {
    const before = await read(offset);
    await write(offset, 0xffff_ffff);
    const ones = await read(offset);
    await write(offset, 0);
    const bits = (ones ^ (await read(offset))) >>> 0;
    await write(offset, before);
    found.push(`+${(offset - from).toString(16)} ${before.toString(16)} ${bits.toString(16)}`);
  }
  return found;
};

/** Ids and pointers of the capability array. */
const capabilities = async ({ read }: Access): Promise<Map<number, number>> => {
  const found = new Map<number, number>();
  for (let offset = 0x1004; offset <= 0x1014; offset += 4) {
    const header = await read(offset);
    if (header !== 0) found.set(header & 0xffff, 0x1000 + (header >>> 20));
  }
  return found;
};

/** Blocks that are compared, and their lengths: RAS without the log, HDM with one decoder. */
const BLOCKS = { 2: 0x18, 5: 0x30 } as const;

/** 10.2 (reference/cxl.md §3): four decoders, other interleaves, the committed bit that goes. */
const ROUTER = ['5: +0 382 0, QEMU +0 380 0', '5: +20 0 17ff, QEMU +20 0 11ff'];
/** It records several headers. */
const HEADERS = '2: +14 200 0, QEMU +14 0 0';
const COMPONENT_EXPECTED: Readonly<Record<string, readonly string[]>> = {
  'host bridge': [...ROUTER, '2: only in QEMU'],
  'cxl-rp': ['5: only in QEMU', HEADERS],
  'cxl-upstream': [...ROUTER, HEADERS],
  'cxl-downstream': [HEADERS],
  'cxl-type3': [
    '2: +14 23f 0, QEMU +14 0 0',
    '5: +0 1b12 0, QEMU +0 310 0',
    '5: +20 0 17ff, QEMU +20 0 11ff',
  ],
};

t.test('component registers are those of QEMU 7.2 but for what is listed', { skip }, async (t) => {
  const qemu = await startReferee(t, OPTIONS);
  await dumpQemu(qemu);
  await mapComponents(qemu);
  const theirs = (base: number): Access => ({
    read: async (offset) => Number(await qemu.ask(`readl ${String(base + offset)}`)),
    write: async (offset, value) => {
      await qemu.ask(`writel ${String(base + offset)} ${String(value)}`);
    },
  });
  const { board, functions } = build();
  const ours = (fn: PciFunction | undefined): Access => {
    fn?.config.set(4, 2, 6);
    return {
      read: async (offset) => Number(fn?.readBar(0, offset, 4) ?? 0n),
      write: async (offset, value) => fn?.writeBar(0, offset, 4, BigInt(value)),
    };
  };
  const host: Access = {
    read: async (offset) => Number(board.bridgeRegister(0, offset)),
    write: async (offset, value) => board.bridgeRegisters(0)(offset, BigInt(value)),
  };
  const components: [string, Access, Access][] = [
    ['host bridge', host, theirs(Number(HOST_REGISTERS))],
    ...Object.entries(BARS).map(([type, bar]): [string, Access, Access] => [
      type,
      ours(functions[type]),
      theirs(bar),
    ]),
  ];
  for (const [name, mine, his] of components) {
    const [left, right] = [await capabilities(mine), await capabilities(his)];
    const found: string[] = [];
    for (const id of new Set([...left.keys(), ...right.keys()])) {
      const [a, b] = [left.get(id), right.get(id)];
      const length = BLOCKS[id as keyof typeof BLOCKS] ?? 0;
      if (a === undefined || b === undefined)
        found.push(`${String(id)}: only ${a === undefined ? 'in QEMU' : 'ours'}`);
      else {
        const [one, other] = [await probe(mine, a, length), await probe(his, b, length)];
        one.forEach((line, i) => {
          if (line !== other[i]) found.push(`${String(id)}: ${line}, QEMU ${other[i] ?? ''}`);
        });
      }
    }
    t.strictSame(found.sort(), [...(COMPONENT_EXPECTED[name] ?? [])].sort(), name);
  }
});

import t from 'tap';
import { pciBridge } from '../../../devices/pci-bridge/index.js';
import { pciePciBridge } from '../../../devices/pcie-pci-bridge/index.js';
import { pcieRootPort } from '../../../devices/pcie-root-port/index.js';
import { pxb, pxbPcie } from '../../../devices/pxb-pcie/index.js';
import { refereeMissing, startReferee, type Qtest } from '../../support/referee.js';
import { TestBoard } from '../../support/test-board.js';

/**
 * The configuration space of every function of the board and of every bridge, byte by byte after
 * reset, next to that of real QEMU 7.2.
 */
/** What may differ: bytes of a device type, and why. A row that nothing needs fails the test. */
const TOLERATED: readonly { type: string; offset: number; bytes: number; why: string }[] = [
  { type: 'pcie-root-port', offset: 0x58, bytes: 1, why: '§1.8 +4: extended tag is [10]' },
  { type: 'pcie-pci-bridge', offset: 0x4c, bytes: 1, why: '§1.8 +4: extended tag is [10]' },
  { type: 'pcie-root-port', offset: 0x10a, bytes: 2, why: '10.2 masks internal errors in AER' },
  { type: 'pcie-pci-bridge', offset: 0x10a, bytes: 2, why: '10.2 masks internal errors in AER' },
];

interface Setup {
  readonly kind: 'pc' | 'q35';
  readonly defaults: boolean;
  readonly args: readonly string[];
  readonly plug: (board: TestBoard) => void;
}

const SETUPS: readonly Setup[] = [
  { kind: 'pc', defaults: true, args: [], plug: () => undefined },
  { kind: 'q35', defaults: true, args: [], plug: () => undefined },
  {
    kind: 'pc',
    defaults: false,
    args: ['pci-bridge,id=b,chassis_nr=2,addr=4', 'pxb,id=px,bus_nr=16,addr=5'],
    plug: (board) => {
      board.plug(board.create(pciBridge, 'b', { chassis_nr: 2 }), { addr: 0x20 });
      board.plug(board.create(pxb, 'px', { bus_nr: 16 }), { addr: 0x28 });
    },
  },
  {
    kind: 'q35',
    defaults: false,
    args: [
      'pcie-root-port,id=rp,chassis=1,slot=1,addr=2',
      'pcie-pci-bridge,id=pb,addr=3',
      'pci-bridge,id=b,chassis_nr=2,shpc=off,bus-reserve=1,addr=4',
      'pcie-root-port,id=slow,x-speed=2_5,x-width=1,port=5,disable-acs=on,mem-reserve=1M,addr=5',
      'pcie-root-port,id=mid,slot=2,x-speed=5,x-width=1,power_controller_present=off,addr=6',
      'pxb-pcie,id=px,bus_nr=16,addr=7',
    ],
    plug: (board) => {
      const MiB = 0x10_0000n;
      board.plug(board.create(pcieRootPort, 'rp', { chassis: 1, slot: 1 }), { addr: 0x10 });
      board.plug(board.create(pciePciBridge, 'pb'), { addr: 0x18 });
      const chassis = { chassis_nr: 2, shpc: false, 'bus-reserve': 1 };
      board.plug(board.create(pciBridge, 'b', chassis), { addr: 0x20 });
      const slow = { 'x-speed': '2_5', 'x-width': '1', port: 5, 'disable-acs': true };
      const reserve = { 'mem-reserve': MiB };
      board.plug(board.create(pcieRootPort, 'slow', { ...slow, ...reserve }), { addr: 0x28 });
      const mid = { slot: 2, 'x-speed': '5', 'x-width': '1', power_controller_present: false };
      board.plug(board.create(pcieRootPort, 'mid', mid), { addr: 0x30 });
      board.plug(board.create(pxbPcie, 'px', { bus_nr: 16 }), { addr: 0x38 });
    },
  },
];

const startQemu = (t: Parameters<typeof startReferee>[0], setup: Setup): Promise<Qtest> =>
  startReferee(t, [
    ...['-M', setup.kind, '-S'],
    ...(setup.defaults ? [] : ['-nodefaults']),
    ...setup.args.flatMap((device) => ['-device', device]),
  ]);

const ours = ({ kind, defaults, plug }: Setup): TestBoard => {
  const board = new TestBoard(kind, { defaults, ramSize: 128n << 20n });
  plug(board);
  return board.start();
};

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

/** Offsets at which two dumps differ and no row allows it. */
const differences = (
  type: string,
  dumps: { ours: Uint8Array; theirs: Uint8Array },
  used: Set<object>,
): string[] => {
  const found: string[] = [];
  for (const [at, theirs] of dumps.theirs.entries()) {
    const mine = dumps.ours[at] ?? 0;
    if (mine === theirs) continue;
    const row = TOLERATED.find(
      ({ type: name, offset, bytes }) => name === type && at >= offset && at < offset + bytes,
    );
    if (row === undefined) found.push(`${hex(at, 3)}: ${hex(mine, 2)}, QEMU ${hex(theirs, 2)}`);
    else used.add(row);
  }
  return found;
};

const skip = refereeMissing();

t.test('configuration space after reset is that of QEMU 7.2', { skip }, async (t) => {
  const used = new Set<object>();
  for (const setup of SETUPS) {
    const qemu = await startQemu(t, setup);
    const board = ours(setup);
    for (const fn of board.root.functions) {
      const name = `${setup.kind} ${hex(fn.slot, 2)}.${String(fn.devfn & 7)} ${fn.typeName}`;
      const mine = Uint8Array.from({ length: 256 }, (_, at) => fn.readConfig(at, 1));
      const dumps = { ours: mine, theirs: await qemu.config(fn.devfn) };
      t.strictSame(differences(fn.typeName, dumps, used), [], name);
    }
    if (setup.kind === 'pc') continue;
    await qemu.ask('outl 0xcf8 0x80000060');
    await qemu.ask('outl 0xcfc 0xb0000001');
    for (const fn of board.root.functions.filter((one) => one.isExpress)) {
      const mine = Uint8Array.from({ length: 0x1000 }, (_, at) => fn.readConfig(at, 1));
      const theirs = await qemu.memory(0xb000_0000 + fn.devfn * 0x1000, 0x1000);
      const left = differences(fn.typeName, { ours: mine, theirs }, used);
      t.strictSame(left, [], `${fn.typeName}, extended`);
    }
  }
  const unused = TOLERATED.filter((row) => !used.has(row));
  t.strictSame(unused, [], 'every tolerated difference exists');
});

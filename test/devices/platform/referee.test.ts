import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { pciBridge } from '../../../devices/pci-bridge/index.js';
import { pciePciBridge } from '../../../devices/pcie-pci-bridge/index.js';
import { pcieRootPort } from '../../../devices/pcie-root-port/index.js';
import { pxb, pxbPcie } from '../../../devices/pxb-pcie/index.js';
import { TestBoard } from '../../support/test-board.js';

/**
 * The configuration space of every function of the board and of every bridge, byte by byte after
 * reset, next to that of real QEMU 7.2.
 */
const QEMU = 'qemu-system-x86_64';

/** What may differ: bytes of a device type, and why. A row that nothing needs fails the test. */
const TOLERATED: readonly { type: string; offset: number; bytes: number; why: string }[] = [
  { type: 'pcie-root-port', offset: 0x58, bytes: 1, why: '§1.8 +4: extended tag is [10]' },
  { type: 'pcie-pci-bridge', offset: 0x4c, bytes: 1, why: '§1.8 +4: extended tag is [10]' },
  { type: 'pcie-root-port', offset: 0x10a, bytes: 2, why: '10.2 masks internal errors in AER' },
  { type: 'pcie-pci-bridge', offset: 0x10a, bytes: 2, why: '10.2 masks internal errors in AER' },
];

interface Parent {
  teardown(run: () => Promise<void>): void;
}

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

/** One line out, one line back. */
class Qtest {
  readonly #socket: Socket;
  #text = '';
  #waiting: ((line: string) => void) | undefined;
  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('ascii').on('data', (text: string) => {
      this.#text += text;
      const end = this.#text.indexOf('\n');
      if (end < 0) return;
      const line = this.#text.slice(0, end);
      this.#text = this.#text.slice(end + 1);
      this.#waiting?.(line);
    });
  }
  async ask(request: string): Promise<string> {
    const line = new Promise<string>((resolve) => (this.#waiting = resolve));
    this.#socket.write(`${request}\n`);
    const reply = await line;
    return reply.split(' ')[1] ?? '';
  }
  async config(devfn: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(256);
    for (let at = 0; at < 256; at += 4) {
      await this.ask(`outl 0xcf8 ${String(0x8000_0000 + devfn * 256 + at)}`);
      new DataView(bytes.buffer).setUint32(at, Number(await this.ask('inl 0xcfc')), true);
    }
    return bytes;
  }
  async memory(address: number, length: number): Promise<Uint8Array> {
    const hex = await this.ask(`read ${String(address)} ${String(length)}`);
    return new Uint8Array(Buffer.from(hex.slice(2), 'hex'));
  }
}

const startQemu = async (t: Parent, setup: Setup): Promise<Qtest> => {
  const dir = mkdtempSync(join(tmpdir(), 'qmemd-referee-'));
  const path = join(dir, 'qtest');
  const devices = setup.args.flatMap((device) => ['-device', device]);
  const child = spawn(
    QEMU,
    [
      ...['-M', setup.kind, '-S', '-accel', 'tcg', '-display', 'none', '-qtest-log', '/dev/null'],
      ...['-qtest', `unix:${path},server=on,wait=on`],
      ...(setup.defaults ? [] : ['-nodefaults']),
      ...devices,
    ],
    { stdio: 'ignore' },
  );
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const socket = await connected(path, exited);
  t.teardown(async () => {
    socket.destroy();
    child.kill();
    await exited;
    rmSync(dir, { recursive: true, force: true });
  });
  return new Qtest(socket);
};

/** Tries until QEMU listens. */
const connected = async (path: string, exited: Promise<unknown>): Promise<Socket> => {
  let gone = false;
  void exited.then(() => (gone = true));
  for (;;) {
    const socket = connect(path);
    const ok = await new Promise<boolean>((resolve) =>
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false)),
    );
    if (ok) return socket;
    if (gone) throw new Error('QEMU ended before it listened');
  }
};

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

const installed = spawnSync(QEMU, ['--version'], { encoding: 'utf8' }).stdout ?? '';
const skip = /version 7\.2/.test(installed) ? false : 'QEMU 7.2 is not installed';

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

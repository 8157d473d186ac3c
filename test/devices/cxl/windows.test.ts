import t from 'tap';
import type { MemoryFault } from '../../../devices/cxl/memory-target.js';
import { checkWindow } from '../../../devices/cxl/window-config.js';
import { componentOf, CxlBoard, HOST_REGISTERS, program, UNIT, WINDOW } from '../../support/cxl.js';

/** One bridge, one port, one device of 512 MiB, no decoders above it. */
const passThrough = () => {
  const board = new CxlBoard([{ targets: ['cx0'], size: 4n * UNIT }]);
  const port = board.rootPort(board.hostBridge('cx0', 52), 'rp0');
  const memory = board.memory(port, 'd0', 2n * UNIT);
  board.start();
  return { board, port, ...memory };
};

const reason = (board: CxlBoard, offset: bigint): MemoryFault | undefined =>
  board.platform.cxl.windows[0]?.read(offset, new Uint8Array(8));

t.test('a window leads to a device behind a bridge that passes everything', async (t) => {
  const { board, device, backend } = passThrough();
  const { memory } = board.platform;
  t.equal(reason(board, 0n), 'not-committed');
  memory.write(WINDOW, 8, 5n);
  t.equal(memory.read(WINDOW, 8), 0n, 'nothing was stored');
  program(componentOf(device), 0, { base: WINDOW, size: 2n * UNIT });
  memory.write(WINDOW + 0x1003n, 8, 0x1122334455667788n);
  t.equal(memory.read(WINDOW + 0x1003n, 8), 0x1122334455667788n, 'also unaligned');
  t.equal(backend.memory.readInt(0x1003n, 8), 0x1122334455667788n, 'in the backend');
  t.equal(reason(board, 2n * UNIT), 'not-committed', 'beyond the decoder the next one is asked');
  t.equal(memory.read(WINDOW + 2n * UNIT, 8), 0n);
});

t.test('runs of any length, over the end of what answers', async (t) => {
  const { board, device } = passThrough();
  program(componentOf(device), 0, { base: WINDOW, size: 2n * UNIT });
  const { memory } = board.platform;
  const pattern = Uint8Array.from({ length: 20_000 }, (_, i) => i % 251);
  memory.writeBytes(WINDOW + 2n * UNIT - 10_001n, pattern);
  const back = memory.readBytes(WINDOW + 2n * UNIT - 10_001n, 20_000);
  t.strictSame(back.subarray(0, 10_001), pattern.subarray(0, 10_001));
  t.ok(back.subarray(10_001).every((byte) => byte === 0));
});

t.test('a device that was reset answers no more', async (t) => {
  const { board, device } = passThrough();
  program(componentOf(device), 0, { base: WINDOW, size: UNIT });
  board.platform.memory.write(WINDOW, 4, 77n);
  t.equal(reason(board, 0n), undefined);
  board.reset();
  t.equal(reason(board, 0n), 'not-committed');
  program(componentOf(device), 0, { base: WINDOW, size: UNIT });
  t.equal(board.platform.memory.read(WINDOW, 4), 77n, 'what was stored is still there');
});

t.test('a removed device leaves a hole, one that comes fills it', async (t) => {
  const { board, port, device, backend } = passThrough();
  program(componentOf(device), 0, { base: WINDOW, size: UNIT });
  t.equal(reason(board, 0n), undefined);
  board.remove(device.pci);
  t.equal(reason(board, 0n), 'no-route');
  t.equal(backend.owner, undefined, 'its backend is free');
  const next = board.memory(port, 'd1', UNIT);
  t.equal(reason(board, 0n), 'not-committed');
  next.device.pci.setPowered(true);
  program(componentOf(next.device), 0, { base: WINDOW, size: UNIT });
  t.equal(reason(board, 0n), undefined);
});

t.test('a bridge with several ports asks its decoders', async (t) => {
  const board = new CxlBoard([{ targets: ['cx0'], size: 4n * UNIT }]);
  const bus = board.hostBridge('cx0', 52);
  const ports = [4, 5].map((number) => board.rootPort(bus, `rp${String(number)}`, number));
  const devices = ports.map((port, i) => board.memory(port, `d${String(i)}`, UNIT));
  board.start();
  for (const { device } of devices)
    program(componentOf(device), 0, { base: WINDOW, size: 2n * UNIT, ways: 2 });
  t.equal(reason(board, 0n), 'no-route');
  const interleaved = { base: WINDOW, size: 2n * UNIT, ways: 2, targets: [5, 4] };
  program(board.bridgeRegisters(0), 0, { ...interleaved, commit: false });
  t.equal(reason(board, 0n), 'not-committed');
  program(board.bridgeRegisters(0), 0, interleaved);
  const bytes = Uint8Array.from({ length: 1024 }, (_, i) => i >> 8);
  board.platform.memory.writeBytes(
    WINDOW,
    bytes.map((granule) => granule + 1),
  );
  const first = devices.map(({ backend }) =>
    [0n, 0x100n].map((at) => backend.memory.readInt(at, 1)),
  );
  t.strictSame(
    first,
    [
      [2n, 4n],
      [1n, 3n],
    ],
    'port 5 has the even granules',
  );
  program(board.bridgeRegisters(0), 0, { ...interleaved, targets: [9, 9] });
  t.equal(reason(board, 0n), 'no-route', 'no such port');
});

t.test('interleave over two bridges, two ports each, and a switch behind one', async (t) => {
  const window = {
    targets: ['cx0', '/machine/peripheral/cx1'],
    size: 8n * UNIT,
    granularity: 1024n,
  };
  const board = new CxlBoard([window]);
  const memories = ['cx0', 'cx1'].flatMap((id, b) => {
    const bus = board.hostBridge(id, 52 + b);
    const direct = board.rootPort(bus, `${id}a`, 0);
    const upstream = board.upstream(board.rootPort(bus, `${id}b`, 1), `${id}us`);
    const below = [2, 3].map((port) => board.downstream(upstream, `${id}ds${String(port)}`, port));
    const devices = below.map((port, i) => board.memory(port, `${id}s${String(i)}`, UNIT));
    return { upstream, devices, direct: board.memory(direct, `${id}d`, UNIT) };
  });
  board.start();
  // Bridge: 1 KiB apart; in each the port by 512 bytes; in the switch its port by 256.
  const [base, size] = [WINDOW, 8n * UNIT];
  for (const [i, { upstream, devices }] of memories.entries()) {
    const newest = 1 - i;
    const ports = { base, size, ways: 2, granularity: 1, targets: [0, 1] };
    program(board.bridgeRegisters(newest), 0, ports);
    program(componentOf(upstream), 0, { base, size, ways: 2, granularity: 0, targets: [2, 3] });
    for (const { device } of devices) program(componentOf(device), 0, { base, size, ways: 8 });
  }
  const { memory } = board.platform;
  // 512 = second half of the first KiB: bridge 0, port 1, switch port by bit 8.
  memory.writeBytes(
    WINDOW + 512n,
    Uint8Array.from({ length: 512 }, (_, i) => 1 + (i >> 8)),
  );
  memory.write(WINDOW + 1024n + 512n, 1, 9n);
  const seen = memories.map(({ devices }) =>
    devices.map(({ backend }) => backend.memory.readInt(0n, 1)),
  );
  t.strictSame(seen, [
    [1n, 2n],
    [9n, 0n],
  ]);
  t.equal(memory.read(WINDOW + 768n, 1), 2n);
  t.equal(reason(board, 0n), 'not-committed', 'the device at the first port was not programmed');
});

t.test(
  'registers of host bridges: newest first, decoders only where there is a choice',
  async (t) => {
    const board = new CxlBoard([]);
    board.rootPort(board.hostBridge('single', 10), 'a');
    board.rootPort(board.hostBridge('kept', 20, { hdm_for_passthrough: true }), 'b');
    const several = board.hostBridge('several', 30);
    for (const id of ['c', 'd']) board.rootPort(several, id);
    board.start();
    const headers = [0, 1, 2].map((i) => board.bridgeRegister(i, 0x100c));
    t.strictSame(headers, [0x12830005n, 0x12830005n, 0x12830000n]);
    const block = [0x1000, 0x1004, 0x1008, 0x1010, 0x1014, 0x1128].map((at) =>
      board.bridgeRegister(0, at).toString(16),
    );
    t.strictSame(block, ['5110001', '0', 'd820004', '27810006', 'aa010008', '382']);
    t.equal(board.bridgeRegister(2, 0x1128), 0x312n, 'one target when everything passes');
    t.equal(board.platform.memory.read(HOST_REGISTERS + 0x1000n, 8), 0n, 'not by 64 bits');
  },
);

t.test('windows that name no bridge, bridges of a machine without CXL', async (t) => {
  const board = new CxlBoard([{ targets: ['nosuch'], size: UNIT }]);
  t.throws(() => board.platform.ready(), { message: 'Could not resolve CXLFM target nosuch' });
});

t.test('texts of bad windows (§1.3)', async (t) => {
  const targets = (count: number): string[] => Array.from({ length: count }, () => 'cx0');
  for (const count of [1, 2, 3, 4, 6, 8, 12, 16])
    t.doesNotThrow(() => checkWindow({ targets: targets(count), size: UNIT }));
  for (const count of [0, 5, 7, 9, 17])
    t.throws(() => checkWindow({ targets: targets(count), size: UNIT }), {
      message: `Interleave ways: ${String(count)} not supported`,
    });
  for (const size of [UNIT + 1n, UNIT - 1n])
    t.throws(() => checkWindow({ targets: ['a'], size }), {
      message: 'Size of a CXL fixed memory window must be a multiple of 256MiB',
    });
  for (const granularity of [100n, 128n, 0n, 32768n])
    t.throws(() => checkWindow({ targets: ['a'], size: UNIT, granularity }), {
      message: `Interleave granularity: ${String(granularity)} invalid`,
    });
});

import t from 'tap';
import { FakeEndpoint, TestBoard } from '../../support/test-board.js';

const ALL_ONES = 0xffff_ffff;

t.test('configuration ports reach the host bridge (vectors 1 and 2)', async (t) => {
  const board = new TestBoard('q35').start();
  t.equal(board.readl(0xe000_0000), 0, 'unassigned memory reads 0');
  t.equal(board.inl(0x1234), ALL_ONES, 'unassigned ports read ones');
  board.outl(0xcf8, 0x2000);
  t.equal(board.platform.io.read(0xcfcn, 2), 0xffffn, 'without the enable bit nothing answers');
  board.outl(0xcf8, 0x8000_0000);
  t.equal(board.inl(0xcfc), 0x29c0_8086);
  board.platform.io.write(0xcf8n, 1, 0x55n);
  board.platform.io.write(0xcf8n, 2, 0x5555n);
  board.platform.io.write(0xcf9n, 1, 0x55n);
  t.equal(board.inl(0xcf8), 0x8000_0000, 'only aligned 4-byte writes are taken');
});

t.test('the effective register is the latched value OR the data port', async (t) => {
  const board = new TestBoard('q35').start();
  board.outl(0xcf8, 0x8000_0001);
  t.equal(board.inl(0xcfc), 0x0029_c080, 'unaligned, as QEMU reads it');
  t.equal(board.platform.io.read(0xcfdn, 1), 0x80n, '1 OR 1 is 1');
  t.equal(board.platform.io.read(0xcfen, 1), 0x29n, '1 OR 2 is 3');
  board.outl(0xcf8, 0x8000_00ff);
  t.equal(board.inl(0xcfc), 0, 'one byte remains before the end');
});

t.test('absent functions read ones and drop writes', async (t) => {
  const board = new TestBoard('pc').start();
  t.equal(board.config(0x30, 0), ALL_ONES);
  board.setConfig(0x30, 4, 7);
  t.equal(board.config(0x30, 4), ALL_ONES);
  t.equal(board.config(0x00, 0), 0x1237_8086);
});

t.test('ECAM appears where and when the host bridge says (vector 11)', async (t) => {
  const board = new TestBoard('q35');
  board.plug(new FakeEndpoint('e4'), { addr: 0x20 });
  board.start();
  t.equal(board.readl(0xb000_0000), 0, 'off after reset');
  board.setConfig(0, 0x60, 0xb000_0001);
  t.equal(board.readl(0xb000_0000), 0x29c0_8086);
  t.equal(board.readl(0xb004_8000), ALL_ONES, 'device 9 is absent');
  t.equal(board.readl(0xb002_0000), 0x11e8_1234, 'device 4');
  t.equal(board.readl(0xb002_0100), ALL_ONES, 'conventional: nothing beyond 0xff');
  t.equal(board.platform.memory.read(0xb002_0000n, 8), 0x11e8_1234n, 'as two accesses of 4 bytes');
  t.strictSame(
    [...board.platform.memory.readBytes(0xb002_0001n, 3)],
    [0x12, 0xe8, 0x11],
    'unaligned accesses are split',
  );
  board.platform.memory.write(0xb002_0004n, 2, 0x2n);
  t.equal(board.config(0x20, 4, 2), 2, 'writes arrive');
});

t.test('ECAM moves, shrinks, ignores the reserved length and goes with reset', async (t) => {
  const board = new TestBoard('q35').start();
  for (const [name, value, base] of [
    ['128 MiB', 0xc800_0003, 0xc800_0000],
    ['64 MiB', 0xcc00_0005, 0xcc00_0000],
    ['reserved length: stays', 0xd000_0007, 0xcc00_0000],
    ['256 MiB uses bits 35:28 only', 0xdc00_0001, 0xd000_0000],
  ] as const) {
    board.setConfig(0, 0x60, value);
    t.equal(board.readl(base), 0x29c0_8086, name);
  }
  board.setConfig(0, 0x60, 0xb000_0000);
  t.equal(board.readl(0xb000_0000), 0, 'off');
  board.setConfig(0, 0x60, 0xb000_0001);
  board.reset();
  t.equal(board.readl(0xb000_0000), 0);
  t.equal(board.config(0, 0x60), 0xb000_0000);
});

t.test('pc has no ECAM', async (t) => {
  const board = new TestBoard('pc').start();
  board.setConfig(0, 0x60, 0xb000_0001);
  t.equal(board.readl(0xb000_0000), 0);
});

t.test('the machine type none answers nothing', async (t) => {
  const { platform } = new TestBoard('none');
  t.strictSame([platform.roots, platform.board, platform.hosts], [[], [], []]);
  t.equal(platform.io.read(0xcfcn, 4), 0xffff_ffffn);
  platform.memory.write(0x1000n, 2, 0x1234n);
  t.equal(platform.memory.read(0x1000n, 2), 0x1234n, 'but RAM');
  t.equal(platform.memory.read(0x10_0000n, 4), 0n, 'and nothing above it');
});

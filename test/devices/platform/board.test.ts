import t from 'tap';
import type { HostMemory } from '../../../devices/core/host-memory.js';
import { refused } from '../../../schema/error.js';
import { fakeMemory, FakeEndpoint, silent, TestBoard } from '../../support/test-board.js';
import { createPlatform } from '../../../devices/platform/platform.js';

const MiB = 0x10_0000n;
const GiB = 0x4000_0000n;

/** Identity and place of every function of the board: devfn, ids, class, pin. */
const functions = (board: TestBoard): string[] =>
  board.root.functions.map(({ devfn, identity }) =>
    [
      `${(devfn >> 3).toString(16)}.${String(devfn & 7)}`,
      identity.vendorId.toString(16),
      identity.deviceId.toString(16),
      identity.classCode.toString(16).padStart(4, '0'),
      String(identity.interruptPin ?? 0),
    ].join(' '),
  );

const Q35 = [
  '0.0 8086 29c0 0600 0',
  '1f.0 8086 2918 0601 0',
  '1f.2 8086 2922 0106 1',
  '1f.3 8086 2930 0c05 1',
];
const PC = [
  '0.0 8086 1237 0600 0',
  '1.0 8086 7000 0601 0',
  '1.1 8086 7010 0101 0',
  '1.3 8086 7113 0680 1',
];

t.test('the board brings its devices, with and without defaults (§1.11)', async (t) => {
  t.strictSame(functions(new TestBoard('q35')), Q35);
  t.strictSame(functions(new TestBoard('pc')), PC);
  const q35 = functions(new TestBoard('q35', { defaults: true }));
  t.strictSame(q35.slice(1, 3), ['1.0 1234 1111 0300 0', '2.0 8086 10d3 0200 1']);
  const pc = functions(new TestBoard('pc', { defaults: true }));
  t.strictSame(pc.slice(4), ['2.0 1234 1111 0300 0', '3.0 8086 100e 0200 1']);
});

t.test('the first user device lands behind the board (§1.13)', async (t) => {
  for (const [kind, defaults, slot] of [
    ['q35', false, 1],
    ['q35', true, 3],
    ['pc', false, 2],
    ['pc', true, 4],
  ] as const) {
    const board = new TestBoard(kind, { defaults });
    t.equal(board.plug(new FakeEndpoint('e')).pci.slot, slot, `${kind} ${String(defaults)}`);
  }
});

t.test('BARs of the board have the sizes of §1.11', async (t) => {
  const sizes = (board: TestBoard): Record<string, string> =>
    Object.fromEntries(
      board.platform.board
        .filter(({ device }) => device.pci.bars.length > 0)
        .map(({ typeName, device }) => [
          typeName,
          device.pci.bars
            .map((bar) => `${String(bar.index)}:${bar.type}:${String(bar.size)}`)
            .join(' '),
        ]),
    );
  t.strictSame(sizes(new TestBoard('q35', { defaults: true })), {
    'ich9-ahci': '4:io:32 5:memory:4096',
    'ICH9-SMB': '4:io:64',
    VGA: '0:memory:16777216 2:memory:4096 6:memory:65536',
    e1000e: '0:memory:131072 1:memory:131072 2:io:32 3:memory:16384 6:memory:262144',
  });
  t.strictSame(sizes(new TestBoard('pc', { defaults: true })), {
    VGA: '0:memory:16777216 2:memory:4096 6:memory:65536',
    e1000: '0:memory:131072 1:io:64 6:memory:262144',
    'piix3-ide': '4:io:16',
  });
});

t.test('RAM is split below 4 GiB as QEMU does', async (t) => {
  for (const [kind, ramSize, below] of [
    ['q35', 0xb000_0000n - MiB, 0xb000_0000n - MiB],
    ['q35', 0xb000_0000n, 2n * GiB],
    ['pc', 0xe000_0000n - MiB, 0xe000_0000n - MiB],
    ['pc', 0xe000_0000n, 3n * GiB],
  ] as const) {
    const host = {
      remove: () => undefined,
      clock: new TestBoard('none').clock,
      log: silent,
      global: () => undefined,
    };
    const memory: HostMemory = { ...fakeMemory(0n), size: ramSize };
    const platform = createPlatform(kind, { ramSize, ram: () => memory, defaults: false, host });
    const name = `${kind} with ${String(ramSize)}`;
    const at = (address: bigint) => platform.memory.resolve(address)?.region.name;
    t.equal(at(below - 1n), 'pc.ram', name);
    t.equal(at(below), undefined, name);
    t.equal(at(4n * GiB), ramSize > below ? 'pc.ram' : undefined, name);
    t.equal(platform.memory.resolve(4n * GiB)?.offset, ramSize > below ? below : undefined, name);
    t.equal(at(4n * GiB + ramSize - below), undefined, name);
  }
});

t.test('fixed parts lie over BARs, RAM hides what is programmed below it', async (t) => {
  const board = new TestBoard('q35', { ramSize: 16n * MiB });
  board.plug(new FakeEndpoint('e'), { addr: 0x20 });
  board.start();
  board.setConfig(0x20, 4, 2, 2);
  const read = (address: number): number => {
    board.setConfig(0x20, 0x10, address);
    return board.readl(address);
  };
  t.equal(read(0xe000_0000), 0x10000ed);
  t.equal(read(0x10_0000), 0, 'RAM');
  for (const fixed of [0xfec0_0000, 0xfed0_0000, 0xfee0_0000]) t.equal(read(fixed), 0);
  t.equal(read(0xfff0_0000), 0x10000ed, 'below the BIOS');
  board.setConfig(0, 0x60, 0xb000_0001);
  t.equal(read(0xb000_0000), 0x29c0_8086, 'ECAM hides a BAR');
});

t.test('video memory and BIOS shadow are no RAM', async (t) => {
  const board = new TestBoard('pc', { defaults: true }).start();
  const { memory } = board.platform;
  for (const [address, kept] of [
    [0x9_fffcn, 0x55n],
    [0xa_0000n, 0n],
    [0xc_0000n, 0n],
    [0xf_fffcn, 0n],
  ] as const) {
    memory.write(address, 1, 0x55n);
    t.equal(memory.read(address, 1), kept, address.toString(16));
  }
});

t.test('guest memory is not mapped before it is touched', async (t) => {
  let mapped = 0;
  const ram = (): HostMemory => {
    mapped++;
    return fakeMemory(MiB);
  };
  const board = new TestBoard('q35', { ram }).start();
  t.equal(mapped, 0);
  board.readl(0x1000);
  board.readl(0x2000);
  t.equal(mapped, 1);
});

t.test('guest memory that the host refuses is not there, and nothing else fails', async (t) => {
  const board = new TestBoard('q35', {
    ram: () => {
      throw refused('no memory');
    },
  }).start();
  const { memory } = board.platform;
  memory.write(0x1000n, 4, 7n);
  t.equal(memory.read(0x1000n, 4), 0n);
  const broken = new TestBoard('q35', {
    ram: () => {
      throw new Error('a bug');
    },
  }).start();
  t.throws(() => broken.readl(0x1000), /a bug/);
});

t.test('a message comes back to who asked for it', async (t) => {
  const board = new TestBoard('q35').start();
  const got: string[] = [];
  const one = board.platform.messages.allocate((data) => got.push(`one ${String(data)}`));
  const two = board.platform.messages.allocate((data) => got.push(`two ${String(data)}`));
  t.equal(one.address >= 0xfee0_0000n && one.address % 4n === 0n, true);
  board.platform.memory.write(one.address, 4, BigInt(one.data + 3));
  board.platform.memory.write(two.address, 4, 7n);
  two.release();
  board.platform.memory.write(two.address, 4, 7n);
  board.platform.memory.write(0xfee0_0000n, 4, 7n);
  t.strictSame(got, [`one ${String(one.data + 3)}`, 'two 7']);
});

t.test('message addresses are reused and run out with an error', async (t) => {
  const { messages } = new TestBoard('q35').platform;
  const first = messages.allocate(() => undefined);
  for (let n = 1; n < 65535; n++) messages.allocate(() => undefined);
  t.throws(() => messages.allocate(() => undefined), { message: /in use/ });
  first.release();
  t.equal(messages.allocate(() => undefined).address, first.address);
});

t.test('INTx of q35 slots arrives at inputs 20 to 23 (§1.10)', async (t) => {
  const board = new TestBoard('q35');
  const a = board.plug(new FakeEndpoint('a'), { addr: 0x28 });
  const b = board.plug(new FakeEndpoint('b'), { addr: 0x48 });
  board.start();
  const events: string[] = [];
  board.platform.interrupts.onChange((input, level) =>
    events.push(`${String(level)} ${String(input)}`),
  );
  a.pci.setInterrupt(true);
  b.pci.setInterrupt(true);
  a.pci.setInterrupt(false);
  t.equal(board.platform.interrupts.level(21), true, 'two devices share the line');
  b.pci.setInterrupt(false);
  t.strictSame(events, ['true 21', 'false 21']);
  events.length = 0;
  a.pci.setInterrupt(true);
  board.setConfig(0x28, 4, 0x400, 2);
  board.setConfig(0x28, 4, 0, 2);
  t.strictSame(events, ['true 21', 'false 21', 'true 21'], 'INTX_DISABLE (vector 26)');
  board.setConfig(0xf8, 0x69, 0x0a, 1);
  t.equal(events.at(-1), 'true 10', 'and where the ISA bridge routes PIRQ F');
});

t.test('INTx on pc follows the routing registers of the ISA bridge', async (t) => {
  const board = new TestBoard('pc');
  const a = board.plug(new FakeEndpoint('a'), { addr: 0x20 });
  board.start();
  const events: string[] = [];
  board.platform.interrupts.onChange((input, level) =>
    events.push(`${String(level)} ${String(input)}`),
  );
  a.pci.setInterrupt(true);
  t.strictSame(events, [], 'nothing is routed after reset');
  board.setConfig(0x08, 0x63, 0x0b, 1);
  t.strictSame(events, ['true 11'], 'slot 4 INTA is PIRQ D');
  board.setConfig(0x08, 0x63, 0x0a, 1);
  t.strictSame(events.slice(1), ['true 10', 'false 11']);
  board.reset();
  t.equal(events.at(-1), 'false 10');
});

import t from 'tap';
import type { Test } from 'tap';
import { IvshmemDoorbell } from '../../devices/ivshmem-doorbell/device.js';
import { ivshmemDoorbell } from '../../devices/ivshmem-doorbell/index.js';
import { COMMAND, CONFIG } from '../../devices/pci/registers.js';
import { NativeEventNotifiers } from '../../server/os/event-notifiers.js';
import { eventually } from '../support/daemon.js';
import { isRaised, raise, raised } from '../support/ivshmem.js';
import {
  eventCounter,
  openDescriptors,
  serverContext,
  sharedMemory,
  type Told,
} from '../support/ivshmem-device.js';
import { needsNative } from '../support/mdevice.js';
import { fakeRoot } from '../support/pci.js';

type Given = Partial<ConstructorParameters<typeof IvshmemDoorbell>[1]>;
const BASE = { registers: 0xe0000000n, msix: 0xe0001000n, memory: 0xe0100000n };
const PBA = BASE.msix + 0x800n;
const MSIX_CONTROL = 0x42;

/** A device at slot 4 of a conventional bus, not realized yet. */
const create = (given: Given = {}) => {
  const all = serverContext({ typeName: 'ivshmem-doorbell' });
  const root = fakeRoot({ express: false, typeName: 'PCI' });
  const properties = { chardev: 'c0', vectors: 2, ioeventfd: true, master: 'off' as const };
  const dev = new IvshmemDoorbell(all.context, { ...properties, ...given });
  root.bus.attach(dev.pci, 32);
  return { dev, fn: dev.pci, ...all, ...root };
};
/** Realized as peer `id` with its own event counters `own`, mapped. */
const connected = async (t: Test, given: Given = {}, id = 0n) => {
  const all = create(given);
  const { dev, server } = all;
  const realized = dev.realize();
  server.tell(0n, id, [-1n, sharedMemory(1 << 20)]);
  await realized;
  t.teardown(() => dev.unrealize());
  dev.reset('cold');
  const own = [eventCounter(), eventCounter()];
  for (const fd of own.slice(0, given.vectors ?? 2)) server.tell([id, fd]);
  map(all);
  return { ...all, own };
};
const map = ({ fn }: ReturnType<typeof create>): void => {
  fn.writeConfig(0x10, 4, Number(BASE.registers));
  fn.writeConfig(0x14, 4, Number(BASE.msix));
  fn.writeConfig(0x18, 4, Number(BASE.memory));
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
};

t.test('it shows the identity, BARs and MSI-X of §9.1', needsNative, async (t) => {
  const { fn } = await connected(t);
  const read = (...at: number[]): string[] =>
    at.map((offset) => fn.readConfig(offset, 4).toString(16));
  t.strictSame(read(0x00, 0x08, 0x2c), ['11101af4', '5000001', '11001af4']);
  t.strictSame(read(0x34, 0x40, 0x44, 0x48), ['40', '10011', '1', '801']);
  t.equal(fn.readConfig(0x06, 2), 0x10);
  t.strictSame(
    fn.bars.map(({ index, size, bits64, prefetch }) => [index, size, bits64, prefetch]),
    [
      [0, 256n, false, false],
      [1, 4096n, false, false],
      [2, 1n << 20n, true, true],
    ],
  );
  t.equal((await connected(t, { vectors: 4 })).fn.readConfig(0x40, 4), 0x00030011);
});

t.test('rings become pending, then messages (vectors 22 to 24)', needsNative, async (t) => {
  const { systemMemory: memory, fn, server, own, ram } = await connected(t, {}, 3n);
  t.equal(memory.read(BASE.registers + 8n, 4), 3n, 'IVPosition');
  const other = [eventCounter(), eventCounter()];
  for (const fd of other) server.tell([1n, fd]);
  const ring = async (vector: number): Promise<void> => {
    raise(own[vector] ?? -1);
    await eventually('the ring is noticed', () => !isRaised(own[vector] ?? -1));
  };
  await ring(0);
  t.equal(memory.read(PBA, 4), 0n, 'lost while MSI-X is off');
  fn.writeConfig(MSIX_CONTROL, 2, 0x8000);
  await ring(0);
  t.equal(memory.read(PBA, 4), 1n);
  await ring(1);
  t.equal(memory.read(PBA, 4), 3n);
  const doorbell = (value: bigint): void => memory.write(BASE.registers + 12n, 4, value);
  for (const value of [0x0001_0002n, 0x0009_0000n, 0xffff_0000n]) doorbell(value);
  t.strictSame(other.map(raised), [0n, 0n], 'no such vector, no such peers');
  doorbell(0x0001_0100n);
  t.strictSame(other.map(raised), [1n, 0n], 'eight bits of the vector count');
  doorbell(0x0001_0001n);
  t.strictSame(other.map(raised), [0n, 1n]);
  t.equal(memory.read(BASE.registers + 12n, 4), 0n);

  memory.write(BASE.msix, 4, 0x2000n);
  memory.write(BASE.msix + 8n, 4, 0xcafef00dn);
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY | COMMAND.MASTER);
  memory.write(BASE.msix + 12n, 4, 0n);
  t.strictSame([memory.read(PBA, 4), memory.read(0x2000n, 4)], [2n, 0xcafef00dn]);
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  ram.bytes.fill(0, 0x2000, 0x2004);
  doorbell(0x0003_0000n);
  await eventually('own ring noticed', () => !isRaised(own[0] ?? -1));
  t.equal(memory.read(0x2000n, 4), 0n, 'no message without MASTER');
});

t.test('a stopped device hears rings when it goes on', needsNative, async (t) => {
  const { systemMemory: memory, fn, own, context, dev, server } = await connected(t, {}, 3n);
  fn.writeConfig(MSIX_CONTROL, 2, 0x8000);
  const go = context.activity.hold();
  for (const fd of [own[0], own[0], own[1]]) raise(fd ?? -1);
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
  t.equal(memory.read(PBA, 4), 0n);
  t.ok(isRaised(own[0] ?? -1), 'the kernel keeps the count');
  server.tell([5n, eventCounter()]);
  t.strictSame(
    dev.serverView()?.peers.map(({ id }) => id),
    [3, 5],
    'peers still come',
  );
  go();
  await eventually('the rings are noticed', () => memory.read(PBA, 4) === 3n);
  context.activity.hold();
  raise(own[0] ?? -1);
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
  t.ok(isRaised(own[0] ?? -1), 'not read when it is stopped once more');
});

t.test('one can ring oneself, and masks hold nothing back but messages', needsNative, async (t) => {
  const { systemMemory: memory, fn } = await connected(t);
  fn.writeConfig(MSIX_CONTROL, 2, 0x8000);
  memory.write(BASE.registers, 4, 0xffffffffn);
  memory.write(BASE.registers + 12n, 4, 1n);
  await eventually('vector 1 is pending', () => memory.read(PBA, 4) === 2n);
});

t.test('peers leave; the server leaves, and what it gave stays', needsNative, async (t) => {
  const { systemMemory: memory, dev, server, own, warnings, fn } = await connected(t);
  const [two, three] = [eventCounter(), eventCounter()];
  server.tell([2n, two], [3n, three]);
  t.strictSame(dev.serverView(), {
    id: 0,
    connected: true,
    peers: [
      { id: 0, vectors: 2 },
      { id: 2, vectors: 1 },
      { id: 3, vectors: 1 },
    ],
  });
  server.tell(2n, 77n);
  memory.write(BASE.registers + 12n, 4, 0x0002_0000n);
  t.strictSame(
    dev.serverView()?.peers.map(({ id }) => id),
    [0, 3],
  );
  server.listener?.closed();
  t.equal(dev.serverView()?.connected, false);
  memory.write(BASE.registers + 12n, 4, 0x0003_0000n);
  t.equal(raised(three), 1n, 'peer 3 can still be rung');
  fn.writeConfig(MSIX_CONTROL, 2, 0x8000);
  raise(own[0] ?? -1);
  await eventually('and rings us', () => memory.read(PBA, 4) === 1n);
  memory.write(BASE.memory, 8, 0x1122334455667788n);
  t.equal(memory.read(BASE.memory + 7n, 1), 0x11n);
  t.strictSame(warnings, []);
});

t.test('a server that makes mistakes is told off in the log', needsNative, async (t) => {
  const { server, warnings, dev } = await connected(t);
  server.tell([-1n, sharedMemory(4096)], [0n, eventCounter()], 0n, -9n, [65536n, eventCounter()]);
  t.strictSame(warnings, [
    { reason: 'server sent unexpected shared memory message' },
    { reason: 'Too many eventfd received, device has 2 vectors' },
    { reason: 'invalid peer 0' },
    { reason: 'server sent invalid message -9' },
    { reason: 'server sent invalid message 65536' },
  ]);
  server.tell([5n, sharedMemory(4096)]);
  t.match(warnings[5], { reason: 'the descriptor is no event counter' });
  t.strictSame(
    dev.serverView()?.peers.map(({ id }) => id),
    [0],
  );
  for (let mistakes = 0; mistakes < 200; mistakes++) server.tell(-9n);
  t.equal(warnings.length, 100, 'but not for ever');
});

t.test('vectors: more than the server has, or fewer', needsNative, async (t) => {
  const { dev } = await connected(t, { vectors: 64 });
  t.equal(dev.serverView()?.peers[0]?.vectors, 2);
  const few = await connected(t, { vectors: 1 });
  few.server.tell([0n, eventCounter()]);
  t.equal(few.dev.serverView()?.peers[0]?.vectors, 1);
});

const memory = (size = 1 << 20): Told => [-1n, sharedMemory(size)];
t.test('what a server can do wrong at the start (vector 25)', needsNative, async (t) => {
  const size = 3 << 20;
  const cases: readonly (readonly [string, () => Told[], Given?])[] = [
    ['server sent version 1, expecting 0', () => [1n, 0n, memory()]],
    ['server sent invalid version message', () => [[0n, eventCounter()], 0n, memory()]],
    ['server sent invalid ID message', () => [0n, -5n, memory()]],
    ['server sent invalid ID message', () => [0n, 65536n, memory()]],
    ['server sent invalid ID message', () => [0n, [1n, eventCounter()], memory()]],
    ["server didn't provide fd with shared memory message", () => [0n, 0n, -1n, memory()]],
    [
      `size ${String(size)} of shared memory sent by server is no power of two`,
      () => [0n, 0n, memory(size)],
    ],
    [
      "can't determine size of shared memory sent by server: it is no file",
      () => [0n, 0n, [-1n, eventCounter()]],
    ],
    ['server sent invalid message -7', () => [0n, 0n, [-7n, eventCounter()], memory()]],
    ['invalid peer 0', () => [0n, 0n, 0n, memory()]],
    [
      'Too many eventfd received, device has 2 vectors',
      () => [0n, 0n, ...[1, 2, 3].map((): Told => [5n, eventCounter()]), memory()],
    ],
    [
      'master must connect to the server before any peers',
      () => [0n, 1n, memory()],
      { master: 'on' },
    ],
    [
      'Failed to initialize interrupts: The number of MSI-X vectors is invalid',
      () => [0n, 0n, memory()],
      { vectors: 0 },
    ],
    [
      'Failed to initialize interrupts: The number of MSI-X vectors is invalid',
      () => [0n, 0n, memory()],
      { vectors: 2049 },
    ],
  ];
  for (const [message, told, given] of cases) {
    const before = openDescriptors();
    const { dev, fn, server, timers, blocked } = create(given);
    const failed = t.rejects(Promise.resolve(dev.realize()), { class: 'GenericError', message });
    server.tell(...told());
    await failed;
    const left = [fn.bars, server.claimed, timers, blocked, dev.serverView()];
    t.strictSame(left, [[], false, [], [], undefined], 'nothing is left behind');
    t.strictSame(openDescriptors(), before, 'no descriptor either');
  }
});

t.test('who does not answer, or leaves, or is not there', needsNative, async (t) => {
  const message = async (given: Given, act: (all: ReturnType<typeof create>) => void) => {
    const all = create(given);
    act(all);
    try {
      const done = all.dev.realize();
      act(all);
      await done;
      return 'realized';
    } catch (error) {
      return (error as Error).message;
    }
  };
  t.equal(await message({ chardev: '' }, () => undefined), "You must specify a 'chardev'");
  t.equal(await message({ chardev: undefined }, () => undefined), "You must specify a 'chardev'");
  t.equal(
    await message({ chardev: 'nope' }, () => undefined),
    "Property 'ivshmem-doorbell.chardev' can't find value 'nope'",
  );
  t.equal(
    await message({}, ({ server }) => (server.connected = false)),
    "chardev 'c0' is not connected to an ivshmem server",
  );
  t.equal(
    await message({}, ({ timers }) => timers[0]?.()),
    'read from server failed: Connection timed out',
  );
  t.equal(
    await message({}, ({ server }) => server.listener?.closed()),
    'read from server failed: the server closed the connection',
  );
});

t.test('master, and what keeps the machine from being migrated', needsNative, async (t) => {
  const reason = "Migration is disabled when using feature 'peer mode' in device 'ivshmem'";
  for (const [master, id, blocked] of [
    ['off', 0n, [reason]],
    ['on', 0n, []],
    ['auto', 0n, []],
    ['auto', 1n, [reason]],
  ] as const) {
    const all = await connected(t, { master }, id);
    t.strictSame(all.blocked, blocked, `master=${master}, id ${String(id)}`);
    t.equal(all.dev.settled('master'), blocked.length === 0 ? 'on' : 'off');
    all.dev.unrealize();
    t.strictSame(all.blocked, []);
  }
});

t.test('reset turns interrupts off; id, memory and peers stay', needsNative, async (t) => {
  const { systemMemory: memory, dev, fn, own } = await connected(t, {}, 7n);
  fn.writeConfig(MSIX_CONTROL, 2, 0x8000);
  memory.write(BASE.registers, 8, 0x0000_0005_0000_0003n);
  memory.write(BASE.memory, 1, 9n);
  raise(own[1] ?? -1);
  await eventually('vector 1 is pending', () => memory.read(PBA, 4) === 2n);
  dev.reset('warm');
  map({ fn } as ReturnType<typeof create>);
  t.equal(fn.readConfig(MSIX_CONTROL, 2), 1);
  t.strictSame([memory.read(PBA, 4), memory.read(BASE.registers, 8)], [0n, 0n]);
  t.strictSame([memory.read(BASE.registers + 8n, 4), memory.read(BASE.memory, 1)], [7n, 9n]);
  t.equal(dev.serverView()?.peers.length, 1);
});

t.test('a saved state goes to another peer, which keeps its own id', needsNative, async (t) => {
  const from = await connected(t, { master: 'on' });
  from.fn.writeConfig(MSIX_CONTROL, 2, 0x8000);
  from.systemMemory.write(BASE.registers, 4, 3n);
  raise(from.own[0] ?? -1);
  await eventually('pending', () => from.systemMemory.read(PBA, 4) === 1n);
  const to = await connected(t, {}, 4n);
  to.dev.load(from.dev.save());
  t.strictSame(
    [PBA, BASE.registers, BASE.registers + 8n].map((at) => to.systemMemory.read(at, 4)),
    [1n, 3n, 4n],
  );
  for (const state of [{}, { ...to.dev.save(), pci: {} }])
    t.throws(() => to.dev.load(state), {
      class: 'GenericError',
      message: /^saved ivshmem-doorbell|^saved function of device type/,
    });
});

t.test('without the native layer it says what is missing', async (t) => {
  const { server } = serverContext();
  const eventNotifiers = new NativeEventNotifiers(() => undefined);
  const { context } = serverContext({ chardevs: server, eventNotifiers });
  const properties = { chardev: 'c0', vectors: 1, ioeventfd: true, master: 'off' as const };
  await t.rejects(new IvshmemDoorbell(context, properties).realize(), {
    class: 'GenericError',
    message: 'passing descriptors needs the optional package koffi, which is not available',
  });
  t.equal(server.claimed, false);
});

t.test('the type', async (t) => {
  const { context } = serverContext();
  t.match(ivshmemDoorbell, { name: 'ivshmem-doorbell', parent: 'ivshmem-common' });
  const properties = { chardev: 'c0', vectors: 1, ioeventfd: true, master: 'off' as const };
  t.match(ivshmemDoorbell.create(context, properties), { pci: { devfn: 0 } });
});

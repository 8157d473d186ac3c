import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Iopmem } from '../../devices/iopmem/device.js';
import { iopmem } from '../../devices/iopmem/index.js';
import { HostError } from '../../devices/core/host-memory.js';
import type { Cleanup } from '../support/daemon.js';
import { startMachine, type TestMachine } from '../support/machine.js';
import { fakeLog, fakeMemdev, fakeRoot } from '../support/pci.js';
import { TestBoard } from '../support/test-board.js';

// The defects of reference/pci-and-memory-devices.md §8.2 by number, and the behaviour of §8.3.

const MiB = 0x10_0000;
const BASE = 0x1_e010_0000n;
const SLOT = 4;

interface WithFile extends TestMachine {
  readonly file: string;
}
const withFile = async (
  t: Cleanup & { testdir(): string },
  options: { backend?: string; length?: number; device?: string; kind?: string } = {},
): Promise<WithFile> => {
  const { backend = 'share=on', length = MiB, kind = 'q35' } = options;
  const file = join(t.testdir(), 'memory');
  writeFileSync(file, Buffer.alloc(length, 0x55));
  const size = String(length);
  const machine = await startMachine(t, [
    ...['-M', kind, '-nodefaults'],
    ...['-object', `memory-backend-file,id=m1,mem-path=${file},size=${size},${backend}`],
    ...['-device', `iopmem,id=io,memdev=m1,addr=${String(SLOT)}`],
  ]);
  return { ...machine, file };
};
const map = ({ config }: TestMachine): void => {
  config.write(0, SLOT, 0, 0x20, Number(BASE & 0xffffffffn));
  config.write(0, SLOT, 0, 0x24, Number(BASE >> 32n));
  config.write(0, SLOT, 0, 0x04, 2, 2);
};
const memoryOf = ({ machine }: TestMachine) => machine.platform.memory;
const desc = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no error',
    (error: Error) => error.message,
  );
const ADD = { driver: 'iopmem', id: 'io2', bus: 'rp' };
const withPort = (
  t: Cleanup,
  objects: readonly string[],
  ...devices: string[]
): Promise<TestMachine> =>
  startMachine(t, [
    ...['-M', 'q35', '-nodefaults', '-device', 'pcie-root-port,id=rp,chassis=1,slot=1'],
    ...['-device', 'pcie-root-port,id=rp2,chassis=1,slot=2'],
    ...objects.flatMap((object) => ['-object', object]),
    ...devices.flatMap((device) => ['-device', device]),
  ]);

t.test('vector 37 and defect 12: ids, class and capability are fixed', async (t) => {
  const { config } = await withFile(t);
  const read = (at: number): number => config.read(0, SLOT, 0, at);
  t.strictSame([read(0x00), read(0x08), read(0x3c)], [0xf11511f8, 0x01800202, 0]);
  t.equal(config.read(0, SLOT, 0, 0x34, 1), 0x80);
  t.equal(config.read(0, SLOT, 0, 0x80, 2), 0x0010, 'no other capability');
  t.equal(config.read(0, SLOT, 0, 0x82, 2), 0x92, 'integrated into the root complex');
  for (const at of [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24]) config.write(0, SLOT, 0, at, 0xffffffff);
  t.strictSame(
    [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24].map(read),
    [0, 0, 0, 0, 0xfff0000c, 0xffffffff],
  );
});

t.test('below a port and on pc it is an endpoint', async (t) => {
  const pc = await withFile(t, { kind: 'pc' });
  t.equal(pc.config.read(0, SLOT, 0, 0x82, 2), 0x02);
  const port = await withPort(
    t,
    ['memory-backend-ram,id=m1,size=1M'],
    'iopmem,id=io,memdev=m1,bus=rp',
  );
  const at = { id: 'io', offset: 0x82n, size: 2n };
  t.strictSame(await port.run('guest-config-read', at), { value: 2 });
});

t.test('vector 38 and defects 3, 4, 8: every width and place, byte-exact', async (t) => {
  const machine = await withFile(t);
  map(machine);
  const memory = memoryOf(machine);
  const bytes = (from: number, to: number): string =>
    readFileSync(machine.file).subarray(from, to).toString('hex');
  memory.write(BASE, 4, 0n);
  memory.write(BASE + 1n, 1, 0xaan);
  t.equal(memory.read(BASE, 4), 0xaa00n);
  t.equal(bytes(0, 5), '00aa000055', 'the neighbours are as they were');
  for (const size of [1, 2, 4, 8] as const)
    for (let at = 16; at < 24; at++) {
      memory.write(BASE + BigInt(at), size, 0x1122334455667788n);
      const wanted = Buffer.from('8877665544332211', 'hex').subarray(0, size).toString('hex');
      t.equal(bytes(at, at + size), wanted, `${String(size)} bytes at ${String(at)}`);
      t.equal(memory.read(BASE + BigInt(at), size), BigInt.asUintN(8 * size, 0x1122334455667788n));
    }
});

t.test('defects 1, 2: the BAR is the memory of the backend, not registers', async (t) => {
  const { machine } = await withFile(t);
  const bar = machine.devices.find('io').pci?.pci.bars[0];
  t.equal(bar?.region.kind, 'ram');
  t.equal(bar?.region.host?.memory.size, BigInt(MiB));
});

t.test('defects 5, 7: reads stop at the end, and what is gone reads 0', async (t) => {
  const machine = await withFile(t);
  map(machine);
  const memory = memoryOf(machine);
  const end = BASE + BigInt(MiB);
  t.equal(memory.read(end - 1n, 1), 0x55n);
  t.equal(memory.read(end - 2n, 4), 0x5555n, 'nobody behind it');
  t.strictSame(
    await desc(
      machine.run('guest-mmio-read', { id: 'io', bar: 4n, offset: BigInt(MiB - 1), size: 2n }),
    ),
    'access at 1048575 of 2 bytes is beyond the end of BAR 4 at 1048576',
  );
  writeFileSync(machine.file, '');
  t.equal(memory.read(BASE, 8), 0n, 'the file was truncated by somebody else');
});

t.test('defect 6: a readonly backend drops writes, and says so beforehand', async (t) => {
  const machine = await withFile(t, { backend: 'share=on,readonly=on' });
  map(machine);
  memoryOf(machine).write(BASE, 1, 1n);
  t.equal(memoryOf(machine).read(BASE, 1), 0x55n);
  t.equal(await machine.run('qom-get', { path: '/objects/m1', property: 'readonly' }), true);
});

t.test('vector 39 and defects 9, 10: what cannot be, is told and leaves nothing', async (t) => {
  const machine = await withPort(t, [
    'memory-backend-ram,id=odd,size=3M',
    'memory-backend-ram,id=m1,size=1M',
  ]);
  const add = (more: Record<string, string>): Promise<string> =>
    desc(machine.run('device_add', { ...ADD, ...more }));
  t.equal(await add({}), "You must specify a 'memdev'");
  t.equal(await add({ memdev: 'odd' }), 'memdev size must be a power of two');
  t.match(await add({ memdev: 'nomem' }), /nomem/);
  t.match(await add({ drive: 'd0' }), /no block layer; give a memory backend as 'memdev'/);
  t.equal(await desc(machine.run('object-del', { id: 'odd' })), 'no error', 'not busy');
  t.equal(await add({ memdev: 'm1' }), 'no error', 'the id is free');
  t.equal(await add({ id: 'io3', bus: 'rp2', memdev: 'm1' }), "can't use already busy memdev: m1");
});

t.test('defect 11: the memory is written back on demand', async (t) => {
  const machine = await withFile(t);
  map(machine);
  memoryOf(machine).write(BASE, 1, 1n);
  for (const id of ['io', 'm1', '/objects/m1', '/machine/peripheral/io'])
    t.strictSame(await machine.run('mem-flush', { id }), undefined, id);
  t.equal(await desc(machine.run('mem-flush', { id: 'nobody' })), "Device 'nobody' not found");
  t.equal(await desc(machine.run('mem-flush', { id: '/machine' })), '/machine is not a device');
});

t.test('defect 11: what is not shared has no file', async (t) => {
  const machine = await withFile(t, { backend: 'share=off' });
  t.equal(await desc(machine.run('mem-flush', { id: 'io' })), "device 'io' has no shared memory");
  t.equal(
    await desc(machine.run('mem-flush', { id: 'm1' })),
    "memory backend 'm1' is not shared (share=off)",
  );
});

t.test('defect 11: and when the device goes', async (t) => {
  const { bus } = fakeRoot();
  const memdev = fakeMemdev();
  const context = new TestBoard('none').context('io', 'iopmem');
  const device = new Iopmem(context, { memdev, drive: undefined });
  bus.attach(device.pci, 32);
  device.realize();
  const done = device.unrealize();
  t.strictSame([memdev.flushes(), memdev.owner(), device.pci.bars], [1, undefined, []]);
  await done;
});

t.test('a flush holds up nobody else', async (t) => {
  const { machine, run } = await withFile(t);
  const [backend] = machine.objects.backends;
  if (backend === undefined) throw new Error('the machine has no backend');
  let written = (): void => undefined;
  backend.flush = () => new Promise((resolve) => (written = resolve));
  await machine.turn.enter();
  const flushed = run('mem-flush', { id: 'io' }).then(() => machine.turn.leave());
  t.ok(machine.turn.tryEnter(), 'it is the turn of another client meanwhile');
  t.match(await run('query-memdev'), [{ id: 'm1' }]);
  machine.turn.leave();
  written();
  await flushed;
  backend.flush = () => Promise.resolve();
});

t.test('what is shared is written back when the machine ends', async (t) => {
  const { machine } = await startMachine(t, [
    ...['-M', 'none', '-object', 'memory-backend-memfd,id=m1,size=1M'],
    ...['-object', 'memory-backend-memfd,id=m2,size=1M,share=off'],
  ]);
  const flushed: string[] = [];
  for (const backend of machine.objects.backends)
    backend.flush = () => {
      flushed.push(backend.id);
      return Promise.reject(new HostError('EIO', 'Input/output error'));
    };
  await machine.close();
  t.strictSame(flushed, ['m1'], 'and a host that refuses does not keep it from ending');
});

t.test('a host that cannot write it back is told in the log', async (t) => {
  const { bus } = fakeRoot();
  const memdev = fakeMemdev();
  const warnings: string[] = [];
  const context = { ...new TestBoard('none').context('io', 'iopmem'), log: fakeLog(warnings) };
  const device = new Iopmem(context, {
    memdev: { ...memdev, flush: () => Promise.reject(new HostError('EIO', 'Input/output error')) },
    drive: undefined,
  });
  bus.attach(device.pci, 32);
  device.realize();
  await device.unrealize();
  t.strictSame(warnings, ['memory cannot be written to its file']);
});

t.test('other devices reach the memory by its bus address', async (t) => {
  const board = new TestBoard('q35', { ramSize: BigInt(MiB) });
  const memdev = fakeMemdev();
  board.plug(board.create(iopmem, 'io', { memdev }), { addr: SLOT << 3 });
  const other = board.plug(board.create(iopmem, 'other', { memdev: fakeMemdev(MiB, 'm2') }));
  board.start();
  board.setConfig(SLOT << 3, 0x20, Number(BASE & 0xffffffffn));
  board.setConfig(SLOT << 3, 0x24, 1);
  board.setConfig(SLOT << 3, 0x04, 2, 2);
  board.setConfig(other.pci.devfn, 0x04, 6, 2);
  t.ok(other.pci.dma.write(BASE + 3n, Uint8Array.of(1, 2)));
  t.strictSame([...memdev.memory.bytes.subarray(2, 6)], [0, 1, 2, 0]);
});

t.test('the configuration goes along in a saved state, the memory stays', async (t) => {
  const board = new TestBoard('q35');
  const from = board.plug(board.create(iopmem, 'a', { memdev: fakeMemdev() }));
  const to = board.plug(board.create(iopmem, 'b', { memdev: fakeMemdev(MiB, 'm2') }));
  board.start();
  board.setConfig(from.pci.devfn, 0x24, 1);
  board.setConfig(from.pci.devfn, 0x04, 2, 2);
  to.load(from.save());
  t.equal(to.pci.bars[0]?.address, 1n << 32n);
  t.throws(() => to.load({}), { message: 'saved iopmem.pci must be a map' });
});

t.test('a terabyte is as cheap as a megabyte', async (t) => {
  const file = join(t.testdir(), 'sparse');
  const machine = await startMachine(t, [
    ...['-M', 'q35', '-nodefaults', '-device', 'iopmem,id=io,memdev=m1'],
    ...['-object', `memory-backend-file,id=m1,mem-path=${file},size=1T,share=on`],
  ]);
  const at = 2n ** 40n - 8n;
  await machine.run('guest-config-write', { id: 'io', offset: 4n, size: 2n, value: 2n });
  await machine.run('guest-mmio-write', { id: 'io', bar: 4n, offset: at, size: 8n, value: 7n });
  await machine.run('mem-flush', { id: 'io' });
  t.ok(statSync(file).blocks < 100);
});

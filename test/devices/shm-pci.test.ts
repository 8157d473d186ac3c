import t from 'tap';
import type { Test } from 'tap';
import { ShmPci } from '../../devices/shm-pci/device.js';
import { shmPci } from '../../devices/shm-pci/index.js';
import { REGISTERS } from '../../devices/shm-pci/registers.js';
import { COMMAND, CONFIG } from '../../devices/pci/registers.js';
import { eventually } from '../support/daemon.js';
import { raise, raised } from '../support/ivshmem.js';
import {
  eventCounter,
  openDescriptors,
  serverContext,
  sharedMemory,
} from '../support/ivshmem-device.js';
import { needsNative } from '../support/mdevice.js';
import { fakeMemdev, fakeRoot } from '../support/pci.js';

type Properties = ConstructorParameters<typeof ShmPci>[1];
const BASE = { registers: 0xe0000000n, msix: 0xe0001000n, memory: 0xe0100000n };

const create = (given: Partial<Properties>) => {
  const all = serverContext({ typeName: 'shm-pci' });
  const root = fakeRoot({ express: false, typeName: 'PCI' });
  const defaults = Object.entries(shmPci.properties).map(([name, p]) => [name, p.default]);
  const dev = new ShmPci(all.context, { ...Object.fromEntries(defaults), ...given } as Properties);
  root.bus.attach(dev.pci, 32);
  const { systemMemory: memory } = root;
  return {
    ...{ dev, fn: dev.pci, memory, ...all, ...root },
    read: (name: keyof typeof REGISTERS, size: 4 | 8 = 4) =>
      memory.read(BASE.registers + BigInt(REGISTERS[name].offset), size),
    write: (name: keyof typeof REGISTERS, value: bigint) =>
      memory.write(BASE.registers + BigInt(REGISTERS[name].offset), 4, value),
    map: () => {
      dev.pci.writeConfig(0x10, 4, Number(BASE.registers));
      dev.pci.writeConfig(0x14, 4, Number(BASE.msix));
      dev.pci.writeConfig(0x18, 4, Number(BASE.memory));
      dev.pci.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY | COMMAND.MASTER);
    },
  };
};
const alone = async (t: Test, given: Partial<Properties> = {}) => {
  const backend = fakeMemdev();
  const all = create({ memdev: backend, ...given });
  await all.dev.realize();
  t.teardown(() => all.dev.unrealize());
  all.dev.reset('cold');
  all.map();
  return { ...all, backend };
};
const served = async (t: Test, given: Partial<Properties> = {}) => {
  const all = create({ chardev: 'c0', vectors: 40, ...given });
  const realized = all.dev.realize();
  all.server.tell(0n, 2n, [-1n, sharedMemory(1 << 16)]);
  await realized;
  t.teardown(() => all.dev.unrealize());
  all.dev.reset('cold');
  all.map();
  const own = Array.from({ length: 40 }, eventCounter);
  for (const fd of own) all.server.tell([2n, fd]);
  return { ...all, own };
};

t.test('alone: identity, registers and memory (§9.7)', async (t) => {
  const { fn, memory, read, write, backend } = await alone(t);
  t.strictSame(
    [0x00, 0x08, 0x2c].map((at) => fn.readConfig(at, 4).toString(16)),
    ['10f01af4', '5000001', '11001af4'],
  );
  t.strictSame(
    fn.bars.map(({ index, size, bits64, prefetch }) => [index, size, bits64, prefetch]),
    [
      [0, 4096n, false, false],
      [1, 4096n, false, false],
      [2, 1n << 20n, true, true],
    ],
  );
  const names = ['MAGIC', 'VERSION', 'TAG', 'FEATURES', 'OWN_ID', 'DOORBELL', 'STATUS', 'MASK'];
  const values = (): bigint[] => names.map((name) => read(name as keyof typeof REGISTERS));
  t.strictSame(values(), [0x4d485350n, 1n, 0n, 0n, 0n, 0n, 0n, 0n]);
  t.equal(read('MEMORY_SIZE', 8), 1n << 20n);
  t.strictSame(
    [memory.read(BASE.registers + 0x10n, 4), memory.read(BASE.registers + 0x14n, 4)],
    [1n << 20n, 0n],
  );
  for (let at = 0n; at < 4096n; at += 4n) memory.write(BASE.registers + at, 4, 0xffffffffn);
  t.strictSame(values(), [0x4d485350n, 1n, 0n, 0n, 0n, 0n, 0n, 0xffffffffn]);
  t.strictSame([memory.read(BASE.registers + 0x28n, 4), memory.read(BASE.registers, 1)], [0n, 0n]);
  memory.write(BASE.memory + 1n, 2, 0x0201n);
  t.strictSame([...backend.memory.bytes.subarray(0, 4)], [0, 1, 2, 0]);
  write('DOORBELL', 0x10000n);
  t.equal(read('STATUS'), 0n);
});

t.test('ids and tag are the user’s', async (t) => {
  const given = { 'vendor-id': 0x1234, 'device-id': 0x5678, tag: 0xfeedf00d };
  const { fn, read } = await alone(t, given);
  t.equal(fn.readConfig(0, 4), 0x56781234);
  t.equal(read('TAG'), 0xfeedf00dn);
});

t.test('on a server: its memory, own id, doorbells', needsNative, async (t) => {
  const { fn, memory, read, write, server, blocked } = await served(t);
  t.strictSame([read('FEATURES'), read('OWN_ID'), read('MEMORY_SIZE', 8)], [1n, 2n, 1n << 16n]);
  t.equal(fn.readConfig(0x42, 2), 39);
  memory.write(BASE.memory, 4, 5n);
  t.equal(memory.read(BASE.memory, 4), 5n);
  const other = [eventCounter(), eventCounter()];
  for (const fd of other) server.tell([1n, fd]);
  for (const value of [0x0001_0001n, 0x0001_0002n, 0x0007_0000n, 0x0001_0100n])
    write('DOORBELL', value);
  t.strictSame(other.map(raised), [0n, 1n], 'all 16 bits of the vector count');
  t.equal(blocked.length, 1);
});

t.test('rings set status bits, and send messages that are not masked', needsNative, async (t) => {
  const { fn, memory, read, write, own, ram } = await served(t);
  const sent = (): number => ram.bytes[0x2000] ?? 0;
  raise(own[3] ?? -1);
  await eventually('status bit 3', () => read('STATUS') === 8n);
  write('STATUS', 8n);
  t.equal(read('STATUS'), 0n, 'writing 1 clears');

  fn.writeConfig(0x42, 2, 0x8000);
  for (const vector of [3n, 35n]) {
    memory.write(BASE.msix + 16n * vector, 4, 0x2000n);
    memory.write(BASE.msix + 16n * vector + 8n, 4, 0x70n + vector);
    memory.write(BASE.msix + 16n * vector + 12n, 4, 0n);
  }
  raise(own[3] ?? -1);
  await eventually('a message', () => sent() === 0x73);
  ram.bytes[0x2000] = 0;
  write('STATUS', 8n);
  write('MASK', 8n);
  raise(own[3] ?? -1);
  await eventually('status bit 3', () => read('STATUS') === 8n);
  t.equal(sent(), 0, 'masked');
  write('MASK', 0n);
  t.equal(sent(), 0x73, 'sent on unmasking');
  ram.bytes[0x2000] = 0;
  write('MASK', 0xffffffffn);
  write('STATUS', 8n);
  write('MASK', 0n);
  t.equal(sent(), 0, 'what was acknowledged is not sent');
  write('MASK', 0xffffffffn);
  raise(own[35] ?? -1);
  await eventually('vector 35 has no bit to mask', () => sent() === 0x70 + 35);
  t.equal(read('STATUS'), 0n);
});

t.test('with both, the memory is the backend', needsNative, async (t) => {
  const backend = fakeMemdev();
  const { read, memory, dev } = await served(t, { memdev: backend });
  t.strictSame([read('FEATURES'), read('OWN_ID'), read('MEMORY_SIZE')], [1n, 2n, 1n << 20n]);
  memory.write(BASE.memory, 1, 9n);
  t.strictSame([backend.memory.bytes[0], typeof backend.owner()], [9, 'string']);
  dev.unrealize();
  t.equal(backend.owner(), undefined);
});

t.test('what cannot be used leaves nothing behind', needsNative, async (t) => {
  await t.rejects(create({}).dev.realize(), {
    class: 'GenericError',
    message: "You must specify a 'memdev' or a 'chardev'",
  });
  const before = openDescriptors();
  const cases: readonly (readonly [Partial<Properties>, bigint, RegExp])[] = [
    [{ chardev: 'nope' }, 0n, /can't find value 'nope'/],
    [{ chardev: 'c0' }, 1n, /server sent version 1, expecting 0/],
    [{ chardev: 'c0', vectors: 0 }, 0n, /The number of MSI-X vectors is invalid/],
  ];
  for (const [given, version, message] of cases) {
    const backend = fakeMemdev();
    const { dev, server, fn, blocked } = create({ memdev: backend, ...given });
    const failed = t.rejects(dev.realize(), { class: 'GenericError', message });
    if (server.claimed) server.tell(version, 0n, [-1n, sharedMemory(4096)]);
    await failed;
    t.strictSame([backend.owner(), server.claimed, fn.bars, blocked], [undefined, false, [], []]);
  }
  const odd = fakeMemdev(3 << 20);
  await t.rejects(create({ memdev: odd }).dev.realize(), { message: /not a power of two/ });
  t.equal(odd.owner(), undefined);
  t.strictSame(openDescriptors(), before);
});

t.test('reset clears status and mask; a saved state keeps the own id', needsNative, async (t) => {
  const { dev, read, write, own, map } = await served(t);
  raise(own[0] ?? -1);
  await eventually('status bit 0', () => read('STATUS') === 1n);
  write('MASK', 6n);
  const state = dev.save();
  dev.reset('warm');
  map();
  t.strictSame([read('STATUS'), read('MASK'), read('OWN_ID'), read('FEATURES')], [0n, 0n, 2n, 1n]);
  dev.load(state);
  t.strictSame([read('STATUS'), read('MASK'), read('OWN_ID')], [1n, 6n, 2n]);
  const other = await alone(t);
  t.throws(() => other.dev.load(state), { class: 'GenericError', message: /does not fit/ });
  t.throws(() => other.dev.load({}), {
    class: 'GenericError',
    message: 'saved shm-pci.pci must be a map',
  });
});

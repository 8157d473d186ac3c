import t from 'tap';
import type { MemdevBackend } from '../../devices/core/memdev.js';
import { ivshmemCommon } from '../../devices/ivshmem/common-type.js';
import { ivshmemPlain } from '../../devices/ivshmem-plain/index.js';
import { IvshmemPlain } from '../../devices/ivshmem-plain/device.js';
import { COMMAND, CONFIG } from '../../devices/pci/registers.js';
import { fakeContext } from '../support/device-context.js';
import { fakeMemdev, fakeRoot } from '../support/pci.js';

/** A realized device at slot 4 of a conventional root bus. */
const device = (memdev = fakeMemdev()) => {
  const root = fakeRoot({ express: false, typeName: 'PCI' });
  const dev = new IvshmemPlain(fakeContext(), { memdev, master: 'off' });
  root.bus.attach(dev.pci, 32);
  dev.realize();
  dev.reset('cold');
  return { dev, memdev, fn: dev.pci, ...root };
};
/** With BAR0 at 0xe0000100 and BAR2 at 0x1e0100000, as vector 6 programs them. */
const mapped = () => {
  const all = device();
  all.fn.writeConfig(0x10, 4, 0xe0000100);
  all.fn.writeConfig(0x18, 4, 0xe0100000);
  all.fn.writeConfig(0x1c, 4, 1);
  all.fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  return all;
};

t.test('it shows the identity and BARs of vectors 3 to 5', async (t) => {
  const { fn } = device();
  const read = (...at: number[]): number[] => at.map((offset) => fn.readConfig(offset, 4));
  t.strictSame(read(0x00, 0x08, 0x18, 0x2c), [0x11101af4, 0x05000001, 0x0000000c, 0x11001af4]);
  t.strictSame(read(0x04, 0x34), [0, 0]);
  const written = [0x04, 0x0c, 0x10, 0x18, 0x1c, 0x3c];
  for (const at of written) fn.writeConfig(at, 4, 0xffffffff);
  t.strictSame(read(...written), [0x507, 0xff, 0xffffff00, 0xfff0000c, 0xffffffff, 0xff]);
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  t.strictSame(
    fn.bars.map(({ address }) => address),
    [-1n, -1n],
  );
  for (const at of [0x10, 0x18, 0x1c]) fn.writeConfig(at, 4, 0);
  t.strictSame(
    fn.bars.map(({ address }) => address),
    [-1n, -1n],
  );
});

t.test('its memory is the backend, byte by byte (vector 6)', async (t) => {
  const { fn, systemMemory, memdev } = mapped();
  t.strictSame(
    fn.bars.map(({ address }) => address),
    [3758096640n, 8054112256n],
  );
  systemMemory.write(0x1e0100000n, 8, 0x1122334455667788n);
  t.equal(systemMemory.read(0x1e0100007n, 1), 0x11n);
  t.strictSame([...memdev.memory.bytes.subarray(0, 2)], [0x88, 0x77]);
});

t.test('registers of other widths than 4 behave as vector 7 says', async (t) => {
  const { systemMemory: memory } = mapped();
  const base = 0xe0000100n;
  memory.write(base, 4, 0xdeadbeefn);
  t.strictSame(
    [
      memory.read(base, 1),
      memory.read(base + 1n, 1),
      memory.read(base, 2),
      memory.read(base + 2n, 2),
    ],
    [0xefn, 0n, 0xbeefn, 0n],
  );
  t.equal(memory.read(base, 8), 0xdeadbeefn);
  memory.write(base, 1, 0x12n);
  t.equal(memory.read(base, 4), 0x12n, 'a byte replaces the register');
});

t.test('the status clears on reading, position and doorbell do nothing (vector 8)', async (t) => {
  const { systemMemory: memory } = mapped();
  const base = 0xe0000100n;
  memory.write(base + 4n, 4, 5n);
  t.strictSame([memory.read(base + 4n, 4), memory.read(base + 4n, 4)], [5n, 0n]);
  memory.write(base + 8n, 4, 1n);
  memory.write(base + 12n, 4, 0x10000n);
  t.strictSame([memory.read(base + 8n, 4), memory.read(base + 12n, 4)], [0n, 0n]);
});

t.test('reset clears the registers and keeps the memory (vector 9)', async (t) => {
  const { dev, fn, systemMemory, memdev } = mapped();
  systemMemory.write(0xe0000100n, 4, 0xffn);
  memdev.memory.bytes[0] = 7;
  dev.reset('warm');
  t.strictSame(
    [0x04, 0x10, 0x18].map((at) => fn.readConfig(at, 4)),
    [0, 0, 0xc],
  );
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  t.strictSame([fn.readBar(0, 0, 4), fn.readBar(2, 0, 1)], [0n, 7n]);
});

t.test('a memdev that cannot be used leaves nothing behind (vector 39)', async (t) => {
  const make = (memdev: MemdevBackend | undefined): IvshmemPlain =>
    new IvshmemPlain(fakeContext(), { memdev, master: 'off' });
  t.throws(() => make(undefined).realize(), {
    class: 'GenericError',
    message: "You must specify a 'memdev'",
  });
  const odd = fakeMemdev(3 << 20);
  const refusedDevice = make(odd);
  t.throws(() => refusedDevice.realize(), { class: 'GenericError', message: /power of two/ });
  t.strictSame([odd.owner(), refusedDevice.pci.bars], [undefined, []]);
});

t.test('a memdev serves one device at a time, and the next one after it', async (t) => {
  const { dev, memdev } = device();
  t.equal(memdev.owner(), fakeContext().path);
  const second = new IvshmemPlain(fakeContext(), { memdev, master: 'off' });
  t.throws(() => second.realize(), {
    class: 'GenericError',
    message: "can't use already busy memdev: m1",
  });
  t.equal(memdev.owner(), fakeContext().path, 'the first one keeps it');
  dev.unrealize();
  dev.unrealize();
  t.equal(memdev.owner(), undefined);
  second.realize();
});

t.test('registers go along in a saved state', async (t) => {
  const from = mapped();
  from.systemMemory.write(0xe0000100n, 8, 0x0000000500000003n);
  const to = device();
  to.dev.load(from.dev.save());
  t.equal(to.systemMemory.read(0xe0000100n, 8), 0x0000000500000003n);
  for (const state of [{}, { ...to.dev.save(), pci: {} }])
    t.throws(() => to.dev.load(state), {
      class: 'GenericError',
      message: /^saved ivshmem-plain|^saved function of device type/,
    });
});

t.test('the types are listed with their parents', async (t) => {
  t.strictSame(
    [ivshmemCommon, ivshmemPlain].map(({ name, parent, abstract }) => [name, parent, abstract]),
    [
      ['ivshmem-common', 'pci-device', true],
      ['ivshmem-plain', 'ivshmem-common', undefined],
    ],
  );
  t.match(ivshmemPlain.create(fakeContext(), { memdev: undefined, master: 'off' }), {
    pci: { devfn: 0 },
  });
});

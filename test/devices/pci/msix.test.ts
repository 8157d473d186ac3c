import t from 'tap';
import { MsiX } from '../../../devices/pci/msix.js';
import { COMMAND, CONFIG } from '../../../devices/pci/registers.js';
import { fakeFunction, fakeRoot } from '../../support/pci.js';

const BAR = 1;
const ENABLE = 0x8000;
const MASK_ALL = 0x4000;
const TARGET = 0x2000n;
const PENDING = 0x800;

const device = (vectors = 2) => {
  const fn = fakeFunction({ interruptPin: 0 });
  const msix = new MsiX(fn, { vectors, bar: BAR });
  const root = fakeRoot();
  root.bus.attach(fn, 8);
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MASTER | COMMAND.MEMORY);
  const program = (vector: number, data: bigint): void => {
    fn.writeBar(BAR, vector * 16, 8, TARGET);
    fn.writeBar(BAR, vector * 16 + 8, 4, data);
    fn.writeBar(BAR, vector * 16 + 12, 4, 0n);
  };
  const control = (bits: number): void => fn.writeConfig(0x42, 2, bits);
  const pending = (): bigint => fn.readBar(BAR, PENDING, 4);
  const sent = (): bigint => root.systemMemory.read(TARGET, 4);
  return { fn, msix, root, program, control, pending, sent };
};

t.test('table and pending bits have a BAR of their own (§1.6)', async (t) => {
  for (const [vectors, first, pending, size] of [
    [1, 0x00000011, 0x801, 0x1000n],
    [2, 0x00010011, 0x801, 0x1000n],
    [128, 0x007f0011, 0x801, 0x1000n],
    [129, 0x00800011, 0x811, 0x1000n],
    [256, 0x00ff0011, 0x1001, 0x2000n],
    [2048, 0x07ff0011, 0x8001, 0x10000n],
  ] as const) {
    const { fn } = device(vectors);
    t.strictSame(
      [0x40, 0x44, 0x48].map((at) => fn.readConfig(at, 4)),
      [first, BAR, pending],
    );
    t.strictSame(
      fn.bars.map(({ index, size: bytes, bits64, prefetch }) => [index, bytes, bits64, prefetch]),
      [[BAR, size, false, false]],
    );
  }
  for (const vectors of [0, 2049])
    t.throws(() => new MsiX(fakeFunction(), { vectors, bar: BAR }), {
      class: 'GenericError',
      message: 'The number of MSI-X vectors is invalid',
    });
});

t.test('a vector that cannot be sent is pending until it can (vectors 22 and 23)', async (t) => {
  const { msix, fn, program, control, pending, sent } = device();
  t.equal(pending(), 0n);
  msix.notify(0);
  t.equal(pending(), 1n, 'disabled');
  control(ENABLE);
  msix.notify(1);
  t.equal(pending(), 3n, 'entries are masked');
  msix.notify(2);
  t.equal(pending(), 3n, 'no such vector');
  program(0, 0xcafef00dn);
  t.strictSame([pending(), sent()], [2n, 0xcafef00dn]);
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  program(0, 0x11n);
  msix.notify(0);
  t.equal(sent(), 0xcafef00dn, 'no bus master');
});

t.test('the function mask holds all vectors back', async (t) => {
  const { msix, program, control, pending, sent } = device();
  control(ENABLE | MASK_ALL);
  program(1, 7n);
  msix.notify(1);
  t.strictSame([pending(), sent()], [2n, 0n]);
  control(ENABLE);
  t.strictSame([pending(), sent()], [0n, 7n]);
});

t.test('table and pending bits take aligned 4- and 8-byte accesses only', async (t) => {
  const { fn, pending } = device();
  fn.writeBar(BAR, 0, 2, 0xffffn);
  fn.writeBar(BAR, 8, 1, 0xffn);
  t.strictSame([fn.readBar(BAR, 0, 8), fn.readBar(BAR, 8, 4)], [0n, 0n]);
  t.equal(fn.readBar(BAR, 12, 4), 1n, 'masked after reset');
  t.equal(fn.readBar(BAR, 12, 1), 0n);
  fn.writeBar(BAR, 0, 8, 0x1122334455667788n);
  t.equal(fn.readBar(BAR, 4, 4), 0x11223344n);
  fn.writeBar(BAR, PENDING, 4, 0xffn);
  t.equal(pending(), 0n);
});

t.test('a vector that is not in use is ignored', async (t) => {
  const { msix, pending } = device();
  msix.notify(0);
  msix.setInUse(0, false);
  t.equal(pending(), 0n);
  msix.notify(0);
  t.equal(pending(), 0n);
  msix.setInUse(0, true);
  msix.notify(0);
  t.equal(pending(), 1n);
});

t.test('reset masks every entry and forgets what is pending', async (t) => {
  const { fn, msix, program, control, pending } = device();
  control(ENABLE);
  program(0, 5n);
  msix.notify(1);
  fn.reset();
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  t.equal(msix.enabled, false);
  t.equal(pending(), 0n);
  t.strictSame(
    [0, 8, 12].map((at) => fn.readBar(BAR, at, 4)),
    [0n, 0n, 1n],
  );
});

t.test('entries and pending bits survive save and load', async (t) => {
  const from = device();
  from.control(ENABLE | MASK_ALL);
  from.program(1, 9n);
  from.msix.notify(1);
  const to = device();
  to.fn.load(from.fn.save());
  t.strictSame([to.pending(), to.sent()], [2n, 0n]);
  to.control(ENABLE);
  t.strictSame([to.pending(), to.sent()], [0n, 9n]);
  const before = to.fn.save();
  t.throws(() => to.fn.load({ ...before, parts: { msix: { table: new Uint8Array(1) } } }), {
    class: 'GenericError',
    message: 'saved MSI-X vectors.table must be 32 bytes',
  });
  t.strictSame(to.fn.save(), before);
});

t.test('closing takes capability and BAR out', async (t) => {
  const { fn } = device();
  fn.close();
  t.strictSame([fn.findCapability(0x11), fn.bars], [undefined, []]);
});

t.test('what became of each vector is counted', async (t) => {
  const { msix, fn, program, control } = device(4);
  msix.notify(3);
  program(1, 1n);
  program(3, 3n);
  t.match(fn.interrupts(), [
    { kind: 'msi-x', enabled: false, vectors: [{ vector: 3, delivered: 0, pending: true }] },
  ]);
  control(ENABLE);
  msix.notify(1);
  msix.notify(1);
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  msix.notify(1);
  t.strictSame(fn.interrupts(), [
    {
      kind: 'msi-x',
      enabled: true,
      vectors: [
        { vector: 1, delivered: 2, dropped: 1, pending: false },
        { vector: 3, delivered: 1, dropped: 0, pending: false },
      ],
    },
  ]);
});

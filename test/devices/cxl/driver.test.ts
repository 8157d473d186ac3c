import t from 'tap';
import { CxlDriver } from '../../../devices/cxl/driver.js';
import { MessageReceiver } from '../../../devices/platform/messages.js';
import { FunctionAccess } from '../../../server/machine/guest-access.js';
import { FakeTimers } from '../../support/mdevice.js';
import { SparseBackend } from '../../support/sparse-memory.js';
import { MiB, Type3Bench, extent, response, type Range } from '../../support/type3.js';

const driverOf = (b: Type3Bench): CxlDriver =>
  new CxlDriver(
    new FunctionAccess(b.device.pci, {
      name: 'd0',
      messages: new MessageReceiver(),
      after: new FakeTimers().after,
    }),
  );
const ranges = (...list: readonly Range[]) =>
  list.map(([offset, len]) => ({ base: BigInt(offset) * MiB, len: BigInt(len) * MiB }));
const many = (count: number): Range[] =>
  Array.from({ length: count }, (_, i) => [4 * i, 2] as const);
const release = (b: Type3Bench, forced: boolean, ...list: readonly Range[]): void =>
  b.manager.release({
    ...{ hostId: 0, policy: 'prescriptive', forced, sanitize: false, region: 0 },
    extents: list.map(([offset, len]) => extent(offset, len)),
  });

t.test('an answer that no payload holds is sent in parts', async (t) => {
  const b = Type3Bench.configB(t);
  b.add(...many(200));
  await driverOf(b).respond('accept', undefined);
  t.equal(b.capacity.accepted.length, 200);
  t.strictSame(b.capacity.pending, []);
  t.equal(b.read(0x80, 8), 0n, 'every record was read and cleared');
});

t.test('offers are remembered and answered in order, one at a time', async (t) => {
  const b = Type3Bench.configA(t);
  const driver = driverOf(b);
  b.add([0, 4]);
  b.add([8, 4]);
  await driver.respond('accept', undefined);
  t.strictSame(b.accepted(), [[0, 4]]);
  t.equal(b.read(0x80, 8), 0n, 'the record of the second one was read too');
  await driver.respond('reject', ranges([8, 2]));
  t.strictSame(b.accepted(), [
    [0, 4],
    [10, 12],
  ]);
  await t.rejects(driver.respond('accept', undefined), {
    message: "device 'd0' offers no extents",
  });
});

t.test('a refused answer leaves the offer', async (t) => {
  const b = Type3Bench.configA(t);
  const driver = driverOf(b);
  b.add([0, 8]);
  const odd = [{ base: 0n, len: MiB }];
  await t.rejects(driver.respond('accept', odd), {
    message: "device 'd0' refused: Invalid Extent List (1eh)",
  });
  await t.rejects(driver.respond('accept', ranges([0, 4], [2, 2])), {
    message: 'extent at 2097152 of 2097152 bytes overlaps another one',
  });
  await driver.respond('accept', undefined);
  t.strictSame(b.accepted(), [[0, 8]]);
});

t.test('who answers in its place takes the offer', async (t) => {
  const b = Type3Bench.configA(t);
  const driver = driverOf(b);
  b.add([0, 2]);
  b.add([4, 2]);
  await t.rejects(driver.respond('accept', ranges([6, 2])));
  b.respond([0, 2]);
  await t.rejects(driver.respond('accept', undefined), {
    message: "device 'd0' refused: Invalid Physical Address (fh)",
  });
  await t.rejects(driver.respond('accept', undefined), { message: /offers no extents/ });
  b.add([8, 2]);
  b.respond();
  await driver.mailbox(0x4802, response([[8, 2]]));
  t.strictSame(b.capacity.pending, [], 'by mailbox, all are answered');
});

t.test('what was taken away is no longer part of an offer', async (t) => {
  const b = Type3Bench.configA(t);
  b.add([0, 8]);
  release(b, true, [2, 2]);
  await driverOf(b).respond('accept', undefined);
  t.strictSame(b.accepted(), [
    [0, 2],
    [4, 8],
  ]);
});

t.test('a reset makes it forget', async (t) => {
  const b = Type3Bench.configA(t);
  const driver = driverOf(b);
  b.add([0, 4]);
  b.add([8, 4]);
  await driver.respond('accept', undefined);
  b.device.reset('warm');
  await t.rejects(driver.respond('accept', undefined), { message: /offers no extents/ });
  b.add([16, 4]);
  await driver.respond('accept', undefined);
  t.strictSame(b.accepted(), [
    [0, 4],
    [16, 20],
  ]);
});

t.test('a guest that is up takes all and gives back what is asked for', async (t) => {
  const b = Type3Bench.configA(t);
  const driver = driverOf(b);
  b.add(...many(20));
  b.add([100, 8]);
  await driver.answerAll('accept');
  t.equal(b.accepted().length, 21);
  release(b, false, [100, 4]);
  await driver.answerAll('accept');
  t.strictSame(b.accepted().at(-1), [104, 108]);
  release(b, false, [104, 4]);
  b.add([120, 8]);
  await driver.answerAll('reject');
  t.strictSame(b.accepted().at(-1), [104, 108]);
  t.strictSame(b.capacity.pending, []);
});

t.test('a device without dynamic capacity refuses', async (t) => {
  const b = Type3Bench.started(t, { 'volatile-memdev': new SparseBackend('v', 256n * MiB) });
  const driver = driverOf(b);
  await t.rejects(driver.respond('accept', undefined), { message: /offers no extents/ });
  await t.rejects(driver.release(ranges([0, 2])), {
    message: "device 'd0' refused: Unsupported (3h)",
  });
});

t.test('ranges of one answer are limited', async (t) => {
  const b = Type3Bench.configB(t);
  const driver = driverOf(b);
  b.add([0, 2000]);
  const pieces = (count: number): Range[] => Array.from({ length: count }, (_, i) => [2 * i, 2]);
  await t.rejects(driver.respond('accept', ranges(...pieces(513))), {
    message: '513 extents are more than the 512 of one answer',
  });
  await driver.respond('accept', ranges(...pieces(512)));
  t.equal(b.available(), 0);
  await t.rejects(async () => driver.release(ranges(...pieces(86))), {
    message: '86 extents are more than the 85 of one answer',
  });
  await driver.release(ranges(...pieces(85)));
  t.equal(b.available(), 85);
});

t.test('a mailbox that does not answer, and one that is not there', async (t) => {
  const b = Type3Bench.configA(t);
  const access = new FunctionAccess(b.device.pci, {
    name: 'd0',
    messages: new MessageReceiver(),
    after: (_ms, fire) => {
      const soon = setImmediate(fire);
      return () => clearImmediate(soon);
    },
  });
  const real = access.mmioRead.bind(access);
  access.mmioRead = (bar, offset, size) =>
    real(bar, offset, size) | (bar === 2 && offset === 0x8c ? 1n : 0n);
  const driver = new CxlDriver(access, { timeoutMs: 50 });
  await t.rejects(driver.mailbox(0x0300, new Uint8Array(0)), {
    message: "device 'd0' did not answer in time",
  });
  const client = new AbortController();
  client.abort();
  await t.rejects(driver.mailbox(0x0300, new Uint8Array(0), client.signal), {
    message: "device 'd0' is no longer waited for: aborted",
  });
  b.device.pci.config.bytes.fill(0, 0x100, 0x110);
  await t.rejects(new CxlDriver(access).mailbox(0x0300, new Uint8Array(0)), {
    message: "device 'd0' has no CXL mailbox",
  });
  b.root.bus.detach(b.device.pci);
  await t.rejects(driver.mailbox(0x0300, new Uint8Array(0)), {
    message: "device 'd0' does not answer",
  });
});

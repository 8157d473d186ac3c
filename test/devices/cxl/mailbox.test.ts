import t from 'tap';
import { viewOf } from '../../../devices/cxl/bytes.js';
import { MailboxAccess } from '../../../devices/cxl/mailbox-access.js';
import { MessageReceiver } from '../../../devices/platform/messages.js';
import { FunctionAccess } from '../../../server/machine/guest-access.js';
import { SparseBackend } from '../../support/sparse-memory.js';
import { MiB, Type3Bench, hex } from '../../support/type3.js';

const SECOND = 1_000_000_000n;
const AT = 0x88;
const seconds = (b: Type3Bench, count: number): void => {
  for (let i = 0; i < count; i++) b.clock.step(SECOND);
};

t.test('capability array and reset values', async (t) => {
  const b = Type3Bench.configA(t);
  const dwords = (at: number): bigint[] => [0, 4, 8, 12].map((more) => b.read(at + more, 4));
  t.strictSame(dwords(0x00), [0x10000n, 3n, 0n, 0n]);
  t.strictSame(dwords(0x10), [0x20001n, 0x80n, 8n, 0n]);
  t.strictSame(dwords(0x20), [0x10002n, 0x88n, 0x820n, 0n]);
  t.strictSame(dwords(0x30), [0x14000n, 0x8a8n, 8n, 0n]);
  t.equal(b.read(0x20, 8), 0x88_0001_0002n);
  t.strictSame([b.read(0x10, 1), b.read(0x10, 2)], [0n, 0n], 'headers take 4 and 8 bytes');
  t.strictSame([b.read(0x8a8, 1), b.read(0x8a8, 2), b.read(0x8a9, 1)], [0x14n, 0x14n, 0n]);
  t.equal(b.read(0x8b0, 8), 0n);
});

t.test('only control, command and payload are writable', async (t) => {
  const b = Type3Bench.configA(t);
  for (const at of [0x0, 0x80, AT, AT + 0x10, AT + 0x18, 0x8a8])
    for (const size of [4, 8] as const) {
      const before = b.read(at, size);
      b.write(at, size, at === AT && size === 8 ? 0xffffffffn : 2n ** BigInt(8 * size) - 1n);
      t.equal(b.read(at, size), before, `${at.toString(16)}, ${String(size)}`);
    }
  b.write(AT + 4, 1, 6n);
  b.write(AT + 4, 2, 6n);
  b.write(AT + 8, 2, 6n);
  t.strictSame([b.read(AT + 4, 4), b.read(AT + 8, 8)], [0n, 0n], 'smaller writes are ignored');
  b.write(AT + 4, 4, 0xfffffffen);
  t.equal(b.read(AT + 4, 4), 6n);
  b.write(0x8a7, 1, 0xabn);
  t.equal(b.read(0x8a0, 8), 0xabn << 56n);
});

t.test('lengths: fixed input, the payload itself and one past it', async (t) => {
  const b = Type3Bench.configA(t);
  t.equal(b.run(0x4800, '00').code, 0x16);
  t.equal(b.run(0x4800, '00 00 00').code, 0x16);
  t.equal(b.run(0x1234).code, 3);
  t.equal(b.run(0x0101, new Uint8Array(2048)).code, 0);
  b.write(AT + 8, 8, 0x0101n | (2049n << 16n));
  b.write(AT + 4, 4, 1n);
  t.equal((b.mailbox('STATUS') >> 32n) & 0xffffn, 0x16n);
  b.write(AT + 8, 8, 0x0101n | (0xfffffn << 16n));
  b.write(AT + 4, 4, 1n);
  t.equal((b.mailbox('STATUS') >> 32n) & 0xffffn, 0x16n);
  t.equal(b.mailbox('CTRL'), 0n, 'the doorbell is clear again');
});

t.test('V10: background operation, abort, completion', async (t) => {
  const b = Type3Bench.configA(t);
  b.enableMsix();
  t.equal(b.run(0x0005).code, 0x20, 'nothing ran yet');
  t.equal(b.run(0x4400).code, 1);
  t.equal(b.mailbox('STATUS'), 0x1_0000_0001n);
  t.equal(b.mailbox('BACKGROUND'), 0x4400n);
  t.equal(b.read(0x8a8, 8), 0x1cn);
  t.equal(b.run(0x4400).code, 6);
  t.equal(b.run(0x0202, '00 02').code, 6);
  t.equal(b.run(0x0100, '00').code, 7, 'the media is disabled');
  t.equal(b.run(0x0300).code, 0);
  seconds(b, 1);
  t.equal(b.mailbox('BACKGROUND'), 0x19_4400n, '25 %');
  t.equal(b.run(0x0005).code, 0);
  t.equal(b.mailbox('BACKGROUND'), 0x12_0019_4400n);
  t.equal(b.mailbox('STATUS') & 1n, 0n);
  t.equal(b.read(0x8a8, 8), 0x1cn, 'what was begun must be done');
  b.write(AT + 4, 4, 4n);
  t.equal(b.run(0x4400).code, 1);
  t.strictSame(b.messages(), []);
  seconds(b, 4);
  t.equal(b.mailbox('BACKGROUND'), 0x64_4400n);
  t.equal(b.mailbox('STATUS') & 1n, 0n);
  t.equal(b.read(0x8a8, 8), 0x14n);
  t.strictSame(b.messages(), [7]);
});

t.test('the background interrupt comes only when it is asked for', async (t) => {
  const b = Type3Bench.configA(t);
  b.enableMsix();
  b.run(0x4400);
  seconds(b, 4);
  t.strictSame(b.messages(), []);
});

t.test('an abort that comes too late finishes; reset forgets the operation', async (t) => {
  const b = Type3Bench.started(t, {
    'volatile-memdev': new SparseBackend('vol', 1024n * MiB),
  });
  t.equal(b.run(0x4400).code, 1);
  seconds(b, 7);
  t.equal(b.mailbox('BACKGROUND'), 0x57_4400n, '87 %');
  t.equal(b.run(0x0005).code, 0);
  seconds(b, 1);
  t.equal(b.mailbox('BACKGROUND'), 0x64_4400n);
  b.run(0x4400);
  b.device.reset('warm');
  b.device.pci.writeConfig(4, 2, 6);
  t.equal(b.mailbox('BACKGROUND'), 0n);
  t.equal(b.read(0x8a8, 8), 0x14n);
  seconds(b, 20);
  t.equal(b.mailbox('BACKGROUND'), 0n);
});

t.test('sanitize zeroes static memory and labels and drops records', async (t) => {
  const [vol, lsa] = [new SparseBackend('vol', 512n * MiB), new SparseBackend('lsa', MiB)];
  const pmem = new SparseBackend('pmem', 256n * MiB);
  const b = Type3Bench.started(t, { 'volatile-memdev': vol, 'persistent-memdev': pmem, lsa });
  for (const { memory } of [vol, pmem, lsa]) memory.writeInt(4096n, 8, 0x1234n);
  b.state.logs.append(0, new Uint8Array(128));
  t.equal(b.read(0x80, 8), 1n);
  b.run(0x4400);
  const bytes = new Uint8Array(64);
  t.equal(b.device.readDpa(0n as never, bytes), 'media-disabled');
  t.not(Buffer.from(bytes).toString('hex'), '00'.repeat(64), 'random bytes');
  t.equal(b.device.writeDpa(0n as never, bytes), 'media-disabled');
  seconds(b, 8);
  t.equal(b.read(0x80, 8), 0n);
  for (const { memory } of [vol, pmem, lsa]) t.equal(memory.readInt(4096n, 8), 0n);
  t.equal(b.device.readDpa(4096n as never, bytes), undefined);
});

t.test('a running operation is saved and goes on where it was', async (t) => {
  const b = Type3Bench.configA(t);
  b.run(0x4400);
  seconds(b, 1);
  const other = Type3Bench.configA(t);
  seconds(other, 100);
  other.device.load(b.device.save());
  t.equal(other.mailbox('BACKGROUND'), 0x19_4400n);
  t.strictSame(other.device.save(), b.device.save());
  seconds(other, 3);
  t.equal(other.mailbox('BACKGROUND'), 0x64_4400n);
  t.equal(other.read(0x8a8, 8), 0x14n);
});

t.test('V11: interrupts and clearing', async (t) => {
  const b = Type3Bench.configA(t);
  b.enableMsix();
  t.equal(b.text(0x0102), '0000000000');
  t.equal(b.run(0x0103, '01 01 01 01 01').code, 0);
  t.equal(b.text(0x0102), '2131415101');
  t.equal(b.run(0x0103, '01 01 01').code, 0x16);
  b.add([0, 2]);
  t.strictSame(b.messages(), [2]);
  b.add([4, 2]);
  t.strictSame(b.messages(), [], 'the log was not empty');
  b.state.logs.append(1, new Uint8Array(128));
  t.strictSame(b.messages(), [3], 'only the log that got its first record');
  t.equal(b.clear(4, 2, 1), 0xe);
  t.equal(b.clear(4, 0), 0xe);
  t.equal(b.records().list.length, 2, 'nothing cleared');
  t.equal(b.clear(4, 1, 2, 3), 0, 'more handles than records');
  t.equal(b.read(0x80, 8), 2n);
  t.equal(b.run(0x0103, '00 00 00 00').code, 0);
  t.equal(b.text(0x0102), '0000000001', 'four bytes leave dynamic capacity as it is');
  t.equal(b.run(0x0100, '05').code, 2);
  t.equal(b.run(0x0101, '05 00 00 00 00 00').code, 2);
  t.equal(b.run(0x0101, '04 00 01 00 00 00').code, 0x16);
});

t.test('a full log loses records, counts them, and clears them all at once', async (t) => {
  const b = Type3Bench.configA(t);
  b.run(0x0301, '00e40b5402000000');
  for (let i = 0; i < 8; i++) b.state.logs.append(2, new Uint8Array(128));
  t.strictSame([b.records(2).list.length, b.records(2).overflow], [8, 0]);
  t.equal(b.run(0x0101, '02 01 01 00 00 00 01 00').code, 2, 'all, and one, without overflow');
  b.clock.step(5n);
  b.state.logs.append(2, new Uint8Array(128));
  b.clock.step(2n);
  b.state.logs.append(2, new Uint8Array(128));
  const view = viewOf(b.run(0x0100, '02').output);
  t.equal(view.getUint8(0), 1);
  t.equal(view.getUint16(2, true), 2);
  t.strictSame(
    [view.getBigUint64(4, true), view.getBigUint64(12, true)],
    [10n * SECOND + 5n, 10n * SECOND + 7n],
  );
  t.equal(view.getBigUint64(32 + 24, true), 10n * SECOND, 'the records carry device time');
  t.equal(b.run(0x0101, '02 01 00 00 00 00').code, 0);
  t.equal(b.read(0x80, 8), 0n);
  t.equal(b.records(2).overflow, 0);
  b.state.logs.append(2, new Uint8Array(128));
  t.equal(b.records(2).list[0]?.handle, 9);
});

t.test('handles skip 0 when they wrap', async (t) => {
  const b = Type3Bench.configA(t);
  const { logs } = b.state;
  const saved = logs.save() as { nextHandle: number }[];
  logs.prepareLoad(saved.map((log) => ({ ...log, nextHandle: 0xffff })))();
  for (let i = 0; i < 3; i++) logs.append(0, new Uint8Array(128));
  t.strictSame(
    b.records(0).list.map(({ handle }) => handle),
    [0xffff, 1, 2],
  );
});

t.test('records that wait for the log are limited', async (t) => {
  const b = Type3Bench.configB(t);
  b.add([0, 2]);
  b.respond([0, 2]);
  const request = { hostId: 0, policy: 'prescriptive' as const, forced: false, sanitize: false };
  const extents = [{ offset: 0n, len: 2n * MiB }];
  const release = (): void => b.manager.release({ ...request, region: 0, extents });
  for (let i = 1; i < 8 + 4096; i++) release();
  t.throws(release, {
    message: '1 more event records exceed the 4096 that may wait for the host to read the log',
  });
  b.clear(4, 1);
  release();
  t.throws(release);
});

t.test('a driver finds the mailbox by the register locator and the capability array', async (t) => {
  for (const sn of [undefined, 0x1234n]) {
    const b = Type3Bench.started(t, {
      'volatile-memdev': new SparseBackend('vol', 256n * MiB),
      ...(sn === undefined ? {} : { sn }),
    });
    b.device.pci.writeConfig(4, 2, 0);
    const access = new FunctionAccess(b.device.pci, {
      name: 'd0',
      messages: new MessageReceiver(),
    });
    let resets = 0;
    const mailbox = new MailboxAccess(access, () => resets++);
    const { code, output } = await mailbox.run(0x0400, new Uint8Array(0));
    t.equal(code, 0);
    t.equal(output.length, 28);
    await mailbox.run(0x0301, hex('0100000000000000'));
    t.equal(resets, 1, 'the function did not decode at first, then it does');
  }
});

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { memoryCdat, readCdatFile, switchCdat, type Cdat } from '../../../devices/cxl/cdat.js';
import { Doe } from '../../../devices/cxl/doe.js';
import { NativeHostMemory } from '../../../server/os/host-memory.js';
import { NativeLoader } from '../../../server/os/native.js';
import { fakeFunction, fakeLog, fakeRoot } from '../../support/pci.js';

const host = new NativeHostMemory(new NativeLoader());
const MiB = 1n << 20n;
const AT = 0x100;
const [CONTROL, STATUS, WRITE, READ] = [AT + 0x08, AT + 0x0c, AT + 0x10, AT + 0x14];
const GO = 0x8000_0000;
const READY = 0x8000_0000;
const [ABORT, ERROR] = [1, 4];
const CDAT = 0x0002_1e98;

/** Two dynamic regions of 256 MiB. */
const regions = memoryCdat(
  [0n, 1n].map((i) => ({
    ...{ handle: Number(i), base: i * 256n * MiB, size: 256n * MiB },
    ...{ nonVolatile: false, dynamic: true },
  })),
);

const mailbox = (cdat: () => Cdat = () => regions) => {
  const fn = fakeFunction();
  const messages: number[] = [];
  const doe = new Doe(fn, { vector: 3, interrupt: (vector) => void messages.push(vector), cdat });
  fakeRoot().bus.attach(fn, 8);
  const status = (): number => fn.readConfig(STATUS, 4);
  const request = (...dwords: readonly number[]): void => {
    for (const dword of dwords) fn.writeConfig(WRITE, 4, dword);
    fn.writeConfig(CONTROL, 4, GO | (fn.readConfig(CONTROL, 4) & 2));
  };
  const answer = (): number[] => {
    const found: number[] = [];
    while ((status() & READY) !== 0 && found.length < 100) {
      found.push(fn.readConfig(READ, 4));
      fn.writeConfig(READ, 4, 0);
    }
    return found;
  };
  return { fn, doe, status, request, answer, messages };
};

t.test('discovery lists the two protocols', async (t) => {
  const { request, answer, fn } = mailbox();
  t.equal(fn.readConfig(AT, 4), 0x0001_002e);
  t.equal(fn.readConfig(AT + 4, 4), 0x7, 'interrupts, by message 3');
  const rows = [0, 1, 2, 0xff].map((index) => {
    request(1, 3, index);
    return answer()[2];
  });
  t.strictSame(rows, [0x0100_0001, 0x0002_1e98, 0x00ff_ffff, 0x00ff_ffff]);
});

t.test('a table is read entry by entry, to the handle FFFFh', async (t) => {
  const { request, answer, status } = mailbox();
  const bytes: number[] = [];
  let handle = 0;
  let entries = 0;
  while (handle !== 0xffff) {
    request(CDAT, 3, handle * 0x1_0000);
    const [object, length, head = 0, ...body] = answer();
    t.equal(object, CDAT);
    t.equal(length, 3 + body.length);
    t.equal(head & 0xffff, 0);
    handle = head >>> 16;
    entries++;
    for (const dword of body) bytes.push(...[0, 8, 16, 24].map((bit) => (dword >>> bit) & 0xff));
  }
  t.equal(entries, 13);
  const header = '3001000002d500000000000000000000';
  t.equal(Buffer.from(bytes.slice(0, 16)).toString('hex'), header, 'reference/cxl.md §2.3');
  t.equal(bytes.reduce((sum, byte) => sum + byte, 0) % 256, 0);
  t.equal(bytes.length, 0x130);
  t.equal(status(), 0);
});

t.test('a handle beyond the table is an error, which abort clears', async (t) => {
  const { request, answer, status, fn } = mailbox();
  request(CDAT, 3, 13 * 0x1_0000);
  t.equal(status(), ERROR);
  request(1, 3, 0);
  t.equal(status(), ERROR, 'nothing runs before the abort');
  fn.writeConfig(CONTROL, 4, ABORT);
  t.equal(status(), 0);
  request(CDAT, 3, 12 * 0x1_0000);
  t.equal((answer()[2] ?? 0) >>> 16, 0xffff, 'the last one works');
});

t.test('what is not a request is silently discarded', async (t) => {
  const { request, status } = mailbox();
  for (const dwords of [[1, 4, 0], [1, 2, 0], [1, 3], [], [0x1234, 3, 0], [1, 3, 0, 0]]) {
    request(...dwords);
    t.equal(status(), 0, dwords.join(','));
  }
});

t.test('reading past the end is an error', async (t) => {
  const { fn, request, answer, status } = mailbox();
  fn.writeConfig(READ, 4, 0);
  t.equal(status(), ERROR);
  fn.writeConfig(CONTROL, 4, ABORT);
  request(1, 3, 0);
  answer();
  t.equal(status(), 0, 'the last dword is none');
});

t.test('interrupts: one message until software has seen it', async (t) => {
  const { fn, request, messages, answer, status } = mailbox();
  request(1, 3, 0);
  answer();
  t.strictSame(messages, [], 'not enabled');
  fn.writeConfig(CONTROL, 4, 2);
  request(1, 3, 0);
  answer();
  request(1, 3, 0);
  t.strictSame(messages, [3]);
  t.equal(status() & 2, 2);
  fn.writeConfig(STATUS, 4, 2);
  t.equal(status() & 2, 0);
  answer();
  request(1, 3, 0);
  t.strictSame(messages, [3, 3]);
});

t.test(
  'partial accesses of the mailboxes do nothing; registers read 0 where they must',
  async (t) => {
    const { fn, status } = mailbox();
    fn.writeConfig(WRITE, 2, 1);
    fn.writeConfig(READ, 1, 1);
    t.equal(status(), 0);
    t.equal(fn.readConfig(WRITE, 4), 0);
    fn.writeConfig(CONTROL, 4, 0xffff_fffe);
    t.equal(fn.readConfig(CONTROL, 4), 2, 'go reads 0');
  },
);

t.test('the longest object fits, one dword more is an error', async (t) => {
  const { fn, status } = mailbox();
  for (let i = 0; i < 2 ** 18; i++) fn.writeConfig(WRITE, 4, 0);
  t.equal(status(), 0);
  fn.writeConfig(WRITE, 4, 0);
  t.equal(status(), ERROR);
});

t.test('a saved mailbox goes on where it was; reset forgets', async (t) => {
  const one = mailbox();
  one.request(CDAT, 3, 0);
  one.fn.writeConfig(READ, 4, 0);
  const saved = one.fn.save();
  const other = mailbox();
  other.fn.load(saved);
  t.strictSame(other.answer(), one.answer());
  one.request(CDAT, 3, 0);
  one.fn.reset();
  t.equal(one.status(), 0);
  t.throws(() => other.fn.load({ ...saved, parts: { doe: { request: 'x' } } }), {
    message: 'saved DOE mailbox.request must be a list of 0 to 3',
  });
});

t.test('a switch describes its ports', async (t) => {
  const { entries } = switchCdat([3, 7]);
  t.equal(entries.length, 3);
  t.equal(
    Buffer.from(entries[1] ?? []).toString('hex'),
    '05002000' + '00000000' + '1027000000000000' + '000103000f000000' + '000107000f000000',
  );
  t.equal(
    Buffer.from(entries[2] ?? [])
      .toString('hex')
      .slice(8, 32),
    '03000000' + '0004000000000000',
  );
});

t.test('tables from files (§1.6)', async (t) => {
  const dir = t.testdir();
  const file = (name: string, bytes: Uint8Array): string => {
    const path = join(dir, name);
    writeFileSync(path, bytes);
    return path;
  };
  const whole = Uint8Array.from(Buffer.concat(regions.entries));
  const warnings: string[] = [];
  const load = (path: string): Cdat => readCdatFile(path, host, fakeLog(warnings));
  t.strictSame(
    load(file('good', whole)).entries.map(({ length }) => length),
    [16, ...Array.from({ length: 12 }, () => 24)],
  );
  t.strictSame(warnings, []);
  load(file('sum', whole.with(5, 0)));
  t.strictSame(warnings, ['checksum of the CDAT file is wrong']);
  const missing = join(dir, 'none');
  t.throws(() => load(missing), {
    message: `CDAT: File read failed: Failed to open file “${missing}”: No such file or directory`,
  });
  t.throws(() => load(file('short', whole.slice(0, 15))), { message: 'CDAT: File too short' });
  t.throws(() => load(file('cut', whole.slice(0, 50))), { message: 'CDAT: Truncated table' });
  t.throws(() => load(file('stub', whole.slice(0, 42))), { message: 'CDAT: Truncated table' });
  t.throws(() => load(file('less', whole.slice(0, 40))), { message: 'CDAT: File length mismatch' });
  t.throws(() => load(file('type', whole.with(16, 6))), { message: 'Type 6 is reserved' });
});

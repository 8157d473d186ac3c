import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { privateFolder } from '../../support/daemon.js';
import { startGuest, Qtest } from '../../support/qtest.js';

const Q35 = ['-M', 'q35', '-nodefaults'];

t.test('requests and replies, byte by byte (reference §10.2)', async (t) => {
  const { qtest } = await startGuest(t, Q35);
  for (const [request, reply] of [
    ['endianness', 'OK little'],
    ['endianness and more words', 'OK little'],
    // Ports: at least four digits.
    ['inb 0x1234', 'OK 0x00ff'],
    ['inw 0x1234', 'OK 0xffff'],
    ['inl 0x1234', 'OK 0xffffffff'],
    ['outl 0xcf8 0x80000000', 'OK'],
    ['inl 0xcf8', 'OK 0x80000000'],
    ['inl 3324', 'OK 0x29c08086'],
    // Memory: always sixteen.
    ['writeq 0x1000 0x1122334455667788', 'OK'],
    ['readq 0x1000', 'OK 0x1122334455667788'],
    ['readl 0x1000', 'OK 0x0000000055667788'],
    ['readw 010001', 'OK 0x0000000000006677'],
    ['readb 4096', 'OK 0x0000000000000088'],
    ['writeb 0x1000 0x1ff', 'OK'],
    ['readl 0x1000', 'OK 0x00000000556677ff'],
    ['writew 0x1000 -2', 'OK'],
    ['writel 0x1004 0x123456789', 'OK'],
    ['readq 0x1000', 'OK 0x234567895566fffe'],
    ['readb -1', 'OK 0x0000000000000000'],
    ['readl 0x1000 junk', 'OK 0x000000005566fffe'],
    // Bulk data.
    ['write 0x2000 4 0x0A0b0C0d', 'OK'],
    ['read 0x2000 5', 'OK 0x0a0b0c0d00'],
    ['write 0x2000 4 0x01', 'OK'],
    ['read 0x2000 4', 'OK 0x01000000'],
    ['write 0x2000 2 0xAB1', 'OK'],
    ['read 0x2000 2', 'OK 0xab00'],
    ['write 0x2000 2 0xzz11ff', 'OK'],
    ['read 0x2000 3', 'OK 0xff1100'],
    ['write 0x2000 2 0x', 'ERR invalid argument size'],
    ['write 0x2000 0 0x11', 'OK'],
    ['b64write 0x2000 3 AQID', 'OK'],
    ['b64read 0x2000 4', 'OK AQIDAA=='],
    ['b64write 0x2000 2 /////w==', 'OK'],
    ['b64write 0x2000 9 AQI=', 'OK'],
    ['read 0x2000 4', 'OK 0x01020300'],
    ['b64write 0x2000 3 A', 'ERR invalid argument size'],
    ['b64read 0x2000 0', 'OK '],
    ['memset 0x2000 3 0x1aa', 'OK'],
    ['memset 0x2001 0 1', 'OK'],
    ['read 0x2000 4', 'OK 0xaaaaaa00'],
    ['module_load a b', 'FAIL'],
    ['foo', "FAIL Unknown command 'foo'"],
    [' readb 0', "FAIL Unknown command ''"],
    // The clock belongs to the host.
    ['clock_step', "FAIL Unknown command 'clock_step'"],
    ['clock_set 5', "FAIL Unknown command 'clock_set'"],
  ] as const)
    t.equal(await qtest.ask(request), reply, request);
});

t.test('what cannot be run is answered FAIL and changes nothing', async (t) => {
  const { qtest } = await startGuest(t, Q35);
  for (const [request, reason] of [
    ['readl', 'readl: address is missing'],
    ['readl ', "readl: address '' is not a number"],
    ['readl  1', "readl: address '' is not a number"],
    ['readl 1 ', undefined],
    ['readl zz', "readl: address 'zz' is not a number"],
    ['readl 0x', "readl: address '0x' is not a number"],
    ['readl 08', "readl: address '08' is not a number"],
    ['readl -', "readl: address '-' is not a number"],
    ['readl 1\r', "readl: address '1?' is not a number"],
    [
      'readl 0x10000000000000000',
      "readl: address '0x10000000000000000' is not a number of 64 bits",
    ],
    ['readl 0xffffffffffffffff', undefined],
    ['writel 0x1000', 'writel: value is missing'],
    ['inb 0x10000', 'inb: port 0x10000 is above 0xffff'],
    ['outb 0x10000 1', 'outb: port 0x10000 is above 0xffff'],
    ['outb 0x80', 'outb: value is missing'],
    ['read 0x1000', 'read: length is missing'],
    ['read 0x1000 0', 'read: length 0 is below 1'],
    ['write 0x1000 4', 'write: data is missing'],
    ['memset 0x1000 4', 'memset: value is missing'],
    ['module_load a', 'module_load: name is missing'],
    ['irq_intercept_in', 'irq_intercept_in: path is missing'],
    [`${'x'.repeat(50)} 1`, `Unknown command '${'x'.repeat(40)}...'`],
    ['\u0000\u00ff', "Unknown command '??'"],
  ] as const) {
    const reply = await qtest.ask(request);
    if (reason === undefined) t.match(reply, /^OK /, request);
    else t.equal(reply, `FAIL ${reason}`, request);
  }
  qtest.send('\n\n');
  t.equal(await qtest.ask('read 0x1000 4'), 'OK 0x00000000', 'empty lines are no requests');
});

t.test('limits: at the edge, and one past it', async (t) => {
  const { qtest } = await startGuest(t, [
    ...Q35,
    ...['--limit', 'qtest-line-bytes=64', '--limit', 'qtest-access-bytes=16'],
  ]);
  const line = (length: number): string => `endianness ${'x'.repeat(length - 11)}`;
  t.equal(await qtest.ask(line(64)), 'OK little');
  const tooLong = 'FAIL line longer than 64 bytes (--limit qtest-line-bytes)';
  t.equal(await qtest.ask(line(65)), tooLong);
  for (const byte of line(64)) qtest.send(byte);
  t.equal(await qtest.ask(''), 'OK little', 'byte by byte');
  for (const byte of line(65)) qtest.send(byte);
  t.equal(await qtest.ask('more'), tooLong);
  t.equal(await qtest.ask('readb 0'), 'OK 0x0000000000000000', 'and the next line is as good');
  t.equal(await qtest.ask('read 0x1000 16'), `OK 0x${'00'.repeat(16)}`);
  const reason = 'length 17 is above 16 (--limit qtest-access-bytes)';
  for (const request of ['read 0 17', 'b64read 0 17', 'write 0 17 0x11', 'memset 0 17 1'])
    t.equal(await qtest.ask(request), `FAIL ${request.split(' ')[0] ?? ''}: ${reason}`);
  t.equal(await qtest.ask('memset 0x1000 16 0xff'), 'OK');
  t.equal(await qtest.ask('b64read 0x100f 2'), 'OK /wA=');
});

t.test('as many clients as --limit clients says, each with its own requests', async (t) => {
  const { qtest, qtestSocket } = await startGuest(t, [...Q35, '--limit', 'clients=2']);
  const second = await Qtest.connect(qtestSocket);
  t.teardown(() => second.close());
  t.equal(await qtest.ask('writel 0x1000 7'), 'OK');
  t.equal(await second.ask('readl 0x1000'), 'OK 0x0000000000000007');
  const third = await Qtest.connect(qtestSocket);
  t.teardown(() => third.close());
  t.equal(await third.reply(), 'FAIL there are 2 qtest clients already, the limit');
  await third.closed();
  second.close();
  t.equal(await qtest.ask('endianness'), 'OK little');
});

t.test(
  'a client that does not read is not served, and gets everything once it reads',
  async (t) => {
    const { qtest, qtestSocket } = await startGuest(t, [...Q35, '--limit', 'reply-bytes=100000']);
    const slow = await Qtest.connect(qtestSocket);
    t.teardown(() => slow.close());
    slow.pause();
    const count = 200;
    for (let i = 0; i < count; i++) slow.send(`read 0 100000\nwritel 0x1000 ${String(i + 1)}\n`);
    let last = 0n;
    for (let same = 0; same < 20; same++) {
      const now = await qtest.value('readl 0x1000');
      if (now !== last) same = 0;
      last = now;
    }
    t.ok(last > 0n && last < BigInt(count), `it waits after ${String(last)} requests`);
    slow.resume();
    for (let i = 0; i < count; i++) {
      const bytes = await slow.reply();
      if (bytes.length !== 5 + 200_000) t.fail(`reply ${String(i)} has ${String(bytes.length)}`);
      if ((await slow.reply()) !== 'OK') t.fail('a write was not answered');
    }
    t.equal(await qtest.value('readl 0x1000'), BigInt(count));
  },
);

t.test('a client that ends its side gets what it asked for', async (t) => {
  const { qtestSocket } = await startGuest(t, Q35);
  const client = await Qtest.connect(qtestSocket);
  client.send('endianness\nread 0 70000\nendianness\nincomplete');
  client.end();
  t.equal(await client.reply(), 'OK little');
  t.equal((await client.reply()).length, 5 + 140_000);
  t.equal(await client.reply(), 'OK little');
  await client.closed();
});

t.test('-qtest-log records both directions', async (t) => {
  const path = join(privateFolder(t), 'qtest.log');
  const { qtest } = await startGuest(t, [...Q35, '-qtest-log', path]);
  await qtest.ask('endianness');
  await qtest.ask('foo bar');
  const lines = readFileSync(path, 'latin1').trimEnd().split('\n');
  const shape = lines.map((line) => line.replace(/[0-9]+\.[0-9]{6}/, 'T'));
  t.strictSame(shape, [
    '[I T] OPENED',
    '[R +T] endianness',
    '[S +T] OK little',
    '[R +T] foo bar',
    "[S +T] FAIL Unknown command 'foo'",
  ]);
});

import { once } from 'node:events';
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { eventually, privateFolder } from '../../support/daemon.js';
import { startGuest } from '../../support/qtest.js';
import { refereeMissing, startReferee } from '../../support/referee.js';

const PORT = ['-nodefaults', '-device', 'isa-serial,id=s0'];
const WITH_PORT = [...PORT.slice(0, 2), 'isa-serial,id=s0,chardev=c0'];

/** Reads of every register but that of received bytes, whose reads come where they are wanted. */
const LOOK = [1, 2, 3, 4, 5, 6, 7].map((register) => `inb ${String(0x3f8 + register)}`);
const out = (register: number, value: number): string =>
  `outb ${String(0x3f8 + register)} ${String(value)}`;
const TAKE = 'inb 0x3f8';
const LINE_STATUS = 'inb 0x3fd';

/** What software may do without a line: everything through loopback. */
const SCRIPT = [
  ...LOOK,
  ...[out(7, 0x5a), out(3, 0x83), out(0, 0x34), out(1, 0x12), 'inb 0x3f8', 'inb 0x3f9'],
  ...[out(3, 0x03), ...LOOK],
  ...[out(4, 0xff), ...LOOK, out(4, 0x10), ...LOOK, out(4, 0x1b)],
  ...[out(1, 0xff), ...LOOK, 'inb 0x3fa'],
  ...[out(1, 0x01), out(0, 0x41), ...LOOK, TAKE, ...LOOK],
  ...[out(0, 0x42), out(0, 0x43), ...LOOK, ...LOOK, TAKE, ...LOOK, TAKE],
  ...[out(1, 0x07), out(0, 0x44), 'inb 0x3fa', TAKE, 'inb 0x3fa', 'inb 0x3fa'],
  ...[out(2, 0x01), ...LOOK, ...[1, 2, 3, 4].map((byte) => out(0, byte)), ...LOOK],
  ...[TAKE, TAKE, TAKE, TAKE, TAKE, ...LOOK],
  ...Array.from({ length: 18 }, (_, byte) => out(0, byte + 0x60)),
  ...[...LOOK, ...Array.from({ length: 17 }, () => TAKE), ...LOOK],
  ...[out(0, 1), out(2, 0x03), ...LOOK, out(0, 2), out(2, 0x00), ...LOOK],
  ...[out(4, 0x0b), out(1, 0x02), ...LOOK, ...LOOK],
];

t.test(
  'software sees the same port of QEMU and of qmemd',
  { skip: refereeMissing() },
  async (t) => {
    const theirs = await startReferee(t, ['-M', 'pc', '-S', ...PORT]);
    const { qtest } = await startGuest(t, ['-M', 'pc', ...PORT]);
    for (const [at, line] of SCRIPT.entries()) {
      const expected = await theirs.ask(line);
      const seen = await qtest.ask(line);
      const [, value = ''] = seen.split(' ');
      t.equal(value, expected, `${String(at)}: ${line}`);
    }
  },
);

t.test('bytes go both ways, with an interrupt', async (t) => {
  const path = join(privateFolder(t), 'serial');
  const server = createServer().listen(path);
  t.teardown(() => server.close());
  await once(server, 'listening');
  const came = once(server, 'connection') as Promise<[Socket]>;
  const { qtest, qmp } = await startGuest(t, [
    ...['-M', 'q35', ...WITH_PORT],
    ...['-chardev', `socket,id=c0,path=${path},server=off`],
  ]);
  const [peer] = await came;
  let sent = '';
  peer.on('data', (bytes) => (sent += bytes.toString('latin1')));
  t.teardown(() => peer.destroy());
  for (const char of 'login: ') await qtest.ask(out(0, char.charCodeAt(0)));
  await eventually('the peer has it', () => sent === 'login: ');

  const lineStatus = async (): Promise<number> =>
    Number((await qtest.ask(LINE_STATUS)).split(' ')[1]);
  await qmp.execute('device-state-set', { id: 's0', state: 'stop' });
  peer.write('!');
  for (let i = 0; i < 20; i++) t.equal((await lineStatus()) & 1, 0, 'a stopped port takes nothing');
  await qmp.execute('device-state-set', { id: 's0', state: 'running' });
  await eventually('it goes on', async () => ((await lineStatus()) & 1) === 1);
  t.equal(Number((await qtest.ask(TAKE)).split(' ')[1]), '!'.charCodeAt(0));

  await qtest.ask('irq_intercept_in ioapic');
  await qtest.ask(out(1, 1));
  const long = 'x'.repeat(40);
  peer.write(`r${long}`);
  await eventually('the line goes up', () => qtest.interrupts.includes('IRQ raise 4'));
  let taken = '';
  await eventually('all bytes come, a few at a time', async () => {
    while ((Number(await qtest.value('inb 0x3fd')) & 1) !== 0)
      taken += String.fromCharCode(Number(await qtest.value(TAKE)));
    return taken === `r${long}`;
  });
  t.equal(qtest.interrupts.at(-1), 'IRQ lower 4');

  t.match(await qmp.execute('query-chardev'), [{}, {}, { label: 'c0', 'frontend-open': true }]);
  const refused = { message: "Bus 'isa.0' does not support hotplugging" };
  await t.rejects(qmp.execute('device_del', { id: 's0' }), refused);
  await t.rejects(qmp.execute('device_add', { driver: 'isa-serial' }), refused);
});

t.test('a pseudo terminal is a console', async (t) => {
  const { qtest, qmp } = await startGuest(t, ['-M', 'pc', ...WITH_PORT, '-chardev', 'pty,id=c0']);
  const chardevs = (await qmp.execute('query-chardev')) as { label: string; filename: string }[];
  const name = chardevs.find(({ label }) => label === 'c0')?.filename ?? '';
  t.match(name, /^pty:\/dev\/pts\/\d+$/);
  const fd = openSync(name.slice('pty:'.length), constants.O_RDWR | constants.O_NOCTTY);
  t.teardown(() => closeSync(fd));
  await qtest.ask(out(0, 0x0a));
  const into = Buffer.alloc(8);
  t.equal(into.toString('latin1', 0, readSync(fd, into)), '\n', 'nothing is translated');
  writeSync(fd, 'q');
  await eventually('the byte comes', async () => Number(await qtest.value('inb 0x3fd')) === 0x61);
  t.equal(Number(await qtest.value(TAKE)), 'q'.charCodeAt(0));
  // Nobody reads: the terminal fills, and nothing waits for it.
  for (let i = 0; i < 6000; i++) await qtest.ask(out(0, 0x2e));
  t.equal(await qtest.ask('inb 0x3fd'), 'OK 0x0060');

  const added = await qmp.execute('chardev-add', { id: 'p1', backend: { type: 'pty', data: {} } });
  t.match(added, { pty: /^\/dev\/pts\/\d+$/ });
  t.strictSame(await qmp.execute('chardev-remove', { id: 'p1' }), {});
});

t.test('what cannot be', async (t) => {
  const words = (...devices: string[]) => devices.flatMap((device) => ['-device', device]);
  const cases: [string[], string][] = [
    [words('isa-serial,index=4'), 'Max. supported number of ISA serial ports is 4.'],
    [
      words(...Array.from({ length: 5 }, () => 'isa-serial')),
      'Max. supported number of ISA serial ports is 4.',
    ],
    [words('isa-serial,bus=pci.0'), "Device 'isa-serial' can't go on PCI bus"],
    [words('edu,bus=isa.0'), "Device 'edu' can't go on ISA bus"],
    [words('isa-serial,chardev=no'), "Property 'serial.chardev' can't find value 'no'"],
    [words('isa-serial,irq=16'), 'irq 16 of isa-serial is not one of the 16 of the bus'],
    [words('isa-serial,iobase=0xfff9'), 'iobase 65529 of isa-serial is not below 65529'],
  ];
  for (const [given, text] of cases)
    await t.rejects(startGuest(t, ['-M', 'pc', ...given]), { message: new RegExp(escaped(text)) });
  await t.rejects(startGuest(t, ['-M', 'none', ...words('isa-serial')]), {
    message: /No 'ISA' bus found for device 'isa-serial'/,
  });
});

const escaped = (text: string): string => text.replaceAll(/[.()]/g, '\\$&');

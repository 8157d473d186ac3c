import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { privateFolder, spawnDaemon } from '../../support/daemon.js';
import { listenOnce, Qtest } from '../../support/qtest.js';

/** Under this name test libraries find it: `-system-` in it, the architecture at its end. */
const LAUNCHER = new URL('../../../bin/qmemd-system-x86_64', import.meta.url).pathname;

/** Lines of JSON that arrive on a socket. */
const linesOf = (socket: Socket): (() => Promise<Record<string, unknown>>) => {
  const lines: string[] = [];
  let partial = '';
  socket.setEncoding('utf8').on('data', (text: string) => {
    const parts = (partial + text).split('\n');
    partial = parts.pop() ?? '';
    lines.push(...parts);
    socket.emit('lines');
  });
  return async () => {
    while (lines.length === 0) await once(socket, 'lines');
    return JSON.parse(lines.shift() ?? '') as Record<string, unknown>;
  };
};

t.test('the start-up contract of libqtest (reference §10.3)', async (t) => {
  const folder = privateFolder(t);
  const [qtestPath, qmpPath] = [join(folder, 'qtest-1.sock'), join(folder, 'qtest-1.qmp')];
  const qtestSide = await listenOnce(t, qtestPath);
  const qmpSide = await listenOnce(t, qmpPath);
  const command = [
    ...[`exec ${LAUNCHER} -qtest unix:${qtestPath} -qtest-log /dev/null`],
    ...[`-chardev socket,path=${qmpPath},id=char0 -mon chardev=char0,mode=control`],
    ...['-display none -audio none -run-with exit-with-parent=on'],
    ...[`-M pc -device "{'driver': 'pci-bridge', 'chassis_nr': 1}" -accel qtest`],
  ].join(' ');
  const child = spawn('/bin/sh', ['-c', command], { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const exit = once(child, 'close');
  t.teardown(async () => {
    if (child.exitCode === null) child.kill('SIGKILL');
    await exit;
  });
  const qtest = new Qtest(await qtestSide.client);
  const qmp = await qmpSide.client;
  const next = linesOf(qmp);
  t.match(await next(), { QMP: { version: {} } }, 'the greeting');
  qmp.write("{ 'execute': 'qmp_capabilities' }\n");
  t.strictSame(await next(), { return: {} });
  t.equal(await qtest.ask('endianness'), 'OK little');
  qmp.write("{ 'execute': 'qom-list-types', 'arguments': { 'implements': 'accel' } }\n");
  t.match(JSON.stringify(await next()), /"qtest-accel"/);
  t.equal(await qtest.ask('irq_intercept_in ioapic'), 'OK');
  t.equal(await qtest.ask('clock_step 5'), 'OK 5');
  // The I/O part of libqos: RAM size, then a scan of bus 0.
  t.equal(await qtest.ask('outw 0x510 0x3'), 'OK');
  const size = [];
  for (let i = 0; i < 8; i++) size.push(await qtest.value('inb 0x511'));
  t.strictSame(size, [0n, 0n, 0n, 8n, 0n, 0n, 0n, 0n], '128 MiB');
  const found: string[] = [];
  for (let slot = 0; slot < 32; slot++) {
    await qtest.ask(`outl 0xcf8 ${String(2 ** 31 + slot * 2048)}`);
    if ((await qtest.ask('inw 0xcfc')) !== 'OK 0xffff') found.push(String(slot));
  }
  t.strictSame(found, ['0', '1', '2', '3', '4'], 'the first device of a test is in slot 4');
  child.kill('SIGTERM');
  const [code] = (await exit) as [number | null];
  t.equal(code, 0, 'the launcher is replaced, so that its signal is ours');
  t.equal(stderr, '');
  t.ok(existsSync(qtestPath), 'the sockets belong to the test');
});

t.test('the launcher of another place, by a link', async (t) => {
  const link = join(privateFolder(t), 'qemu-system-x86_64');
  const { symlinkSync } = await import('node:fs');
  symlinkSync(LAUNCHER, link);
  const child = spawn(link, ['-version'], { stdio: 'pipe' });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number];
  t.equal(code, 0);
  t.match(text, /^qmemd version /);
});

t.test('what cannot be opened ends the start with one line', async (t) => {
  const folder = privateFolder(t);
  for (const [words, message] of [
    [['-qtest', `unix:${join(folder, 'nobody')}`], /nobody.*: No such file or directory/],
    [
      ['-qtest', 'unix:/tmp/q,server=on,wait=off', '-qtest-log', join(folder, 'no', 'log')],
      /-qtest-log .*no\/log: Failed to open '.*no\/log': No such file or directory/,
    ],
    [['-qtest', 'nothing'], /-qtest nothing: 'nothing' is not a valid char driver/],
  ] as const) {
    const { exit, stderr } = spawnDaemon(t, ['-M', 'none', ...words]);
    t.equal(await exit, 1, words.join(' '));
    t.match(stderr(), message);
    t.equal(stderr().trimEnd().split('\n').length, 1, 'one line');
  }
});

t.test('on standard input and output', async (t) => {
  const { child, stdout, exit } = spawnDaemon(t, ['-M', 'none', '-m', '1M', '-qtest', 'stdio']);
  child.stdin?.end('endianness\nwriteb 5 7\nread 4 3\n');
  while (!/\n.*\n.*\n/.test(stdout())) await once(child.stdout ?? child, 'data');
  t.equal(stdout(), 'OK little\nOK\nOK 0x000700\n');
  child.kill('SIGTERM');
  t.equal(await exit, 0);
});

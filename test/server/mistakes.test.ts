import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { connectWhenUp, privateFolder, spawnDaemon, startDaemon } from '../support/daemon.js';

/** Runs the program until it exits. */
const attempt = async (
  t: Parameters<typeof spawnDaemon>[0],
  words: readonly string[],
): Promise<{ status: number; stderr: string }> => {
  const daemon = spawnDaemon(t, words);
  const status = await daemon.exit;
  return { status, stderr: daemon.stderr() };
};

t.test('a mistake on the command line is one line on stderr and exit status 1', async (t) => {
  const folder = privateFolder(t);
  writeFileSync(join(folder, 'tiny'), 'x'.repeat(100));
  const mdev = 'dynamic-mdevice,id=d';
  for (const [words, stderr] of [
    [['-foo'], /^qmemd: -foo: invalid option\n$/],
    [['-M', 'nosuch'], /^qmemd: -M nosuch: .*nosuch.*\n$/],
    [['-device', 'nosuch'], /^qmemd: -device nosuch: 'nosuch' is not a valid device model name\n$/],
    [['-device', mdev], /^qmemd: -device \S+: mem-path property not set\n$/],
    [
      ['-device', `${mdev},mem-path=/nonexistent/x`],
      /can't open backing store \/nonexistent\/x for guest RAM: No such file or directory\n$/,
    ],
    [['-device', `${mdev},mem-path=${folder}`], /^qmemd: -device .*\n$/],
    [['-device', `${mdev},mem-path=${folder}/tiny,size=0`], /size must be a power of two\n$/],
    [
      ['-device', `${mdev},mem-path=${folder}/tiny,align=3`],
      /alignment 0x3 must be multiples of page size 0x1000\n$/,
    ],
    [
      ['-object', 'memory-backend-ram,id=m,size=0'],
      /property 'size' of memory-backend-ram doesn't take value '0'\n$/,
    ],
    [['--listen', '0.0.0.0:0'], /^qmemd: --listen 0\.0\.0\.0:0: .*loopback/],
    [['--limit', 'nosuch=1'], /nosuch/],
    [['--log-level', 'loud'], /loud/],
  ] as const)
    t.test(words.join(' '), async (t) => {
      const result = await attempt(t, ['-nodefaults', ...words]);
      t.equal(result.status, 1);
      t.match(result.stderr, stderr);
      t.equal(result.stderr.trimEnd().split('\n').length, 1, 'one line, no stack trace');
    });
});

t.test('what cannot be opened is told with the option as typed', async (t) => {
  const listening = 'unix:/nope/x,server=on,wait=off';
  const chardev = 'socket,id=a,path=/nope/x';
  const [bind, connect] = ['Failed to bind socket to', 'Failed to connect to'];
  for (const [words, message] of [
    [['-qmp', listening], `-qmp ${listening}: ${bind} /nope/x: No such file or directory`],
    [
      ['--qmp-pretty', listening],
      `--qmp-pretty ${listening}: ${bind} /nope/x: No such file or directory`,
    ],
    [['-qtest', listening], `-qtest ${listening}: ${bind} /nope/x: No such file or directory`],
    [
      ['-qmp', 'unix:/nope/x'],
      `-qmp unix:/nope/x: ${connect} '/nope/x': No such file or directory`,
    ],
    [
      ['-chardev', chardev, '-mon', 'a,mode=control'],
      `-chardev ${chardev}: ${connect} '/nope/x': No such file or directory`,
    ],
    [
      [
        '-chardev',
        'socket,id=compat_monitor0,path=/tmp/x,server=on,wait=off',
        '-mon',
        'compat_monitor0,mode=control',
      ],
      /^-qmp unix:\S+,server=on,wait=off: Chardev with id 'compat_monitor0' already exists$/,
    ],
  ] as const)
    await t.rejects(startDaemon(t, ['-M', 'none', ...words]), { message }, String(message));
});

t.test('a socket in use is refused, a stale one is replaced', async (t) => {
  const folder = privateFolder(t);
  const socket = join(folder, 'qmp.sock');
  const words = ['-nodefaults', '-M', 'none', '-qmp', `unix:${socket},server=on,wait=off`];
  const first = spawnDaemon(t, words);
  (await connectWhenUp(socket)).close();
  t.equal(statSync(socket).mode & 0o777, 0o600);
  const second = await attempt(t, words);
  t.equal(second.status, 1);
  t.match(second.stderr, /Address already in use/);
  (await connectWhenUp(socket)).close();
  first.child.kill('SIGKILL');
  await first.exit;
  t.equal(existsSync(socket), true, 'a killed daemon leaves its socket');
  const third = spawnDaemon(t, words);
  const qmp = await connectWhenUp(socket);
  t.match(await qmp.execute('query-status'), { status: 'running' });
  third.child.kill('SIGTERM');
  t.match(await qmp.event('SHUTDOWN'), { data: { guest: false, reason: 'host-signal' } });
  t.equal(await third.exit, 0);
  t.equal(existsSync(socket), false);
});

t.test('a port in use is one clear line', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => taken.once('listening', resolve));
  t.teardown(() => taken.close());
  const { port } = taken.address() as { port: number };
  const result = await attempt(t, ['-M', 'none', '--listen', `127.0.0.1:${String(port)}`]);
  t.equal(result.status, 1);
  t.match(result.stderr, /in use/);
});

t.test('a backend that finds shared memory full is refused, and leaves no file', async (t) => {
  const folder = privateFolder(t);
  const small = join(folder, 'small');
  mkdirSync(small);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small], { stdio: 'ignore' });
  } catch {
    t.comment('skipped: mounting a small tmpfs needs privileges that are not there');
    return;
  }
  t.teardown(() => execFileSync('umount', [small]));
  const { qmp } = await startDaemon(t, ['-M', 'none']);
  const add = qmp.execute('object-add', {
    'qom-type': 'memory-backend-file',
    id: 'm',
    'mem-path': join(small, 'mem'),
    size: 16n << 20n,
    share: true,
    prealloc: true,
  });
  await t.rejects(add, { message: /No space left on device|Cannot allocate memory/ });
  t.strictSame(readdirSync(small), []);
  t.strictSame(await qmp.execute('query-memdev'), []);
});

t.test('writes into a full shared memory are lost, the daemon is not', async (t) => {
  const folder = privateFolder(t);
  const small = join(folder, 'small');
  mkdirSync(small);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small], { stdio: 'ignore' });
  } catch {
    t.comment('skipped: mounting a small tmpfs needs privileges that are not there');
    return;
  }
  t.teardown(() => execFileSync('umount', [small]));
  const path = join(small, 'mem');
  execFileSync('truncate', ['-s', '8M', path]);
  const { qmp } = await startDaemon(t, [
    '-M',
    'pc',
    '-device',
    `dynamic-mdevice,id=d,size=64M,align=4K,mem-path=${path}`,
  ]);
  await qmp.execute('mem-attach', { id: 'd', size: 8n << 20n, offset: 0n });
  const data = Buffer.alloc(4 << 20, 0x5a).toString('base64');
  await qmp.execute('guest-mmio-write', { id: 'd', bar: 2n, offset: 0n, data });
  t.match(await qmp.execute('query-status'), { status: 'running' });
  await qmp.execute('mem-detach', { id: 'd' });
});

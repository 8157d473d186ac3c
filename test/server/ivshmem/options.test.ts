import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { HELP, parseServerOptions } from '../../../server/ivshmem/options.js';
import { eventually, privateFolder, spawnDaemon } from '../../support/daemon.js';
import { RawPeer } from '../../support/ivshmem.js';
import { native } from '../../support/passing.js';

const needsNative = native === undefined ? { skip: 'koffi is not installed' } : {};
const KiB = 1024n;

t.test('defaults are those of the ivshmem server', async (t) => {
  t.match(parseServerOptions([]), {
    socket: '/tmp/ivshmem_socket',
    place: { kind: 'name', name: 'ivshmem' },
    size: 4096n * KiB,
    vectors: 1,
    pidfile: undefined,
    foreground: false,
    verbose: false,
    limits: { 'ivshmem-peers': 256, 'ivshmem-queue': 65_536 },
  });
  t.equal(parseServerOptions(['-h']), undefined);
});

t.test('short and long options mean the same', async (t) => {
  const short = ['-S/s', '-M', '/name', '-l', '3M', '-n64', '-p', '/pid', '-Fv'];
  const long = [
    ...['--unix-socket=/s', '--shm-name', 'name', '--size', '4M', '--vectors=64'],
    ...['--pid-file=/pid', '--foreground', '--verbose'],
  ];
  t.strictSame(parseServerOptions(short), parseServerOptions(long));
  t.strictSame(parseServerOptions(['-m', '/d'])?.place, { kind: 'directory', path: '/d' });
  for (const short of 'SMmlnpFvh') t.match(HELP, `  -${short}, --`);
});

t.test('sizes become powers of two', async (t) => {
  for (const [text, size] of [
    ['1', 1n],
    ['2', 2n],
    ['3', 4n],
    ['4097', 8n * KiB],
    ['64K', 64n * KiB],
    ['65K', 128n * KiB],
    ['1G', KiB ** 3n],
    ['4611686018427387904', 1n << 62n],
  ] as const)
    t.equal(parseServerOptions(['-l', text])?.size, size, text);
});

t.test('what cannot be is refused with option, value and rule', async (t) => {
  for (const [words, message] of [
    [['-v'], /^-v needs -F$/],
    [['-n', '65'], /^-n 65: a peer has 0 to 64 vectors$/],
    [['-n', '-1'], /-n/],
    [['-n', 'x'], /^-n x: /],
    [['-l', '0'], /^-l 0: the size is a number of bytes from 1 to 4611686018427387904/],
    [['-l', '4611686018427387905'], /^-l 4611686018427387905: /],
    [['-l', '4Q'], /^-l 4Q: /],
    [['-M', 'a/b'], /^-M a\/b: the name of shared memory/],
    [['-M', '..'], /^-M \.\.: /],
    [['-M', ''], /^-M : /],
    [['-M', 'x'.repeat(256)], /1 to 255 bytes/],
    [['-M', 'a', '-m', '/tmp'], /^-M and -m exclude each other$/],
    [['--limit', 'ivshmem-peers=0'], /takes an integer from 1 to 65535, not '0'/],
    [['-x'], /^-x: invalid option$/],
    [['word'], /'word'/],
  ] as const)
    t.throws(() => parseServerOptions(words), { message }, words.join(' '));
  t.equal(parseServerOptions(['-M', 'x'.repeat(255)])?.place.kind, 'name');
});

const run = async (t: Parameters<typeof spawnDaemon>[0], words: readonly string[]) => {
  const child = spawnDaemon(t, ['ivshmem-server', ...words]);
  return { status: await child.exit, out: child.stdout(), err: child.stderr() };
};

t.test('as a program: help, mistakes', async (t) => {
  t.match(await run(t, ['--help']), { status: 0, out: /^Usage: qmemd ivshmem-server/ });
  t.match(await run(t, ['-v']), { status: 1, err: 'qmemd: -v needs -F\n' });
  const path = join(privateFolder(t), 'missing', 's');
  t.match(await run(t, ['-F', '-S', path]), { status: 1, err: /No such file or directory/ });
});

t.test(
  'it goes to the background, replaces a dead socket and stops in order',
  needsNative,
  async (t) => {
    const folder = privateFolder(t);
    const [path, pidfile] = [join(folder, 's'), join(folder, 'pid')];
    const name = `qmemd-test-${randomUUID()}`;
    const words = ['-S', path, '-M', name, '-p', pidfile];
    const shm = `/dev/shm/${name}`;
    const start = async (): Promise<number> => {
      t.match(await run(t, words), { status: 0, out: /ivshmem server on .*4194304 bytes/ });
      const pid = Number(readFileSync(pidfile, 'latin1'));
      t.teardown(() => {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It has ended.
        }
      });
      return pid;
    };
    const first = await start();
    t.equal(existsSync(shm), true);
    const owner = `\\('${pidfile}', process ${String(first)}\\)`;
    t.match(await run(t, words), {
      status: 1,
      err: new RegExp(`PID file: Cannot lock pid file: Resource temporarily .* ${owner}`),
    });
    const unnamed = words.slice(0, -2);
    t.match(await run(t, unnamed), { status: 1, err: /Address already in use/ });
    const peer = await RawPeer.connect(t, path);
    await peer.told(4);
    process.kill(first, 'SIGKILL');
    await eventually('the peer notices', () => peer.closed);
    await eventually('the name is gone', () => !existsSync(shm));
    t.equal(existsSync(path), true, 'a dead socket');

    const second = await start();
    const again = await RawPeer.connect(t, path);
    await again.told(4);
    process.kill(second, 'SIGTERM');
    await eventually('all is gone', () => ![path, shm, pidfile].some((at) => existsSync(at)));
  },
);

t.test('an option that there is not is named as it was typed', async (t) => {
  for (const [words, named] of [
    [['-foo'], '-foo'],
    [['-v', '-vx', '-F'], '-vx'],
    [['--foo'], '--foo'],
    [['--foo=1'], '--foo=1'],
    [['-S', '/s', '--no-foreground'], '--no-foreground'],
    [['--constructor'], '--constructor'],
  ] as const)
    t.throws(() => parseServerOptions(words), { message: `${named}: invalid option` });
});

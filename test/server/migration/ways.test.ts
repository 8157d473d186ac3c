import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { connectWhenUp, eventually, privateFolder, spawnDaemon } from '../../support/daemon.js';
import { native, PassingClient } from '../../support/passing.js';
import {
  becomes,
  migrate,
  runStatus,
  setCapabilities,
  startHost,
  startPair,
  statusIs,
} from '../../support/migration.js';

const WORDS = ['-M', 'pc', '-m', '8M'];
const AT = '0x100000';

t.test('over TCP on loopback', async (t) => {
  const { a, b } = await startPair(t, WORDS);
  await a.qtest.ask(`writel ${AT} 0x12345678`);
  await b.qmp.execute('migrate-incoming', { uri: 'tcp:127.0.0.1:0' });
  const info = (await b.qmp.execute('query-migrate')) as {
    'socket-address': [{ type: string; host: string; port: string }];
  };
  const [{ type, host, port }] = info['socket-address'];
  t.equal(type, 'inet');
  await a.qmp.execute('migrate', { uri: `tcp:${host}:${port}` });
  await Promise.all([statusIs(a.qmp, 'completed'), statusIs(b.qmp, 'completed')]);
  t.equal(await b.qtest.value(`readl ${AT}`), 0x12345678n);
});

t.test('cancelled over TCP', async (t) => {
  const { a, b } = await startPair(t, WORDS);
  await a.qtest.ask(`memset ${AT} 0x400000 1`);
  await a.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 1000n });
  await b.qmp.execute('migrate-incoming', { uri: 'tcp:[::1]:0' });
  const info = (await b.qmp.execute('query-migrate')) as { 'socket-address': [{ port: string }] };
  await a.qmp.execute('migrate', { uri: `tcp:[::1]:${info['socket-address'][0].port}` });
  await statusIs(a.qmp, 'active');
  await a.qmp.execute('migrate_cancel');
  await statusIs(a.qmp, 'cancelled');
  await statusIs(b.qmp, 'failed');
  t.equal(await runStatus(a), 'running');
});

t.test('into a file, and out of it as often as one likes', async (t) => {
  const folder = privateFolder(t);
  const path = join(folder, 'machine');
  const a = await startHost(t, WORDS);
  await a.qtest.ask(`writel ${AT} 0xcafe`);
  await a.qmp.execute('migrate', { uri: `file:${path}` });
  t.strictSame(await statusIs(a.qmp, 'completed'), ['setup', 'active', 'completed']);
  t.equal(await runStatus(a), 'postmigrate');
  t.strictSame(readdirSync(folder), ['machine'], 'nothing else is left');
  for (let i = 0; i < 2; i++) {
    const b = await startHost(t, [...WORDS, '-incoming', `file:${path}`], { events: false });
    await becomes(b, 'running');
    t.equal(await b.qtest.value(`readl ${AT}`), 0xcafen);
  }

  await t.test('a file that goes on behind its end is refused', async (t) => {
    const long = join(folder, 'long');
    writeFileSync(long, Buffer.concat([readFileSync(path), Buffer.alloc(1)]));
    const b = await startHost(t, [...WORDS, '-incoming', 'defer']);
    await b.qmp.execute('migrate-incoming', { uri: `file:${long}` });
    await statusIs(b.qmp, 'failed');
    t.equal(await runStatus(b), 'inmigrate');
    t.equal(await b.qtest.value(`readl ${AT}`), 0n);
    await b.qmp.execute('migrate-incoming', { uri: `file:${path}` });
    await becomes(b, 'running');
    t.equal(await b.qtest.value(`readl ${AT}`), 0xcafen);
  });

  await t.test(
    'a file that was cut is refused, and the machine waits for another one',
    async (t) => {
      const cut = join(folder, 'cut');
      const bytes = readFileSync(path);
      writeFileSync(cut, bytes.subarray(0, bytes.length - 10));
      const b = await startHost(t, [...WORDS, '-incoming', `file:${cut}`], { events: false });
      await eventually('it failed', async () => {
        const { status } = (await b.qmp.execute('query-migrate')) as { status?: string };
        return status === 'failed';
      });
      t.match(await b.qmp.execute('query-migrate'), {
        'error-desc':
          /^migration stream: byte \d+, frame \d+: the stream ends in the middle of it$/,
      });
      t.equal(await b.qtest.value(`readl ${AT}`), 0n);
      await b.qmp.execute('migrate-incoming', { uri: `file:${path}` });
      await becomes(b, 'running');
      t.equal(await b.qtest.value(`readl ${AT}`), 0xcafen);
    },
  );
});

t.test(
  'what comes in and fails is logged with the reason, and not that the machine ends',
  async (t) => {
    const folder = privateFolder(t);
    const [path, socket] = [join(folder, 'machine'), join(folder, 'qmp.sock')];
    writeFileSync(path, 'this is no machine');
    const words = ['-M', 'pc', '-qmp', `unix:${socket},server=on,wait=off`];
    const failing = spawnDaemon(t, [...words, '-incoming', `file:${path}`]);
    await eventually('a line on stderr', () => failing.stderr().endsWith('\n'));
    const qmp = await connectWhenUp(socket);
    const info = (await qmp.execute('query-migrate')) as { status: string; 'error-desc': string };
    t.equal(info.status, 'failed');
    t.match(JSON.parse(failing.stderr()), {
      level: 50,
      machine: 'default',
      reason: info['error-desc'],
      msg: 'load of migration failed',
    });
    t.not(info['error-desc'], '');
    await qmp.execute('quit');
    t.equal(await failing.exit, 0);
    const fifo = join(folder, 'fifo');
    spawnSync('mkfifo', [fifo]);
    const writer = openSync(fifo, 'r+');
    t.teardown(() => closeSync(writer));
    const waiting = spawnDaemon(t, [...words, '-incoming', `file:${fifo}`]);
    await (await connectWhenUp(socket)).execute('query-migrate');
    waiting.child.kill('SIGTERM');
    t.equal(await waiting.exit, 0);
    t.equal(waiting.stderr(), '');
  },
);

t.test('a file that cannot be written: nothing is left, the machine goes on', async (t) => {
  const folder = privateFolder(t);
  const a = await startHost(t, WORDS);
  await a.qmp.execute('migrate', { uri: `file:${join(folder, 'no', 'machine')}` });
  await statusIs(a.qmp, 'failed');
  t.match(await a.qmp.execute('query-migrate'), {
    'error-desc': /^Failed to create .*: No such file/,
  });
  t.equal(await runStatus(a), 'running');
});

const backend = (path: string): string[] => [
  ...['-object', `memory-backend-file,id=m,size=1M,share=on,mem-path=${path}`],
  ...['-device', 'iopmem,id=d,memdev=m'],
];
const enable = { id: 'd', offset: 4, size: 2, value: 6 };

t.test('memory that both sides share is not sent', async (t) => {
  const path = join(privateFolder(t), 'memory');
  const { a, b, uri } = await startPair(t, [...WORDS, ...backend(path)]);
  await a.qmp.execute('guest-config-write', enable);
  await a.qmp.execute('guest-mmio-write', { id: 'd', bar: 4, offset: 0, size: 8, value: 77n });
  await migrate(a, b, uri);
  const { ram } = (await a.qmp.execute('query-migrate')) as { ram: { total: bigint } };
  t.equal(ram.total, 8_388_608n, 'guest memory only');
  t.strictSame(await b.qmp.execute('guest-mmio-read', { id: 'd', bar: 4, offset: 0, size: 8 }), {
    value: 77n,
  });

  await t.test('and is not cleared when it fails', async (t) => {
    const c = await startHost(t, [
      ...WORDS,
      ...backend(path),
      '-device',
      'edu',
      '-incoming',
      'defer',
    ]);
    await c.qmp.execute('migrate-incoming', { uri });
    await b.qmp.execute('migrate', { uri });
    await statusIs(b.qmp, 'failed');
    t.equal(readFileSync(path)[0], 77);
  });
});

t.test(
  'memory in files of their own is sent; with x-ignore-shared it must be the same',
  async (t) => {
    const folder = privateFolder(t);
    const a = await startHost(t, [...WORDS, ...backend(join(folder, 'a'))]);
    const b = await startHost(t, [...WORDS, ...backend(join(folder, 'b')), '-incoming', 'defer']);
    const uri = `unix:${join(folder, 's')}`;
    await a.qmp.execute('guest-config-write', enable);
    await a.qmp.execute('guest-mmio-write', { id: 'd', bar: 4, offset: 4096, size: 1, value: 9 });
    await setCapabilities(a.qmp, ['x-ignore-shared']);
    await b.qmp.execute('migrate-incoming', { uri });
    await a.qmp.execute('migrate', { uri });
    await statusIs(a.qmp, 'failed');
    t.match(await a.qmp.execute('query-migrate'), {
      'error-desc':
        /memory 'memdev' of \/machine\/peripheral\/d is another object here, and x-ignore-shared is on$/,
    });
    await a.qmp.execute('migrate-set-capabilities', {
      capabilities: [{ capability: 'x-ignore-shared', state: false }],
    });
    await migrate(a, b, uri);
    t.equal(readFileSync(join(folder, 'b'))[4096], 9);
    t.equal(existsSync(join(folder, 's')), false);
  },
);

t.test('through descriptors of getfd', { skip: native === undefined }, async (t) => {
  const path = join(privateFolder(t), 'machine');
  const a = await startHost(t, WORDS);
  await a.qtest.ask(`writel ${AT} 0xbeef`);
  const source = await PassingClient.connect(t, a.qmpPath);
  const out = openSync(path, 'w');
  writeSync(out, 'a head of somebody else');
  await source.run('getfd', { fdname: 'out' }, [out]);
  closeSync(out);
  t.strictSame(await source.run('migrate', { uri: 'fd:out' }), {});
  await statusIs(a.qmp, 'completed');
  const b = await startHost(t, [...WORDS, '-incoming', 'defer']);
  const destination = await PassingClient.connect(t, b.qmpPath);
  const from = openSync(path, 'r');
  readSync(from, Buffer.alloc(23));
  await destination.run('getfd', { fdname: 'in' }, [from]);
  closeSync(from);
  t.strictSame(await destination.run('migrate-incoming', { uri: 'fd:in' }), {});
  await statusIs(b.qmp, 'completed');
  t.equal(await b.qtest.value(`readl ${AT}`), 0xbeefn);
});

t.test('who is answered by a machine that waits can send to it at once', async (t) => {
  const folder = privateFolder(t);
  const [socket, place] = [join(folder, 'qmp'), join(folder, 'in')];
  const monitor = ['-qmp', `unix:${socket},server=on,wait=off`];
  spawnDaemon(t, ['-M', 'q35', ...monitor, '-incoming', `unix:${place}`]);
  const qmp = await connectWhenUp(socket);
  t.equal(existsSync(place), true);
  t.match(await qmp.execute('query-status'), { status: 'inmigrate' });
});

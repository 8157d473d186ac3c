import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync, truncateSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { FRAME, FrameReader, FrameWriter, preamble } from '../../../server/migration/stream.js';
import { eventually, privateFolder, type Cleanup } from '../../support/daemon.js';
import { needsNative } from '../../support/mdevice.js';
import {
  becomes,
  migrate,
  runStatus,
  setCapabilities,
  startHost,
  startPair,
  statusIs,
  type Host,
} from '../../support/migration.js';

const WORDS = ['-M', 'pc', '-m', '8M'];
const AT = 0x100000;
const SIZE = 4 * 1024 * 1024;

/** Memory that is slow to send. */
const fill = async ({ qtest }: Host): Promise<void> => {
  await qtest.ask(`memset ${String(AT)} ${String(SIZE)} 0x5a`);
};
const slow = ({ qmp }: Host, rate: number): Promise<unknown> =>
  qmp.execute('migrate-set-parameters', { 'max-bandwidth': BigInt(rate), 'downtime-limit': 0n });
const fast = ({ qmp }: Host): Promise<unknown> =>
  qmp.execute('migrate-set-parameters', { 'max-bandwidth': 1n << 40n, 'downtime-limit': 300n });

/** The source works as if nothing had happened. */
const unharmed = async (t: Test, { qtest, qmp }: Host): Promise<void> => {
  t.equal(await qtest.value(`readb ${String(AT + SIZE - 1)}`), 0x5an);
  t.equal(await qtest.ask(`writeb ${String(AT)} 0x33`), 'OK');
  t.equal(await qtest.value(`readb ${String(AT)}`), 0x33n);
  await qtest.ask(`writeb ${String(AT)} 0x5a`);
  t.strictSame(await qmp.execute('query-status'), { status: 'running', running: true });
};

t.test('cancelled while it sends: the source goes on, the destination has nothing', async (t) => {
  const { a, b, uri } = await startPair(t, WORDS);
  await fill(a);
  await slow(a, 100_000);
  await b.qmp.execute('migrate-incoming', { uri });
  await a.qmp.execute('migrate', { uri });
  await statusIs(a.qmp, 'active');
  t.match(await a.qmp.execute('query-migrate'), {
    status: 'active',
    ram: { total: 8388608n, 'dirty-sync-count': 1n },
  });
  await t.rejects(a.qmp.execute('migrate', { uri }), {
    message: "There's a migration process in progress",
  });
  await t.rejects(a.qmp.execute('device_add', { driver: 'edu' }), {
    message: 'device_add not allowed while migrating',
  });
  await t.rejects(setCapabilities(a.qmp, ['events']), {
    message: "There's a migration process in progress",
  });
  await a.qmp.execute('migrate_cancel');
  t.strictSame(await statusIs(a.qmp, 'cancelled'), ['cancelling', 'cancelled']);
  t.strictSame(await a.qmp.execute('query-migrate'), { status: 'cancelled' });
  await statusIs(b.qmp, 'failed');
  t.match(await b.qmp.execute('query-migrate'), { status: 'failed', 'error-desc': /^/ });
  t.equal(await runStatus(b), 'inmigrate');
  t.equal(await b.qtest.value(`readq ${String(AT)}`), 0n, 'what had come is gone');
  await unharmed(t, a);

  await t.test('and the same two can do it again', async (t) => {
    await fast(a);
    await migrate(a, b, uri);
    t.equal(await b.qtest.value(`readb ${String(AT + SIZE - 1)}`), 0x5an);
    t.equal(await runStatus(b), 'running');
  });
});

t.test('pause-before-switchover: the last phase waits, for both outcomes', async (t) => {
  for (const isCancelled of [false, true])
    await t.test(isCancelled ? 'cancelled' : 'continued', async (t) => {
      const { a, b, uri } = await startPair(t, WORDS);
      await fill(a);
      await setCapabilities(a.qmp, ['pause-before-switchover']);
      await b.qmp.execute('migrate-incoming', { uri });
      await a.qmp.execute('migrate', { uri });
      await statusIs(a.qmp, 'pre-switchover');
      t.equal(await runStatus(a), 'finish-migrate');
      await t.rejects(a.qmp.execute('cont'), { message: 'Migration is not finalized yet' });
      await t.rejects(a.qmp.execute('migrate-continue', { state: 'device' }), {
        message: 'Migration not in expected state: pre-switchover',
      });
      const held = a.qtest.ask(`writeb ${String(AT)} 0x77`);
      if (isCancelled) await a.qmp.execute('migrate_cancel');
      else await a.qmp.execute('migrate-continue', { state: 'pre-switchover' });
      if (isCancelled) {
        await statusIs(a.qmp, 'cancelled');
        t.equal(await held, 'OK', 'what had waited is done here');
        t.equal(await a.qtest.value(`readb ${String(AT)}`), 0x77n);
        t.strictSame(a.qmp.order.slice(-3), ['return', 'RESUME', 'MIGRATION']);
        t.equal(await runStatus(a), 'running');
      } else {
        await statusIs(a.qmp, 'completed');
        t.match(await held, /^FAIL/, 'what had waited is refused');
        t.equal(await b.qtest.value(`readb ${String(AT)}`), 0x5an);
      }
    });
});

/** A destination that plays along up to a frame, and then hangs up. */
const fakeDestination = async (t: Cleanup, hangUpAt: number): Promise<string> => {
  const path = join(privateFolder(t), 'fake.sock');
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    serve(socket, hangUpAt);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.teardown(() => server.close());
  return `unix:${path}`;
};
const serve = (socket: Socket, hangUpAt: number): void => {
  const writer = new FrameWriter();
  const reader = new FrameReader({
    limit: () => 1 << 24,
    onFrame: ({ type }) => {
      if (type === hangUpAt) socket.destroy();
      else if (type === FRAME.HELLO) {
        socket.write(preamble());
        socket.write(writer.json(FRAME.ACCEPT, { shared: [] }));
      } else if (type === FRAME.END) socket.write(writer.frame(FRAME.LOADED));
    },
  });
  socket.on('data', (bytes) => {
    if (!socket.destroyed) reader.push(bytes as Buffer);
  });
};

t.test('whenever the destination hangs up, the source goes on', async (t) => {
  for (const [name, type] of Object.entries(FRAME))
    if (type < FRAME.ACCEPT)
      await t.test(`at ${name}`, async (t) => {
        const a = await startHost(t, WORDS);
        await fill(a);
        await a.qmp.execute('migrate', { uri: await fakeDestination(t, type) });
        await statusIs(a.qmp, 'failed');
        t.match(await a.qmp.execute('query-migrate'), {
          status: 'failed',
          'error-desc': /^(The destination closed|Unable to write|The connection was closed)/,
        });
        await becomes(a, 'running');
        await unharmed(t, a);
      });
});

t.test('a destination that talks nonsense', async (t) => {
  for (const [name, bytes, text] of [
    ['no stream', Buffer.alloc(16, 0x41), /byte 0, frame 0: this is no migration stream of qmemd/],
    ['another version', otherVersion(), /stream version 2 is not 1/],
    [
      'the wrong word',
      Buffer.concat([preamble(), new FrameWriter().frame(FRAME.RUNS)]),
      /out of turn/,
    ],
    [
      'a word of the source',
      Buffer.concat([preamble(), new FrameWriter().frame(FRAME.PASS)]),
      /PASS must not come here/,
    ],
  ] as const)
    await t.test(name, async (t) => {
      const a = await startHost(t, WORDS);
      const path = join(privateFolder(t), 'fake.sock');
      const server = createServer((socket) => {
        socket.on('error', () => undefined).write(bytes);
      });
      await new Promise<void>((resolve) => server.listen(path, resolve));
      t.teardown(() => server.close());
      await a.qmp.execute('migrate', { uri: `unix:${path}` });
      await statusIs(a.qmp, 'failed');
      t.match(await a.qmp.execute('query-migrate'), { 'error-desc': text });
      t.equal(await runStatus(a), 'running');
    });
});
const otherVersion = (): Buffer => {
  const bytes = preamble();
  bytes.writeUInt32LE(2, 8);
  return bytes;
};

t.test('what cannot begin', async (t) => {
  const { a, b, uri } = await startPair(t, WORDS);
  const refusals = async (
    host: Host,
    command: string,
    rows: readonly (readonly [object, string])[],
  ): Promise<void> => {
    for (const [args, message] of rows)
      await t.rejects(
        host.qmp.execute(command, args as Record<string, string>),
        { message },
        message,
      );
  };
  await refusals(a, 'migrate', [
    [{}, "Parameter 'uri' is missing"],
    [{ uri: 'nope' }, "Parameter 'uri' expects a valid migration protocol"],
    [{ uri: 'exec:cat' }, "Parameter 'uri' expects a valid migration protocol"],
    [{ uri: 'rdma:x:1' }, "Parameter 'uri' expects a valid migration protocol"],
    [{ uri: 'unix:' }, 'invalid Unix socket address'],
    [{ uri: 'tcp:abc' }, "error parsing address 'abc'"],
    [
      { uri: 'tcp:192.0.2.1:7' },
      "Parameter 'uri': host '192.0.2.1' is not a loopback address; a machine migrates within its host only",
    ],
    [{ uri: 'fd:none' }, "File descriptor named 'none' has not been found"],
    [{ uri: 'file:' }, "Parameter 'uri' expects a path behind 'file:'"],
    [{ uri, resume: true }, 'Cannot resume if there is no paused migration'],
    [{ uri, blk: true }, 'Block migration is not supported: the machine has no disks'],
  ]);
  await refusals(a, 'migrate-incoming', [
    [{ uri }, "'-incoming' was not specified on the command line"],
  ]);
  await refusals(b, 'migrate', [[{ uri }, 'Guest is waiting for an incoming migration']]);
  await refusals(b, 'migrate-incoming', [
    [{ uri: 'nope:x' }, 'unknown migration protocol: nope:x'],
    [{ uri: 'unix:' }, 'invalid Unix socket address'],
  ]);
  await b.qmp.execute('migrate-incoming', { uri });
  await refusals(b, 'migrate-incoming', [
    [{ uri }, 'The incoming migration has already been started'],
  ]);
  await refusals(a, 'migrate-continue', [
    [{ state: 'pre-switchover' }, 'Migration not in expected state: failed'],
  ]);
  await refusals(a, 'migrate-start-postcopy', [
    [{}, 'Enable postcopy with migrate_set_capability before the start of migration'],
  ]);
  t.strictSame(await a.qmp.execute('migrate_cancel'), {}, 'nothing to cancel is fine');
  await setCapabilities(a.qmp, ['multifd']);
  await refusals(a, 'migrate', [
    [{ uri }, "Migration capability 'multifd' is on, and is not supported: switch it off"],
  ]);
});

t.test('nobody listens there', async (t) => {
  const a = await startHost(t, WORDS);
  await a.qmp.execute('migrate', { uri: 'unix:/nowhere/at/all' });
  await statusIs(a.qmp, 'failed');
  t.strictSame(await a.qmp.execute('query-migrate'), {
    status: 'failed',
    'error-desc': "Failed to connect to '/nowhere/at/all': No such file or directory",
  });
});

t.test('memory whose file was made shorter does not go as zeros', needsNative, async (t) => {
  const folder = privateFolder(t);
  const [path, target] = [join(folder, 'memory'), join(folder, 'target')];
  const a = await startHost(t, [
    ...['-object', `memory-backend-file,id=m,size=8M,share=on,mem-path=${path}`],
    ...['-machine', 'pc,memory-backend=m', '-m', '8M'],
  ]);
  await fill(a);
  truncateSync(path, 2 << 20);
  await a.qmp.execute('migrate', { uri: `file:${target}` });
  await statusIs(a.qmp, 'failed');
  t.strictSame(await a.qmp.execute('query-migrate'), {
    status: 'failed',
    'error-desc': "memory 'ram0' of /machine is gone: its file is too short by now",
  });
  t.equal(await runStatus(a), 'running');
  t.notOk(existsSync(target));
});

t.test('a device that cannot go along says so', async (t) => {
  const device = [
    '-object',
    'memory-backend-memfd,id=m,size=1M,share=on',
    '-device',
    'ivshmem-plain,id=i,memdev=m',
  ];
  const a = await startHost(t, [...WORDS, ...device]);
  await t.rejects(a.qmp.execute('migrate', { uri: 'unix:/x' }), {
    message: "Migration is disabled when using feature 'peer mode' in device 'ivshmem'",
  });
  t.strictSame(
    a.qmp.order.filter((name) => name === 'MIGRATION'),
    [],
    'and nothing has begun',
  );
});

t.test('cancelled before it has connected', async (t) => {
  const { a, uri } = await startPair(t, WORDS);
  a.qmp.send({ execute: 'migrate', arguments: { uri } });
  a.qmp.send({ execute: 'migrate_cancel' });
  await statusIs(a.qmp, 'cancelled');
  await becomes(a, 'running');
  t.notOk(a.qmp.order.includes('STOP'));
});

/** A port of a process that stands still: once its queue is full, no connection is answered. */
const startStill = async (t: Cleanup): Promise<number> => {
  const listen = `require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 },
    function () { console.log(this.address().port); })`;
  const child = spawn(process.execPath, ['-e', listen], { stdio: ['ignore', 'pipe', 'ignore'] });
  t.teardown(() => child.kill('SIGKILL'));
  const [text] = (await once(child.stdout, 'data')) as [Buffer];
  child.kill('SIGSTOP');
  const port = Number(text.toString());
  for (let i = 0; i < 4; i++) {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    t.teardown(() => socket.destroy());
  }
  return port;
};

t.test('whoever waits for a connection that is not answered can give up', async (t) => {
  const a = await startHost(t, WORDS);
  const uri = `tcp:127.0.0.1:${String(await startStill(t))}`;
  await a.qmp.execute('migrate', { uri });
  await statusIs(a.qmp, 'setup');
  t.strictSame(await a.qmp.execute('query-migrate'), { status: 'setup' });
  await a.qmp.execute('migrate_cancel');
  await statusIs(a.qmp, 'cancelled');
  t.equal(await runStatus(a), 'running');
  await a.qmp.execute('migrate', { uri });
  await a.qmp.execute('quit');
  await a.qmp.closed();
});

t.test('quit in the middle', async (t) => {
  const { a, b, uri } = await startPair(t, WORDS);
  await fill(a);
  await slow(a, 100_000);
  await b.qmp.execute('migrate-incoming', { uri });
  await a.qmp.execute('migrate', { uri });
  await statusIs(a.qmp, 'active');
  await a.qmp.execute('quit');
  await a.qmp.closed();
  await statusIs(b.qmp, 'failed');
  t.equal(await runStatus(b), 'inmigrate');
  t.equal(await b.qtest.value(`readq ${String(AT)}`), 0n);
});

/** Waits in its last phase; all its memory is in a file at the destination. */
const paused = async (t: Cleanup): Promise<{ a: Host; b: Host; uri: string; path: string }> => {
  const path = join(privateFolder(t), 'memory');
  const words = (where: string): string[] => [
    ...['-object', `memory-backend-file,id=m,size=128M,share=on,mem-path=${where}`],
    ...['-machine', 'pc,memory-backend=m', '-m', '128M'],
  ];
  const a = await startHost(t, words(`${path}-a`));
  const b = await startHost(t, [...words(path), '-incoming', 'defer']);
  const uri = `unix:${path}.sock`;
  await a.qtest.ask(`memset ${String(AT)} 0x4000000 0x5a`);
  await setCapabilities(a.qmp, ['pause-before-switchover']);
  await fast(a);
  await b.qmp.execute('migrate-incoming', { uri });
  await a.qmp.execute('migrate', { uri });
  await statusIs(a.qmp, 'pre-switchover');
  await statusIs(b.qmp, 'active');
  await eventually('much has come', () => statSync(path).blocks > 0x3000000 / 512);
  return { a, b, uri, path };
};

t.test('what had come loses its storage before another one may come', async (t) => {
  const { a, b, uri, path } = await paused(t);
  await a.qmp.execute('migrate_cancel');
  await statusIs(b.qmp, 'failed');
  t.equal(statSync(path).blocks, 0);
  t.strictSame(await b.qmp.execute('migrate-incoming', { uri }), {});
});

t.test('a machine that ends meanwhile takes back what had come', async (t) => {
  const { b, path } = await paused(t);
  await b.daemon.stop();
  t.equal(statSync(path).blocks, 0);
});

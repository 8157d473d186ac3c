import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  writeFileSync,
} from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { eventually, privateFolder, type Cleanup } from '../../support/daemon.js';
import { listeningDescriptor, native, PassingClient } from '../../support/passing.js';
import { becomes, runStatus, startHost, statusIs, type Host } from '../../support/migration.js';

const WORDS = ['-M', 'pc', '-m', '8M'];
const AT = '0x100000';
const { O_RDONLY, O_WRONLY, O_NONBLOCK } = constants;

const makeFifo = (t: Cleanup): string => {
  const path = join(privateFolder(t), 'fifo');
  execFileSync('mkfifo', [path]);
  return path;
};
/** Both ends, to be closed by the caller. */
const pipe = (t: Cleanup): { reader: number; writer: number } => {
  const path = makeFifo(t);
  const reader = openSync(path, O_RDONLY | O_NONBLOCK);
  return { reader, writer: openSync(path, O_WRONLY | O_NONBLOCK) };
};
/** Names a descriptor for the next command. */
const clientOf = async (t: Cleanup, { qmpPath }: Host) => {
  const client = await PassingClient.connect(t, qmpPath);
  return async (command: string, fd: number): Promise<unknown> => {
    await client.run('getfd', { fdname: 'way' }, [fd]);
    return client.run(command, { uri: 'fd:way' });
  };
};
const descriptors = (): number => readdirSync('/proc/self/fd').length;
const sockets = (): number[] =>
  readdirSync('/proc/self/fd')
    .map(Number)
    .filter((fd) => existsSync(`/proc/self/fd/${String(fd)}`) && fstatSync(fd).isSocket());
/** A connected UDP socket. */
const datagrams = async (t: Cleanup): Promise<number> => {
  const before = new Set(sockets());
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  await new Promise<void>((resolve) =>
    socket.connect(socket.address().port, '127.0.0.1', () => resolve()),
  );
  t.teardown(() => socket.close());
  return sockets().find((fd) => !before.has(fd)) ?? -1;
};
/** The next file that is to be safe is only when `done` is called. */
const slowDisk = async (t: Cleanup): Promise<{ reached: Promise<void>; done: () => void }> => {
  const file = await open('/dev/null');
  const files = Object.getPrototypeOf(file) as { datasync: () => Promise<void> };
  await file.close();
  const { datasync } = files;
  let done = (): void => undefined;
  const wait = new Promise<void>((resolve) => (done = resolve));
  const reached = new Promise<void>((resolve) => {
    files.datasync = async () => {
      files.datasync = datasync;
      resolve();
      await wait;
    };
  });
  t.teardown(() => (files.datasync = datasync));
  return { reached, done };
};
const failure = async ({ qmp }: Host): Promise<unknown> =>
  ((await qmp.execute('query-migrate')) as { 'error-desc'?: string })['error-desc'];

t.test('a pipe carries a machine', { skip: native === undefined }, async (t) => {
  const { reader, writer } = pipe(t);
  const a = await startHost(t, WORDS);
  const b = await startHost(t, [...WORDS, '-incoming', 'defer']);
  await a.qtest.ask(`memset ${AT} 0x500000 0x5a`);
  t.strictSame(await (await clientOf(t, b))('migrate-incoming', reader), {});
  t.strictSame(await (await clientOf(t, a))('migrate', writer), {});
  for (const fd of [reader, writer]) closeSync(fd);
  await Promise.all([statusIs(a.qmp, 'completed'), statusIs(b.qmp, 'completed')]);
  t.equal(await b.qtest.value('readb 0x5fffff'), 0x5an);
  t.equal(await runStatus(a), 'postmigrate');
  t.equal(await runStatus(b), 'running');
});

t.test('a pipe that nobody reads', { skip: native === undefined }, async (t) => {
  for (const [name, length, status] of [
    ['little to send: it hangs in the last phase', 0x40000, 'finish-migrate'],
    ['much to send: it hangs in the first pass', 0x600000, 'running'],
  ] as const)
    await t.test(name, async (t) => {
      const { reader, writer } = pipe(t);
      t.teardown(() => closeSync(reader));
      const a = await startHost(t, WORDS);
      await a.qtest.ask(`memset ${AT} ${String(length)} 0x5a`);
      const run = await clientOf(t, a);
      await run('migrate', writer);
      await statusIs(a.qmp, 'active');
      await becomes(a, status);
      await a.qmp.execute('migrate_cancel');
      await statusIs(a.qmp, 'cancelled');
      t.equal(await runStatus(a), 'running');
      await run('migrate', writer);
      closeSync(writer);
      await statusIs(a.qmp, 'active');
      await a.qmp.execute('quit');
      await a.qmp.closed();
    });
});

t.test('a pipe whose reader goes', { skip: native === undefined }, async (t) => {
  const { reader, writer } = pipe(t);
  const a = await startHost(t, WORDS);
  await a.qtest.ask(`memset ${AT} 0x40000 0x5a`);
  await (
    await clientOf(t, a)
  )('migrate', writer);
  closeSync(writer);
  await becomes(a, 'finish-migrate');
  closeSync(reader);
  await statusIs(a.qmp, 'failed');
  t.equal(await failure(a), 'Unable to write to pipe: Broken pipe');
  await becomes(a, 'running');
});

t.test('FIFOs into which nobody writes: others work, and quit ends the wait', async (t) => {
  const fifos = [1, 2, 3, 4, 5].map(() => makeFifo(t));
  const hosts: Host[] = [];
  for (const path of fifos)
    hosts.push(await startHost(t, [...WORDS, '-incoming', `file:${path}`], { events: false }));
  // Reads of files need a thread of the pool, which has four.
  t.match(await readFile('/proc/self/comm', 'latin1'), /./);
  for (const { qmp } of hosts) {
    await qmp.execute('quit');
    await qmp.closed();
  }
});

t.test('a FIFO by its path, as soon as somebody writes', async (t) => {
  const fifo = makeFifo(t);
  const machine = join(privateFolder(t), 'machine');
  const a = await startHost(t, WORDS);
  await a.qtest.ask(`writel ${AT} 0xcafe`);
  await a.qmp.execute('migrate', { uri: `file:${machine}` });
  await statusIs(a.qmp, 'completed');
  const b = await startHost(t, [...WORDS, '-incoming', `file:${fifo}`], { events: false });
  t.equal(await runStatus(b), 'inmigrate');
  execFileSync('sh', ['-c', 'cat "$1" >"$2" &', 'sh', machine, fifo]);
  await becomes(b, 'running');
  t.equal(await b.qtest.value(`readl ${AT}`), 0xcafen);
});

t.test('descriptors that no stream goes through', { skip: native === undefined }, async (t) => {
  const folder = privateFolder(t);
  const path = join(folder, 'file');
  writeFileSync(path, '');
  const a = await startHost(t, WORDS);
  const b = await startHost(t, [...WORDS, '-incoming', 'defer']);
  const [out, into] = [await clientOf(t, a), await clientOf(t, b)];
  const DEVICE = 'it is a character device, no regular file, pipe or socket';
  const DIRECTORY = 'it is a directory, no regular file, pipe or socket';
  const kept = (fd: number): number => {
    t.teardown(() => closeSync(fd));
    return fd;
  };
  const opened = (at: string, flags: string): number => kept(openSync(at, flags));
  const otherEnd = (end: 'reader' | 'writer') => () => {
    const both = pipe(t);
    closeSync(both[end === 'reader' ? 'writer' : 'reader']);
    return kept(both[end]);
  };
  for (const [name, open, outgoing, incoming] of [
    ['/dev/null', () => opened('/dev/null', 'r+'), DEVICE, DEVICE],
    ['a directory', () => opened(folder, 'r'), DIRECTORY, DIRECTORY],
    [
      'a listening socket',
      async () => kept(await listeningDescriptor(join(folder, 'listens'))),
      'it is a socket without a peer',
      'it is a socket without a peer',
    ],
    [
      'a socket of datagrams',
      () => datagrams(t),
      'it is a socket, but not of streams',
      'it is a socket, but not of streams',
    ],
    ['a file to read', () => opened(path, 'r'), 'it is not open for writing', undefined],
    ['a file to write', () => opened(path, 'a'), undefined, 'it is not open for reading'],
    ['a pipe to read', otherEnd('reader'), 'it is not open for writing', undefined],
    ['a pipe to write', otherEnd('writer'), undefined, 'it is not open for reading'],
  ] as const)
    await t.test(name, async (t) => {
      const fd = await open();
      const before = descriptors();
      if (outgoing !== undefined) {
        t.strictSame(await out('migrate', fd), {});
        await statusIs(a.qmp, 'failed');
        t.equal(await failure(a), `Descriptor of 'fd:' cannot be used: ${outgoing}`);
        t.notOk(a.qmp.order.includes('STOP'), 'nothing has happened');
      }
      if (incoming !== undefined)
        t.equal(
          await into('migrate-incoming', fd),
          `GenericError: Descriptor of 'fd:' cannot be used: ${incoming}`,
        );
      await eventually('none is left open', () => descriptors() === before);
    });
});

t.test('paths that nothing can be read from', async (t) => {
  const b = await startHost(t, [...WORDS, '-incoming', 'defer']);
  const folder = privateFolder(t);
  const before = descriptors();
  for (const [path, reason] of [
    ['/nowhere', 'No such file or directory'],
    [folder, 'it is a directory, no regular file, pipe or socket'],
    ['/dev/zero', 'it is a character device, no regular file, pipe or socket'],
    [b.qmpPath, 'No such device or address'],
  ] as const)
    await t.rejects(b.qmp.execute('migrate-incoming', { uri: `file:${path}` }), {
      message: `Failed to open '${path}': ${reason}`,
    });
  t.strictSame(await b.qmp.execute('query-migrate'), {});
  t.equal(descriptors(), before);
});

t.test('what is no regular file stays what it is', async (t) => {
  const folder = privateFolder(t);
  const a = await startHost(t, WORDS);
  execFileSync('mkfifo', [join(folder, 'fifo')]);
  execFileSync('ln', ['-s', '/dev/null', join(folder, 'link')]);
  mkdirSync(join(folder, 'folder'));
  const list = (): string => execFileSync('ls', ['-lni', folder], { encoding: 'latin1' });
  const before = list();
  for (const name of ['fifo', 'link', 'folder']) {
    const path = join(folder, name);
    await a.qmp.execute('migrate', { uri: `file:${path}` });
    await statusIs(a.qmp, 'failed');
    t.equal(await failure(a), `Failed to create '${path}': it exists and is not a regular file`);
  }
  t.equal(list(), before);
  t.notOk(a.qmp.order.includes('STOP'), 'nothing was sent');
});

t.test('a file has no name before it is complete', async (t) => {
  const folder = privateFolder(t);
  const path = join(folder, 'machine');
  writeFileSync(path, 'an older one');
  const a = await startHost(t, WORDS);
  await a.qtest.ask(`memset ${AT} 0x600000 0x5a`);
  await a.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 1000n });
  await a.qmp.execute('migrate', { uri: `file:${path}` });
  await statusIs(a.qmp, 'active');
  t.strictSame(readdirSync(folder), ['machine']);
  await a.qmp.execute('migrate_cancel');
  await statusIs(a.qmp, 'cancelled');
  t.equal(await readFile(path, 'latin1'), 'an older one');
});

t.test('a file that the host writes to its disk can be cancelled', async (t) => {
  const folder = privateFolder(t);
  const path = join(folder, 'machine');
  const a = await startHost(t, WORDS);
  const disk = await slowDisk(t);
  await a.qmp.execute('migrate', { uri: `file:${path}` });
  await statusIs(a.qmp, 'active');
  await disk.reached;
  t.match(await a.qmp.execute('query-migrate'), { status: 'active' });
  t.equal(await runStatus(a), 'finish-migrate');
  t.strictSame(await a.qmp.execute('migrate_cancel'), {});
  t.strictSame(await statusIs(a.qmp, 'cancelled'), ['cancelling', 'cancelled']);
  t.equal(await runStatus(a), 'running', 'though the disk is not done');
  disk.done();
  await a.qmp.execute('migrate', { uri: `file:${folder}/other` });
  await statusIs(a.qmp, 'completed');
  t.strictSame(readdirSync(folder), ['other'], 'the first one has left nothing');
});

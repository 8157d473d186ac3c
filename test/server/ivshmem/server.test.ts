import {
  existsSync,
  fstatSync,
  readSync,
  writeFileSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import t from 'tap';
import { eventually, privateFolder } from '../../support/daemon.js';
import { raise, raised, RawPeer, startIvshmem } from '../../support/ivshmem.js';
import { openDescriptors } from '../../support/ivshmem-device.js';
import { native } from '../../support/passing.js';

const needsNative = native === undefined ? { skip: 'koffi is not installed' } : {};
const place = (t: Parameters<typeof privateFolder>[0]) => {
  const folder = privateFolder(t);
  const name = `qmemd-test-${randomUUID()}`;
  t.teardown(() => rmSync(`/dev/shm/${name}`, { force: true }));
  return { folder, name, path: join(folder, 's'), shm: `/dev/shm/${name}` };
};

t.test('clients hear of version, id, memory and each other, in order', needsNative, async (t) => {
  const { path, name } = place(t);
  await startIvshmem(t, ['-S', path, '-M', name, '-n', '2', '-l', '64K']);
  const a = await RawPeer.connect(t, path);
  await a.told(5);
  t.strictSame(a.heard, ['0', '0', '-1+', '0+', '0+']);
  const b = await RawPeer.connect(t, path);
  await b.told(7);
  t.strictSame(b.heard, ['0', '1', '-1+', '0+', '0+', '1+', '1+']);
  await a.told(7);
  t.strictSame(a.heard.slice(5), ['1+', '1+']);
  t.equal(fstatSync(b.descriptor(2)).size, 65_536);
  writeSync(a.descriptor(2), Buffer.from('shared'), 0, 6, 100);
  const seen = Buffer.alloc(6);
  readSync(b.descriptor(2), seen, 0, 6, 100);
  t.equal(seen.toString(), 'shared');

  raise(a.descriptor(6));
  t.strictSame(
    [5, 6].map((at) => raised(b.descriptor(at))),
    [0n, 1n],
    'vector 1 of b',
  );
  raise(b.descriptor(3));
  t.strictSame(
    [3, 4].map((at) => raised(a.descriptor(at))),
    [1n, 0n],
    'vector 0 of a',
  );

  b.leave();
  await a.told(8);
  t.equal(a.heard[7], '1');
  const c = await RawPeer.connect(t, path);
  await c.told(7);
  t.equal(c.heard[1], '2', 'an id is not used again at once');
});

t.test('who says something is dropped, and the others hear of it', needsNative, async (t) => {
  const { path, name } = place(t);
  const server = await startIvshmem(t, ['-S', path, '-M', name]);
  const a = await RawPeer.connect(t, path);
  const b = await RawPeer.connect(t, path);
  await a.told(5);
  b.say(Buffer.from('x'));
  await eventually('b is dropped', () => b.closed);
  await a.told(6);
  t.equal(a.heard[5], '1');
  t.strictSame([server.ids, a.closed], [[0], false]);
});

t.test(
  'one peer past the limit is closed, and has its place once another left',
  needsNative,
  async (t) => {
    const { path, name } = place(t);
    const server = await startIvshmem(t, ['-S', path, '-M', name, '--limit', 'ivshmem-peers=2']);
    const a = await RawPeer.connect(t, path);
    const b = await RawPeer.connect(t, path);
    await b.told(5);
    const c = await RawPeer.connect(t, path);
    await eventually('the third is closed', () => c.closed);
    t.strictSame([server.ids, c.heard], [[0, 1], []]);
    a.leave();
    await eventually('a has left', () => server.ids.length === 1);
    const d = await RawPeer.connect(t, path);
    await d.told(5);
    t.strictSame(server.ids, [1, 2]);
  },
);

t.test(
  'a client that does not read holds nobody up, and is dropped at the limit',
  needsNative,
  async (t) => {
    const { path, name } = place(t);
    const limit = 1000;
    const words = ['-S', path, '-M', name, '-n', '64', '--limit', `ivshmem-queue=${String(limit)}`];
    const server = await startIvshmem(t, words);
    const slow = await RawPeer.connect(t, path);
    await slow.told(3 + 64);
    slow.pause();
    const quick = await RawPeer.connect(t, path);
    await quick.told(3 + 2 * 64);
    // Each of these makes 65 messages for everybody; the socket takes a few hundred.
    for (let round = 0; server.ids.includes(0) && round < 100; round++) {
      const visitor = await RawPeer.connect(t, path);
      await visitor.told(3);
      visitor.leave();
      await eventually('the visitor has left', () => server.ids.every((id) => id < 2));
    }
    t.strictSame(server.ids, [1], 'the slow one is gone');
    await eventually('quick hears of it', () => quick.heard.includes('0'));
    t.equal(quick.closed, false);
  },
);

t.test(
  'an orderly stop leaves nothing, a second server does not disturb the first',
  needsNative,
  async (t) => {
    const { path, name, shm, folder } = place(t);
    const pid = join(folder, 'pid');
    const server = await startIvshmem(t, ['-S', path, '-M', name, '-p', pid]);
    t.strictSame(
      [existsSync(path), existsSync(shm), readFileSync(pid, 'latin1')],
      [true, true, `${String(process.pid)}\n`],
    );
    const a = await RawPeer.connect(t, path);
    await a.told(4);
    await t.rejects(startIvshmem(t, ['-S', path, '-M', name]), {
      message: /Address already in use/,
    });
    t.equal(existsSync(shm), true);
    await server.stop();
    await server.stop();
    t.strictSame(
      [path, shm, pid].map((at) => existsSync(at)),
      [false, false, false],
    );
    await eventually('a notices', () => a.closed);
    raise(a.descriptor(3));
    t.equal(raised(a.descriptor(3)), 1n, 'what it was given keeps working');
  },
);

t.test('memory of somebody else is used when its size fits, and stays', needsNative, async (t) => {
  const { path, name, shm } = place(t);
  writeFileSync(shm, Buffer.alloc(65_536, 'x'));
  await t.rejects(startIvshmem(t, ['-S', path, '-M', name, '-l', '1M']), {
    message: `${shm} exists and has 65536 bytes, not 1048576 bytes: choose another name`,
  });
  t.equal(existsSync(path), false);
  const server = await startIvshmem(t, ['-S', path, '-M', name, '-l', '64K']);
  const a = await RawPeer.connect(t, path);
  await a.told(3);
  const seen = Buffer.alloc(2);
  readSync(a.descriptor(2), seen, 0, 2, 0);
  t.equal(seen.toString(), 'xx');
  await server.stop();
  t.equal(existsSync(shm), true);
});

t.test('memory may live in a directory without a name', needsNative, async (t) => {
  const { path, folder } = place(t);
  await startIvshmem(t, ['-S', path, '-m', folder, '-l', '3M', '-n', '0']);
  const a = await RawPeer.connect(t, path);
  await a.told(3);
  t.equal(fstatSync(a.descriptor(2)).size, 4 << 20, 'rounded up to a power of two');
  t.equal(fstatSync(a.descriptor(2)).nlink, 0);
  await t.rejects(startIvshmem(t, ['-S', `${path}2`, '-m', join(folder, 'none')]), {
    message: /No such file or directory/,
  });
  t.equal(existsSync(`${path}2`), false);
});

t.test('clients that come and go leave no descriptor behind', needsNative, async (t) => {
  const { path, folder } = place(t);
  const server = await startIvshmem(t, ['-S', path, '-m', folder, '-n', '4']);
  const open = openDescriptors();
  const stays = await RawPeer.connect(t, path);
  await stays.told(7);
  for (let round = 0; round < 20; round++) {
    const visitors = [1, 2, 3, 4].map(() => RawPeer.connect(t, path));
    for (const visitor of await Promise.all(visitors)) {
      if (round % 2 === 0) await visitor.told(3);
      visitor.leave();
    }
    await eventually('they have left', () => server.ids.length === 1);
  }
  t.equal(stays.closed, false);
  stays.leave();
  await eventually('all have left', () => server.ids.length === 0);
  t.strictSame(openDescriptors(), open);
});

t.test('without the native layer it says what is missing', async (t) => {
  const { path, name } = place(t);
  const { IvshmemService } = await import('../../../server/ivshmem/service.js');
  const { parseServerOptions } = await import('../../../server/ivshmem/options.js');
  const { createLog } = await import('../../../server/log.js');
  const options = parseServerOptions(['-S', path, '-M', name]);
  if (options === undefined) throw new Error('no options');
  const service = new IvshmemService({
    ...options,
    log: createLog('silent'),
    nativeDisabled: true,
  });
  await t.rejects(service.start(), { message: /optional package koffi is needed/ });
  t.equal(existsSync(path), false);
});

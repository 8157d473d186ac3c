import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import type { Json } from '../side-by-side/client.js';
import { LineClient } from '../clients/transcript.js';
import { eventually, privateFolder, startDaemon, type Cleanup } from '../support/daemon.js';
import { runStatus, setCapabilities, startPair, statusIs } from '../support/migration.js';
import { Qmp } from '../support/qmp.js';

const chardev = (id: string): Record<string, Json> => ({ type: 'chardev', id });
const MIGRATION = { type: 'migration' };
const MONITOR = chardev('compat_monitor0');
const yank = (qmp: Qmp, ...instances: Record<string, Json>[]): Promise<Json> =>
  qmp.execute('yank', { instances });
const listed = (qmp: Qmp): Promise<Json> => qmp.execute('query-yank');
const isConnected = async (qmp: Qmp, id: string): Promise<boolean> =>
  (await qmp.execute('qom-get', { path: `/chardevs/${id}`, property: 'connected' })) === true;

const socketAt = (id: string, path: string, more: Record<string, Json> = {}) => ({
  id,
  backend: { type: 'socket', data: { addr: { type: 'unix', data: { path } }, ...more } },
});
/** Whoever connects there, and how often somebody did. */
const listenAt = async (t: Cleanup, path: string): Promise<Socket[]> => {
  const peers: Socket[] = [];
  const server = createServer((socket) => peers.push(socket.on('error', () => undefined)));
  server.listen(path);
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const peer of peers) peer.destroy();
  });
  return peers;
};
const peerOf = async (
  t: Cleanup,
  path: string,
): Promise<{ socket: Socket; ended: () => boolean }> => {
  let hasEnded = false;
  const socket = connect(path);
  socket.on('error', () => undefined).on('close', () => (hasEnded = true));
  socket.resume();
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  return { socket, ended: () => hasEnded };
};

t.test('sockets are listed in the order of their coming, and only they', async (t) => {
  const folder = privateFolder(t);
  const { qmp } = await startDaemon(t, [
    ...['-M', 'none', '-chardev', 'null,id=n'],
    ...['-chardev', `socket,id=a,path=${folder}/a,server=on,wait=off`],
    ...['-chardev', 'socket,id=t,host=127.0.0.1,port=0,server=on,wait=off'],
  ]);
  const [a, tcp, x] = ['a', 't', 'x'].map(chardev);
  t.strictSame(await listed(qmp), [MONITOR, a, tcp]);
  await qmp.execute('chardev-add', socketAt('x', join(folder, 'x'), { wait: false }));
  await t.rejects(
    qmp.execute('chardev-add', socketAt('bad', join(folder, 'no'), { server: false })),
  );
  t.strictSame(await listed(qmp), [MONITOR, a, tcp, x]);
  await qmp.execute('chardev-remove', { id: 'a' });
  t.strictSame(await listed(qmp), [MONITOR, tcp, x]);
});

t.test('one instance that is not there: nothing is cut', async (t) => {
  const path = join(privateFolder(t), 'c');
  const { qmp } = await startDaemon(t, [
    ...['-M', 'none', '-chardev', 'null,id=n'],
    ...['-chardev', `socket,id=c,path=${path},server=on,wait=off`],
  ]);
  const { ended } = await peerOf(t, path);
  await eventually('connected', () => isConnected(qmp, 'c'));
  const notFound = { class: 'DeviceNotFound', message: 'Instance not found' };
  for (const other of [
    chardev('zz'),
    chardev('n'),
    MIGRATION,
    { type: 'block-node', 'node-name': 'c' },
  ]) {
    await t.rejects(yank(qmp, chardev('c'), other), notFound);
    await t.rejects(yank(qmp, other, chardev('c')), notFound);
  }
  t.equal(await isConnected(qmp, 'c'), true);
  t.equal(ended(), false);
  t.strictSame(await yank(qmp), {});
  t.strictSame(await yank(qmp, chardev('c'), chardev('c')), {}, 'one may be named twice');
  await eventually('cut', ended);
});

t.test('a listening chardev goes on: who waits is served, who comes again too', async (t) => {
  const path = join(privateFolder(t), 'c');
  const listening = `socket,id=c,path=${path},server=on,wait=off`;
  const { qmp } = await startDaemon(t, ['-M', 'none', '-chardev', listening]);
  const first = await peerOf(t, path);
  await eventually('connected', () => isConnected(qmp, 'c'));
  const second = await peerOf(t, path);
  await yank(qmp, chardev('c'));
  await eventually('the first is cut', first.ended);
  t.equal(second.ended(), false);
  t.equal(await isConnected(qmp, 'c'), true);
  await yank(qmp, chardev('c'));
  await eventually('the second is cut', second.ended);
  await eventually('nobody is left', async () => !(await isConnected(qmp, 'c')));
  t.strictSame(await yank(qmp, chardev('c')), {}, 'nobody to cut is no mistake');
  await peerOf(t, path);
  await eventually('connected again', () => isConnected(qmp, 'c'));
});

t.test('a connecting chardev comes back when it reconnects, else it stays away', async (t) => {
  const folder = privateFolder(t);
  const [again, once] = [await listenAt(t, `${folder}/again`), await listenAt(t, `${folder}/once`)];
  const { qmp } = await startDaemon(t, [
    ...['-M', 'none', '-chardev', `socket,id=again,path=${folder}/again,reconnect-ms=10`],
    ...['-chardev', `socket,id=once,path=${folder}/once`],
  ]);
  await eventually('both are connected', () => again.length === 1 && once.length === 1);
  await yank(qmp, chardev('once'), chardev('again'));
  await eventually('one is connected again', () => again.length === 2);
  t.equal(await isConnected(qmp, 'once'), false);
  t.equal(once.length, 1);
});

t.test('of a monitor all clients are cut, out of band as well', async (t) => {
  const path = join(privateFolder(t), 'm');
  const { qmp, socket } = await startDaemon(t, [
    ...['-M', 'none', '-qmp', `unix:${path},server=on,wait=off`],
  ]);
  const [one, other] = [await Qmp.connect(path), await Qmp.connect(path)];
  const clients = [one, other];
  const oob = await LineClient.connect(socket);
  t.teardown(() => [...clients, oob].forEach((client) => client.close()));
  await oob.line();
  await oob.ask('{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}');
  t.match(
    await oob.ask('{"exec-oob":"query-yank","id":1}'),
    '{"return": [{"type": "chardev", "id": "compat_monitor0"}, {"type": "chardev", "id": "compat_monitor1"}], "id": 1}',
  );
  const instances = '[{"id":"compat_monitor0","type":"chardev"}]';
  const request = `{"exec-oob":"yank","id":2,"arguments":{"instances":${instances}}}`;
  t.match(await oob.ask(request), '{"return": {}, "id": 2}');
  for (const client of clients) await client.closed();
  const next = await Qmp.connect(path);
  t.teardown(() => next.close());
  await t.rejects(yank(next, MONITOR), { message: /closed the connection/ }, 'nobody is answered');
  t.match(await qmp.execute('query-name'), {}, 'other monitors are as before');
});

t.test('a migration whose destination hangs fails when it is yanked', async (t) => {
  const { a, path, uri } = await startPair(t, ['-M', 'pc', '-m', '8M']);
  const peers = await listenAt(t, path);
  await a.qmp.execute('migrate', { uri });
  t.strictSame(await listed(a.qmp), [MONITOR, chardev('qtest'), MIGRATION]);
  await eventually('connected', () => peers.length === 1);
  let isCut = false;
  peers[0]?.on('close', () => (isCut = true)).resume();
  t.strictSame(await yank(a.qmp, MIGRATION), {});
  await statusIs(a.qmp, 'failed');
  await eventually('the destination sees the end', () => isCut);
  t.strictSame(await a.qmp.execute('query-migrate'), {
    status: 'failed',
    'error-desc': 'The connection was closed',
  });
  t.equal(await runStatus(a), 'running');
  t.strictSame(await listed(a.qmp), [MONITOR, chardev('qtest')]);
});

t.test('either side cuts a migration that waits before its last phase', async (t) => {
  for (const side of ['source', 'destination'] as const)
    await t.test(side, async (t) => {
      const { a, b, uri } = await startPair(t, ['-M', 'pc', '-m', '8M']);
      const both = [MONITOR, chardev('qtest'), MIGRATION];
      await setCapabilities(a.qmp, ['pause-before-switchover']);
      await t.rejects(yank(b.qmp, MIGRATION), { message: 'Instance not found' });
      await b.qmp.execute('migrate-incoming', { uri });
      t.strictSame(await listed(b.qmp), both, 'from the command on');
      t.strictSame(await yank(b.qmp, MIGRATION), {}, 'it goes on listening');
      await a.qmp.execute('migrate', { uri });
      await statusIs(a.qmp, 'pre-switchover');
      t.strictSame([await listed(a.qmp), await listed(b.qmp)], [both, both]);
      await yank(side === 'source' ? a.qmp : b.qmp, MIGRATION);
      await Promise.all([statusIs(a.qmp, 'failed'), statusIs(b.qmp, 'failed')]);
      t.strictSame([await runStatus(a), await runStatus(b)], ['running', 'inmigrate']);
      const rest = both.slice(0, 2);
      t.strictSame([await listed(a.qmp), await listed(b.qmp)], [rest, rest]);
    });
});

t.test(
  'a migration that begins nowhere, or ends well, leaves the list; a file is not cut',
  async (t) => {
    const { a } = await startPair(t, ['-M', 'pc', '-m', '8M']);
    const rest = [MONITOR, chardev('qtest')];
    const folder = privateFolder(t);
    await t.rejects(a.qmp.execute('migrate', { uri: 'nope:1' }));
    t.strictSame(await listed(a.qmp), rest);
    await setCapabilities(a.qmp, ['pause-before-switchover']);
    await a.qmp.execute('migrate', { uri: `file:${folder}/f` });
    await statusIs(a.qmp, 'pre-switchover');
    t.strictSame(await yank(a.qmp, MIGRATION), {});
    await a.qmp.execute('chardev-add', socketAt('x', `${folder}/x`, { wait: false }));
    t.strictSame(await listed(a.qmp), [...rest, MIGRATION, chardev('x')]);
    await a.qmp.execute('migrate-continue', { state: 'pre-switchover' });
    await statusIs(a.qmp, 'completed');
    t.strictSame(await listed(a.qmp), [...rest, chardev('x')]);
  },
);

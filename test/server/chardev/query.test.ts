import { join } from 'node:path';
import { connect } from 'node:net';
import { once } from 'node:events';
import t from 'tap';
import { eventually, privateFolder, startDaemon } from '../../support/daemon.js';

t.test('query-chardev shows every character device and its peer', async (t) => {
  const path = join(privateFolder(t), 'c.sock');
  const words = ['-chardev', `socket,id=c,path=${path},server=on,wait=off`];
  const { qmp, socket } = await startDaemon(t, ['-nodefaults', ...words, '-chardev', 'null,id=n']);
  const monitor = {
    label: 'compat_monitor0',
    filename: `unix:${socket},server=on`,
    'frontend-open': true,
  };
  const c = { label: 'c', filename: `unix:${path},server=on`, 'frontend-open': false };
  const n = { label: 'n', filename: 'null', 'frontend-open': false };
  t.strictSame(await qmp.execute('query-chardev'), [
    monitor,
    { ...c, filename: `disconnected:${c.filename}` },
    n,
  ]);
  const peer = connect(path);
  t.teardown(() => peer.destroy());
  await once(peer, 'connect');
  t.strictSame(await qmp.execute('query-chardev'), [monitor, c, n]);
});

t.test('a peer that leaves is noticed without a device, and the next one comes in', async (t) => {
  const folder = privateFolder(t);
  const words = [`path=${join(folder, 'c')}`, 'host=127.0.0.1,port=0'];
  const { qmp } = await startDaemon(t, [
    '-nodefaults',
    ...words.flatMap((where, i) => [
      '-chardev',
      `socket,id=c${String(i)},${where},server=on,wait=off`,
    ]),
  ]);
  for (const id of ['c0', 'c1']) {
    const connected = async (): Promise<boolean> =>
      (await qmp.execute('qom-get', { path: `/chardevs/${id}`, property: 'connected' })) === true;
    const addr = (await qmp.execute('qom-get', { path: `/chardevs/${id}`, property: 'addr' })) as {
      path?: string;
      port?: string;
    };
    for (const said of ['', 'unread']) {
      const peer = addr.path === undefined ? connect(Number(addr.port)) : connect(addr.path);
      await once(peer, 'connect');
      await eventually(`${id} connected`, connected);
      peer.end(said);
      peer.resume();
      await eventually(`${id} disconnected`, async () => !(await connected()));
      t.equal(await connected(), false);
    }
  }
});

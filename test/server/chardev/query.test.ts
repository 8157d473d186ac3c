import { join } from 'node:path';
import { connect } from 'node:net';
import { once } from 'node:events';
import t from 'tap';
import { privateFolder, startDaemon } from '../../support/daemon.js';

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

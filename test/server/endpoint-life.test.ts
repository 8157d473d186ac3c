import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { connectWhenUp, eventually, privateFolder, spawnDaemon } from '../support/daemon.js';

const appears = (path: string): Promise<void> => eventually(path, () => existsSync(path));

t.test('a signal while the first client is waited for leaves no socket behind', async (t) => {
  const socket = join(privateFolder(t), 'qmp.sock');
  const { child, exit } = spawnDaemon(t, ['-M', 'none', '-qmp', `unix:${socket},server=on`]);
  await appears(socket);
  child.kill('SIGTERM');
  t.equal(await exit, 0);
  t.equal(existsSync(socket), false);
});

t.test('a daemon that cannot start leaves the pid file of another one alone', async (t) => {
  const folder = privateFolder(t);
  const [socket, pidfile] = [join(folder, 'qmp.sock'), join(folder, 'pid')];
  const words = ['-M', 'none', '-qmp', `unix:${socket},server=on,wait=off`, '-pidfile', pidfile];
  const first = spawnDaemon(t, words);
  const qmp = await connectWhenUp(socket);
  await qmp.execute('query-status');
  const second = spawnDaemon(t, words);
  t.equal(await second.exit, 1);
  t.match(second.stderr(), /Address already in use\n$/);
  t.equal(readFileSync(pidfile, 'utf8'), `${String(first.child.pid)}\n`);
  await qmp.execute('quit');
  t.equal(await first.exit, 0);
  t.equal(existsSync(pidfile), false);
});

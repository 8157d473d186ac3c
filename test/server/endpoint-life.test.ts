import { existsSync, readFileSync, writeFileSync } from 'node:fs';
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

const monitor = (socket: string): string[] => ['-qmp', `unix:${socket},server=on,wait=off`];

t.test('a daemon that cannot start leaves no pid file', async (t) => {
  const folder = privateFolder(t);
  const [socket, pidfile] = [join(folder, 'qmp.sock'), join(folder, 'pid')];
  spawnDaemon(t, ['-M', 'none', ...monitor(socket)]);
  await connectWhenUp(socket);
  const second = spawnDaemon(t, ['-M', 'none', ...monitor(socket), '-pidfile', pidfile]);
  t.equal(await second.exit, 1);
  t.match(second.stderr(), /Address already in use\n$/);
  t.equal(existsSync(pidfile), false);
});

for (const [kind, env] of [
  ['a lock', process.env],
  ['its process, without the native layer', { ...process.env, QMEMD_NATIVE: 'none' }],
] as const)
  t.test(`a pid file belongs to one daemon, by ${kind}`, async (t) => {
    const folder = privateFolder(t);
    const [socket, other] = [join(folder, 'qmp.sock'), join(folder, 'other.sock')];
    const [pidfile, config] = [join(folder, 'pid'), join(folder, 'config.json')];
    writeFileSync(config, JSON.stringify({ listen: '', pidfile, machines: [{ name: 'a' }] }));
    const words = ['-M', 'none', '-pidfile', pidfile];
    const first = spawnDaemon(t, [...words, ...monitor(socket)], env);
    const qmp = await connectWhenUp(socket);
    await qmp.execute('query-status');
    const pid = `${String(first.child.pid)}\n`;
    const reason = `'${pidfile}', process ${pid.trim()}`;
    const text = `cannot create PID file: Cannot lock pid file: Resource temporarily unavailable (${reason})\n`;
    for (const [more, place] of [
      [[...words, ...monitor(other)], ''],
      [[...words, '-daemonize'], ''],
      [['--config', config], `${config}: pidfile: `],
    ] as const) {
      const second = spawnDaemon(t, more, env);
      t.equal(await second.exit, 1, more.join(' '));
      t.equal(second.stderr(), `qmemd: ${place}${text}`);
      t.equal(readFileSync(pidfile, 'utf8'), pid);
      t.equal(existsSync(other), false);
    }
    first.child.kill('SIGKILL');
    await first.exit;
    t.equal(readFileSync(pidfile, 'utf8'), pid, 'that of a dead process');
    const third = spawnDaemon(t, [...words, ...monitor(other)], env);
    const again = await connectWhenUp(other);
    t.equal(readFileSync(pidfile, 'utf8'), `${String(third.child.pid)}\n`);
    await again.execute('quit');
    t.equal(await third.exit, 0);
    t.equal(existsSync(pidfile), false);
  });

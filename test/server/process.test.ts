import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { QMP_VERSION, VERSION } from '../../server/version.js';
import {
  connectWhenUp,
  eventually,
  privateFolder,
  PROGRAM,
  spawnDaemon,
} from '../support/daemon.js';
import { needsNative } from '../support/mdevice.js';

const NONE = ['-M', 'none'];

/** Exit status and what was printed, of a run that ends by itself. */
const finish = async (
  t: Parameters<typeof spawnDaemon>[0],
  words: readonly string[],
): Promise<{ status: number; stdout: string; stderr: string }> => {
  const daemon = spawnDaemon(t, words);
  const status = await daemon.exit;
  return { status, stdout: daemon.stdout(), stderr: daemon.stderr() };
};

t.test('the version is that of package.json', async (t) => {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  t.equal((JSON.parse(text) as { version: string }).version, VERSION);
  t.equal(QMP_VERSION.package, `qmemd ${VERSION}`);
  t.match(await finish(t, ['-version']), { status: 0, stdout: VERSION, stderr: /^$/ });
});

t.test('-h lists the options of its own', async (t) => {
  const { status, stdout } = await finish(t, ['-h']);
  t.equal(status, 0);
  for (const option of ['--listen', '--limit', '--log-level', '-qmp', '-daemonize'])
    t.match(stdout, option);
});

t.test('-qmp stdio answers what came, also at the end of input', async (t) => {
  const { child, stdout, exit } = spawnDaemon(t, [...NONE, '-qmp', 'stdio']);
  child.stdin?.end('{"execute":"qmp_capabilities"}{"execute":"query-status"}{"execute":"quit"}');
  t.equal(await exit, 0);
  const lines = stdout().split('\r\n');
  t.equal(lines.length, 6);
  t.match(lines[2], '{"return": {"status": "running", "running": true}}');
  t.match(lines[3], '"event": "SHUTDOWN"');
  t.equal(lines[4], '{"return": {}}');
});

t.test('-qmp-pretty indents, with CR LF inside too', async (t) => {
  const { child, stdout, exit } = spawnDaemon(t, [...NONE, '-qmp-pretty', 'stdio']);
  child.stdin?.end('{"execute":"qmp_capabilities"}{"execute":"quit"}');
  t.equal(await exit, 0);
  t.match(stdout(), '{\r\n    "QMP": {\r\n');
});

t.test('the path of a pseudo terminal is printed, as QEMU does', needsNative, async (t) => {
  const terminal = ['-chardev', 'pty,id=c0', '-device', 'isa-serial,chardev=c0'];
  const words = ['-M', 'pc', '-nodefaults', ...terminal, '-qmp', 'stdio'];
  const { child, stdout, exit } = spawnDaemon(t, words);
  child.stdin?.end('{"execute":"qmp_capabilities"}{"execute":"query-chardev"}{"execute":"quit"}');
  t.equal(await exit, 0);
  const path = /char device redirected to (\/dev\/pts\/\d+) \(label c0\)\n/.exec(stdout())?.[1];
  t.match(stdout(), `"pty:${path ?? 'no path'}"`);
});

t.test('a chardev without server=on connects to whoever listens', async (t) => {
  const path = join(privateFolder(t), 'listen.sock');
  const server = createServer().listen(path);
  t.teardown(() => server.close());
  await once(server, 'listening');
  const arrival = once(server, 'connection') as Promise<[Socket]>;
  const words = ['-chardev', `socket,id=c,path=${path}`, '-mon', 'chardev=c,mode=control'];
  const { exit } = spawnDaemon(t, [...NONE, ...words]);
  const [socket] = await arrival;
  const [greeting] = (await once(socket, 'data')) as [Buffer];
  t.match(greeting.toString(), /^\{"QMP": .*\}\r\n$/);
  socket.write('{"execute":"qmp_capabilities"}{"execute":"quit"}');
  socket.resume();
  t.equal(await exit, 0);
});

t.test('nobody to connect to is one clear line', async (t) => {
  const path = join(privateFolder(t), 'nobody.sock');
  const { status, stderr } = await finish(t, [...NONE, '-qmp', `unix:${path}`]);
  t.equal(status, 1);
  t.match(stderr, /^qmemd: .*nobody\.sock.*\n$/);
});

t.test(
  'a file that cannot be opened is one line in plain words that names the option',
  async (t) => {
    const folder = privateFolder(t);
    const no = join(folder, 'no', 'file');
    const listen = ['--listen', '127.0.0.1:0'];
    for (const [words, problem] of [
      [['-D', no], `-D ${no}: Failed to open '${no}': No such file or directory`],
      [['-D', folder], `-D ${folder}: Failed to open '${folder}': Is a directory`],
      [
        [...listen, '--token-file', no],
        `--token-file ${no}: Failed to open '${no}': No such file or directory`,
      ],
    ] as const)
      t.match(await finish(t, [...NONE, ...words]), { status: 1, stderr: `qmemd: ${problem}\n` });
    for (const [path, reason] of [
      [no, 'No such file or directory'],
      [folder, 'Is a directory'],
    ] as const)
      t.match(await finish(t, ['--config', path]), {
        status: 1,
        stderr: `qmemd: --config ${path}: Failed to open '${path}': ${reason}\n`,
      });
    const env = { ...process.env, XDG_RUNTIME_DIR: folder };
    t.equal(await spawnDaemon(t, ['--demo', '-D', no], env).exit, 1);
    t.equal(existsSync(join(folder, 'qmemd')), false, 'the demonstration leaves nothing behind');
  },
);

t.test('a machine that nobody can reach says so, and no other does', async (t) => {
  const path = join(privateFolder(t), 'qmp.sock');
  const silent =
    /^qmemd: info: no monitor, no qtest and no --listen: .*\(try qmemd -h or --demo\)\n$/;
  for (const words of [[], [...NONE, '-monitor', 'stdio'], [...NONE, '-incoming', 'defer']]) {
    const { child, stderr, exit } = spawnDaemon(t, words);
    await eventually('a line on stderr', () => stderr() !== '');
    t.match(stderr(), silent, words.join(' '));
    child.kill('SIGTERM');
    t.equal(await exit, 0);
  }
  for (const words of [
    ['-qmp', `unix:${path},server=on,wait=off`],
    ['-qtest', `unix:${path},server=on,wait=off`],
    ['-incoming', `unix:${path}`],
  ]) {
    const { child, stderr, exit } = spawnDaemon(t, [...NONE, ...words]);
    await eventually('it listens', () => existsSync(path));
    // What it says of its start is printed before a signal is looked at.
    child.kill('SIGTERM');
    t.equal(await exit, 0);
    t.equal(stderr(), '', words.join(' '));
  }
});

/** Listens, hands the socket to a daemon as descriptors 3 and 4 and leaves, as a manager that restarts. */
const MANAGER = `
const [program, path, ...words] = process.argv.slice(1);
const server = require('node:net').createServer().listen(path, () => {
  const { fd } = server._handle;
  const stdio = ['ignore', 'ignore', 'inherit', fd, fd];
  require('node:child_process').spawn(process.execPath, [program, ...words], { stdio });
  process.exit();
});`;

const INHERITED = [
  ...['-chardev', 'socket,id=c,fd=3,server=on,wait=off', '-mon', 'chardev=c,mode=control'],
];

for (const words of [[], ['-daemonize']])
  t.test(`an inherited listening descriptor is served ${words.join()}`, async (t) => {
    const path = join(privateFolder(t), 'inherited.sock');
    const all = ['-e', MANAGER, PROGRAM, path, ...NONE, ...INHERITED, ...words];
    const manager = spawn(process.execPath, all);
    await once(manager, 'exit');
    const qmp = await connectWhenUp(path);
    t.match(await qmp.execute('query-status'), { running: true });
    await qmp.execute('quit');
    await qmp.closed();
  });

t.test('-daemonize does not invent a descriptor that an option names', async (t) => {
  const { status, stderr } = await finish(t, [...NONE, ...INHERITED, '-daemonize']);
  t.equal(status, 1);
  t.match(stderr, /^qmemd: .*File descriptor '3' is not a socket\n$/);
});

t.test('-daemonize: a daemon that nobody waits for any more ends', async (t) => {
  const folder = privateFolder(t);
  const [waited, pidfile] = [join(folder, 'waited.sock'), join(folder, 'pid')];
  const qmpWords = ['-qmp', `unix:${waited},server=on`, '-pidfile', pidfile];
  const { child, exit } = spawnDaemon(t, [...NONE, '-daemonize', ...qmpWords]);
  await eventually('it waits for a client', () => existsSync(waited));
  const pid = Number(readFileSync(pidfile, 'utf8'));
  t.teardown(() => {
    if (existsSync(`/proc/${String(pid)}`)) process.kill(pid, 'SIGKILL');
  });
  child.kill('SIGKILL');
  (await connectWhenUp(waited)).close();
  await exit;
  await eventually('nothing is left', () => !existsSync(waited) && !existsSync(pidfile));
});

t.test('-daemonize returns once the daemon serves, and leaves a pid file', async (t) => {
  const folder = privateFolder(t);
  const [socket, pidfile] = [join(folder, 'qmp.sock'), join(folder, 'pid')];
  const qmpWords = ['-qmp', `unix:${socket},server=on,wait=off`];
  const result = await finish(t, [...NONE, '-daemonize', '-pidfile', pidfile, ...qmpWords]);
  t.match(result, { status: 0, stdout: /^$/, stderr: /^$/ });
  const pid = Number(readFileSync(pidfile, 'utf8'));
  t.teardown(() => {
    if (existsSync(`/proc/${String(pid)}`)) process.kill(pid, 'SIGKILL');
  });
  const qmp = await connectWhenUp(socket);
  process.kill(pid, 'SIGTERM');
  t.match(await qmp.event('SHUTDOWN'), { data: { reason: 'host-signal' } });
  await qmp.closed();
  await eventually('pid file and socket go', () => !existsSync(pidfile) && !existsSync(socket));
});

t.test('-daemonize reports a failure as if there were no background', async (t) => {
  const { status, stderr } = await finish(t, [...NONE, '-daemonize', '-device', 'nosuch']);
  t.equal(status, 1);
  t.match(stderr, /^qmemd: -device nosuch: 'nosuch' is not a valid device model name\n$/);
});

t.test('-daemonize does not take stdin and stdout away', async (t) => {
  const { status, stderr } = await finish(t, [...NONE, '-daemonize', '-qmp', 'stdio']);
  t.equal(status, 1);
  t.equal(stderr, 'qmemd: -qmp stdio: cannot use stdio with -daemonize\n');
});

t.test('-daemonize looks into the file of --config, too', async (t) => {
  const file = join(privateFolder(t), 'c.json');
  for (const [machine, text] of [
    [
      { name: 'a', monitors: ['stdio'] },
      'machines[0].monitors[0]: cannot use stdio with -daemonize',
    ],
    [
      { name: 'a', chardevs: ['stdio,id=a'] },
      'machines[0].chardevs[0]: cannot use stdio with -daemonize',
    ],
  ] as const) {
    writeFileSync(file, JSON.stringify({ listen: '', machines: [machine] }));
    const { status, stderr } = await finish(t, ['-daemonize', '--config', file]);
    t.equal(status, 1);
    t.equal(stderr, `qmemd: ${file}: ${text}\n`);
  }
  const path = join(privateFolder(t), 'inherited.sock');
  const chardevs = ['socket,id=c,fd=4,server=on,wait=off'];
  const machine = { name: 'a', chardevs, monitors: ['chardev:c'] };
  writeFileSync(file, JSON.stringify({ listen: '', machines: [machine] }));
  const words = ['-daemonize', '--config', file];
  await once(spawn(process.execPath, ['-e', MANAGER, PROGRAM, path, ...words]), 'exit');
  const qmp = await connectWhenUp(path);
  t.match(await qmp.execute('query-name'), { name: 'a' });
  await qmp.execute('quit');
  await qmp.closed();
});

t.test('addresses of IPv6 are printed in brackets', async (t) => {
  const served = spawnDaemon(t, [...NONE, '--listen', '[::1]:0']);
  const waiting = spawnDaemon(t, [...NONE, '-qmp', 'tcp:[::1]:0,server=on']);
  for (const { stderr } of [served, waiting])
    await eventually('a line on stderr', () => stderr() !== '');
  t.match(served.stderr(), /^qmemd: HTTP and WebSocket on \[::1\]:[0-9]+\n$/);
  t.match(waiting.stderr(), /waiting for a client on tcp:\[::1\]:0 /);
});

t.test('a monitor that waits says for whom, and a signal ends the wait cleanly', async (t) => {
  const socket = join(privateFolder(t), 'qmp.sock');
  const daemon = spawnDaemon(t, [...NONE, '-qmp', `unix:${socket},server=on`]);
  await eventually('a line on stderr', () => daemon.stderr() !== '');
  t.match(daemon.stderr(), `waiting for a client on unix:${socket}`);
  daemon.child.kill('SIGTERM');
  t.equal(await daemon.exit, 0);
  t.equal(existsSync(socket), false);
});

t.test('further signals do not disturb an orderly end', async (t) => {
  const folder = privateFolder(t);
  const [socket, pidfile] = [join(folder, 'qmp.sock'), join(folder, 'pid')];
  const daemon = spawnDaemon(t, [
    ...NONE,
    ...['-qmp', `unix:${socket},server=on,wait=off`, '-pidfile', pidfile],
  ]);
  (await connectWhenUp(socket)).close();
  const peer = connect(socket);
  let told = '';
  peer.on('data', (chunk: Buffer) => (told += chunk.toString()));
  peer.write('{"execute":"qmp_capabilities"}');
  await eventually('negotiated', () => told.includes('return'));
  // Reads no more: the end waits for it, for a while.
  const slow = connect(socket);
  slow.pause();
  slow.write('{"execute":"qmp_capabilities"}' + '{"execute":"query-qmp-schema"}'.repeat(20));
  await eventually('it has asked', () => slow.writableLength === 0 && slow.bytesWritten > 0);
  // Answered after what came before it.
  peer.write('{"execute":"query-name"}');
  await eventually('both are heard', () => told.split('return').length > 2);
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGTERM'] as const)
    daemon.child.kill(signal);
  await eventually('SHUTDOWN', () => told.includes('SHUTDOWN'));
  daemon.child.kill('SIGTERM');
  t.equal(await daemon.exit, 0);
  slow.destroy();
  t.equal(told.split('SHUTDOWN').length, 2, 'it is told once');
  t.equal(existsSync(pidfile), false);
});

t.test('SIGUSR1 opens no debugger', async (t) => {
  const socket = join(privateFolder(t), 'qmp.sock');
  const daemon = spawnDaemon(t, [...NONE, '-qmp', `unix:${socket},server=on,wait=off`]);
  const client = await connectWhenUp(socket);
  daemon.child.kill('SIGUSR1');
  // Long enough for the debugger to listen and to say so.
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.match(await client.execute('query-status'), { running: true });
  client.close();
  daemon.child.kill('SIGTERM');
  t.equal(await daemon.exit, 0);
  t.equal(daemon.stderr(), '');
});

t.test('a log that nobody reads holds nothing up', async (t) => {
  const path = join(privateFolder(t), 'qmp.sock');
  const words = [...NONE, '--limit', 'clients=1', '-qmp', `unix:${path},server=on,wait=off`];
  const child = spawn(process.execPath, [PROGRAM, ...words], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const client = await connectWhenUp(path);
  // Each of them is a line in the log.
  for (let refused = 0; refused < 4000; refused++) {
    const peer = connect(path).resume();
    await once(peer, 'close');
  }
  t.match(await client.execute('query-status'), { running: true });
  client.close();
  child.kill('SIGTERM');
  t.strictSame(await once(child, 'exit'), [0, null]);
});

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import {
  connectWhenUp,
  eventually,
  privateFolder,
  PROGRAM,
  startDaemon,
  type Cleanup,
} from '../support/daemon.js';
import { timesOpen } from '../support/descriptors.js';
import { PassingClient } from '../support/passing.js';
import { needsNative } from '../support/mdevice.js';

const DIST = new URL('../../dist/', import.meta.url);

/** A file that is open once: in the test. */
const openFile = (t: Cleanup) => {
  const path = fs.realpathSync(privateFolder(t)) + '/passed';
  const fd = fs.openSync(path, 'w+');
  t.teardown(() => fs.closeSync(fd));
  return { fd, others: (): number => timesOpen(path) - 1 };
};

t.test('--limit descriptors holds for names of all monitors and sets', needsNative, async (t) => {
  const other = join(privateFolder(t), 'other.sock');
  const { socket } = await startDaemon(t, [
    ...['-M', 'none', '--limit', 'descriptors=3'],
    ...['-qmp', `unix:${other},server=on,wait=off`],
  ]);
  const { fd, others } = openFile(t);
  const client = await PassingClient.connect(t, socket);
  const stranger = await PassingClient.connect(t, other);
  const refusal = (what: string): string =>
    `GenericError: File descriptor ${what} cannot be kept: the machine holds 3 already, the limit`;

  t.strictSame(await client.run('getfd', { fdname: 'a' }, [fd]), {});
  t.strictSame(await stranger.run('getfd', { fdname: 'a' }, [fd]), {});
  t.match(await client.run('add-fd', {}, [fd]), { 'fdset-id': 0 });
  t.equal(await client.run('getfd', { fdname: 'b' }, [fd]), refusal("named 'b'"));
  t.equal(await stranger.run('add-fd', { 'fdset-id': 7 }, [fd]), refusal('of fdset-id:7'));
  t.strictSame(await client.run('query-fdsets'), [
    { 'fdset-id': 0, fds: [{ fd: (await sets(client))[0]?.fds[0]?.fd }] },
  ]);
  t.equal(others(), 3, 'what is refused is closed');

  t.strictSame(await client.run('getfd', { fdname: 'a' }, [fd]), {}, 'a name may be replaced');
  t.strictSame(await stranger.run('closefd', { fdname: 'a' }), {});
  t.strictSame(await client.run('getfd', { fdname: 'b' }, [fd]), {});
  t.strictSame(await client.run('remove-fd', { 'fdset-id': 0 }), {});
  t.match(await stranger.run('add-fd', {}, [fd]), { 'fdset-id': 0 });
  t.equal(await client.run('getfd', { fdname: 'c' }, [fd]), refusal("named 'c'"));
  t.equal(others(), 3);
});

const sets = async (client: PassingClient) =>
  (await client.run('query-fdsets')) as { fds: { fd: number }[] }[];

/** The built program, which may have so many descriptors. */
const startWithFew = async (t: Cleanup, count: number, more: readonly string[] = []) => {
  const socket = join(privateFolder(t), 'qmp.sock');
  const script = `ulimit -n ${String(count)}; exec "$@"`;
  const words = ['-M', 'none', '-qmp', `unix:${socket},server=on,wait=off`, ...more];
  const child = spawn('sh', ['-c', script, 'sh', process.execPath, PROGRAM, ...words], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (chunk: Buffer) => (log += chunk.toString()));
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  (await connectWhenUp(socket)).close();
  const open = (): number => fs.readdirSync(`/proc/${String(child.pid)}/fd`).length;
  return { child, socket, log: () => log, open };
};

t.test('passed descriptors do not use up what the daemon needs', needsNative, async (t) => {
  const { child, socket, log, open } = await startWithFew(t, 256);
  const { fd } = openFile(t);
  const greedy = await PassingClient.connect(t, socket);
  let kept = 0;
  const add = async (): Promise<void> => {
    for (; ; kept++) t.match(await greedy.run('add-fd', {}, [fd]), { 'fdset-id': kept });
  };
  await t.rejects(add(), { message: 'no line came' }, 'it is cut off in the end');
  t.equal(kept > 10, true);
  t.equal(open() <= 256 - 32, true, 'some are left');
  const client = await PassingClient.connect(t, socket);
  t.equal((await sets(client)).length, kept, 'what was answered is kept, and no more');
  await eventually('the log tells', () => log().includes('descriptors that could not be received'));
  t.match(JSON.parse(log().trim().split('\n').at(-1) ?? ''), {
    level: 40,
    msg: 'client cut off',
    reason: 'it sent descriptors that could not be received: the process has too many open',
  });
  t.strictSame(await client.run('migrate', { uri: `unix:${socket}-none` }), {});
  await eventually('migrate does its work', async () => (await status(client)) === 'failed');
  t.match(await client.run('query-migrate'), { 'error-desc': /ENOENT|No such file/ });
  t.equal(child.exitCode, null);
});

const status = async (client: PassingClient): Promise<string | undefined> =>
  ((await client.run('query-migrate')) as { status?: string }).status;

t.test('a daemon without any descriptor left goes on', needsNative, async (t) => {
  const { child, socket, log, open } = await startWithFew(t, 160, ['--log-level', 'debug']);
  const client = await PassingClient.connect(t, socket);
  await eventually('it has loaded what it may need', () => log().includes('code loaded ahead'));
  const crowd: Socket[] = [];
  t.teardown(() => crowd.forEach((one) => one.destroy()));
  let closed = 0;
  while (closed === 0 && crowd.length < 160) {
    const one = connect(socket).on('error', () => undefined);
    one.on('close', () => closed++).resume();
    crowd.push(one);
    await Promise.race([once(one, 'data'), once(one, 'close')]);
  }
  t.equal(open() >= 160, true);
  t.strictSame(await client.run('migrate', { uri: 'tcp:127.0.0.1:1' }), {});
  await eventually('it fails', async () => (await status(client)) === 'failed');
  t.match(await client.run('query-migrate'), { 'error-desc': /EMFILE|Too many open files/ });
  t.match(
    await client.run('human-monitor-command', { 'command-line': 'info status' }),
    'VM status: running',
  );
  client.send(' ', [0]);
  await eventually('the log tells', () => log().includes('client cut off'));
  for (const one of crowd.splice(0)) one.destroy();
  await eventually('others have left', () => open() < 100);
  const next = await PassingClient.connect(t, socket);
  t.strictSame(await next.run('query-name'), {});
  t.equal(child.exitCode, null);
});

t.test('a log that cannot load its library writes plainly', async (t) => {
  const script = `
    import { openSync } from 'node:fs';
    import { createLog } from ${JSON.stringify(new URL('server/log.js', DIST).href)};
    const log = createLog('info').child({ machine: 'm' });
    try { for (;;) openSync('/dev/null'); } catch {}
    log.debug({}, 'not wanted');
    log.warn({ err: new Error('reason') }, 'what happened');
    console.log('alive');`;
  const limited = ['-c', 'ulimit -n 64; exec "$@"', 'sh', process.execPath];
  const { stdout, stderr } = await promisify(execFile)('sh', [
    ...limited,
    ...['--input-type=module', '-e', script],
  ]);
  t.equal(stdout, 'alive\n');
  t.match(JSON.parse(stderr), { level: 40, time: Number, machine: /m/, err: /reason/ });
  t.match(JSON.parse(stderr), { msg: /^what happened \(Error: / });
});

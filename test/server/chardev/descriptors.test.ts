import { once } from 'node:events';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { Daemon } from '../../../server/daemon.js';
import { createLog } from '../../../server/log.js';
import { parseCommandLine } from '../../../server/options/command-line.js';
import type { Json } from '../../side-by-side/client.js';
import { eventually, privateFolder, startDaemon, type Cleanup } from '../../support/daemon.js';
import { listeningDescriptor, native, PassingClient } from '../../support/passing.js';
import { Qmp } from '../../support/qmp.js';

const needsNative = native === undefined ? { skip: 'koffi is not installed' } : {};

/** A daemon, a client that passes descriptors, and what it asks most. */
const start = async (t: Cleanup) => {
  const { socket } = await startDaemon(t, ['-M', 'none']);
  const client = await PassingClient.connect(t, socket);
  const path = join(privateFolder(t), 's');
  const add = (id: string, addr: Record<string, Json>, more: Record<string, Json> = {}) =>
    client.run('chardev-add', { id, backend: { type: 'socket', data: { addr, ...more } } });
  return {
    client,
    path,
    add,
    named: (str: string): Record<string, Json> => ({ type: 'fd', data: { str } }),
    unix: (where = path): Record<string, Json> => ({ type: 'unix', data: { path: where } }),
    filename: async (id: string): Promise<string | undefined> =>
      ((await client.run('query-chardev')) as { label: string; filename: string }[]).find(
        ({ label }) => label === id,
      )?.filename,
    /** Gives the monitor one end of a pair, and closes ours of it. */
    pass: async (): Promise<number> => {
      const [left, right] = native?.socketpair() ?? [-1, -1];
      t.teardown(() => closeSync(right));
      t.teardown(() => client.close());
      const reply = await client.run('getfd', { fdname: 'x' }, [left]);
      closeSync(left);
      if (typeof reply === 'string') throw new Error(reply);
      return right;
    },
    addClient: (protocol: string) => client.run('add_client', { protocol, fdname: 'x' }),
  };
};
const opened = (): number => readdirSync('/proc/self/fd').length;

t.test('add_client: the peer of a character device that has none', needsNative, async (t) => {
  const { client, path, add, unix, filename, pass, addClient } = await start(t);
  await add('s', unix(), { wait: false });
  await add('c', unix(`${path}-none`), { server: false, reconnect: 60 });
  await add('up', unix(), { server: false });
  await client.run('chardev-add', { id: 'n', backend: { type: 'null', data: {} } });
  await client.run('chardev-remove', { id: 'up' });
  await eventually('s is free', async () => (await filename('s')) !== `unix:${path},server=on`);
  const failed = 'GenericError: failed to add client';
  for (const [protocol, expected, shown] of [
    ['s', {}, 'unix:,server=on'],
    ['s', failed, 'unix:,server=on'],
    ['c', {}, 'unix:'],
    ['c', failed, 'unix:'],
    ['n', failed, 'null'],
    ['zz', "GenericError: protocol 'zz' is invalid", undefined],
  ] as const) {
    await pass();
    const before = opened();
    t.strictSame(await addClient(protocol), expected, protocol);
    if (expected !== failed) t.equal(opened() <= before, true, 'the name has given it away');
    else t.equal(opened(), before - 1, 'closed');
    t.equal(await filename(protocol), shown);
  }
});

t.test('add_client gives a monitor one more client', needsNative, async (t) => {
  const { pass, addClient } = await start(t);
  const end = await pass();
  t.strictSame(await addClient('compat_monitor0'), {});
  const into = Buffer.alloc(4096);
  let greeting = -1;
  await eventually('a greeting', () => (greeting = native?.recvmsg(end, into, []) ?? 0) > 0);
  t.match(into.toString('latin1', 0, greeting), /^\{"QMP": /);
});

t.test('chardev-add with a descriptor that getfd named', needsNative, async (t) => {
  const { client, path, add, named, filename, pass } = await start(t);
  await pass();
  t.equal(
    await add('x', named('x'), { server: false, reconnect: 1 }),
    "GenericError: Failed to add chardev 'x': 'reconnect' option is incompatible with 'fd' address type",
  );
  t.strictSame(await add('x', named('x'), { server: false }), {}, 'the name was not used up');
  t.equal(await filename('x'), 'unix:');
  t.equal(
    await add('y', named('x'), { server: false }),
    "GenericError: Failed to add chardev 'y': File descriptor named 'x' has not been found",
  );
  await pass();
  t.equal(
    await add('y', named('x'), { wait: false }),
    "GenericError: Failed to add chardev 'y': Failed to listen on fd socket: Invalid argument",
  );
  const file = openSync('/dev/null', 'r');
  await client.run('getfd', { fdname: 'x' }, [file]);
  const before = opened();
  t.equal(
    await add('y', named('x'), { server: false }),
    "GenericError: Failed to add chardev 'y': File descriptor 'x' is not a socket",
  );
  t.equal(opened(), before - 1, 'it was closed');
  closeSync(file);
  const listening = await listeningDescriptor(path);
  await client.run('getfd', { fdname: 'x' }, [listening]);
  closeSync(listening);
  t.strictSame(await add('l', named('x'), { wait: false }), {});
  t.equal(await filename('l'), `disconnected:unix:${path},server=on`);
  const peer = connect(path);
  t.teardown(() => peer.destroy());
  await eventually('connected', async () => (await filename('l')) === `unix:${path},server=on`);
});

t.test('an inherited monitor serves a client that comes back', needsNative, async (t) => {
  const path = join(privateFolder(t), 'm');
  const fd = String(await listeningDescriptor(path));
  await startDaemon(t, [
    ...['-M', 'none', '-chardev', `socket,id=m,fd=${fd},server=on,wait=off`],
    ...['-mon', 'chardev=m,mode=control'],
  ]);
  for (let time = 0; time < 3; time++) {
    const client = await Qmp.connect(path);
    t.match(await client.execute('query-status'), { running: true });
    client.close();
  }
});

t.test('an inherited monitor with wait=on holds the machine back', needsNative, async (t) => {
  const path = join(privateFolder(t), 'm');
  const fd = String(await listeningDescriptor(path));
  const invocation = parseCommandLine([
    ...['-M', 'none', '-chardev', `socket,id=m,fd=${fd},server=on`],
    ...['-mon', 'chardev=m,mode=control'],
  ]);
  if (invocation.kind !== 'run') throw new Error('the words do not run a daemon');
  let waiting: (kind: string) => void = () => undefined;
  const waits = new Promise<string>((resolve) => (waiting = resolve));
  const daemon = new Daemon({
    config: invocation.options,
    log: createLog('error'),
    onEmpty: () => undefined,
    onWaiting: ({ kind }) => waiting(kind),
  });
  t.teardown(() => daemon.stop());
  let isUp = false;
  const up = daemon.start().then(() => (isUp = true));
  t.equal(await waits, 'unix-fd');
  t.equal(isUp, false);
  const peer = connect(path);
  t.teardown(() => peer.destroy());
  await once(peer, 'connect');
  t.equal(await up, true);
});

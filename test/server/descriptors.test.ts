import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { eventually, privateFolder, startDaemon, type Cleanup } from '../support/daemon.js';
import { timesOpen } from '../support/descriptors.js';
import { PassingClient, native } from '../support/passing.js';

const needsNative = native === undefined ? { skip: 'koffi is not installed' } : {};

const REFUSED = 'GenericError: ';
const NONE = `${REFUSED}No file descriptor supplied via SCM_RIGHTS`;

/** A daemon, and a file that is open once: in the test. */
const start = async (t: Cleanup) => {
  const { socket, daemon } = await startDaemon(t, ['-M', 'none']);
  const path = fs.realpathSync(privateFolder(t)) + '/passed';
  const fd = fs.openSync(path, 'w+');
  t.teardown(() => fs.closeSync(fd));
  const others = (): number => timesOpen(path) - 1;
  return { socket, daemon, fd, others, client: await PassingClient.connect(t, socket) };
};

t.test('getfd keeps a descriptor under a name, closefd closes it', needsNative, async (t) => {
  const { client, fd, others } = await start(t);
  t.equal(await client.run('getfd', { fdname: 'a' }), NONE);
  t.strictSame(await client.run('getfd', { fdname: 'a' }, [fd]), {});
  t.equal(others(), 1);
  t.strictSame(await client.run('getfd', { fdname: 'a' }, [fd]), {}, 'the same name replaces');
  t.equal(others(), 1);
  t.strictSame(await client.run('getfd', { fdname: '' }, [fd]), {}, 'an empty name is a name');
  t.equal(
    await client.run('getfd', { fdname: '1x' }, [fd]),
    `${REFUSED}Parameter 'fdname' expects a name not starting with a digit`,
  );
  t.equal(others(), 2, 'a refused descriptor is closed');
  t.strictSame(await client.run('closefd', { fdname: 'a' }), {});
  t.equal(
    await client.run('closefd', { fdname: 'a' }),
    `${REFUSED}File descriptor named 'a' not found`,
  );
  t.strictSame(await client.run('closefd', { fdname: '' }), {});
  t.equal(others(), 0);
});

t.test('getfd and closefd of the human monitor do the same', needsNative, async (t) => {
  const { client, fd, others } = await start(t);
  const line = (text: string, fds: number[] = []) =>
    client.run('human-monitor-command', { 'command-line': text }, fds);
  t.equal(await line('getfd a', [fd]), '');
  t.equal(others(), 1);
  t.match(await line('getfd 1x', [fd]), /^Error: .*not starting with a digit\r\n$/);
  t.equal(others(), 1, 'a refused descriptor is closed');
  t.equal(await line('closefd a'), '');
  t.equal(others(), 0);
});

t.test('a descriptor may come on a space before its command', needsNative, async (t) => {
  const { client, fd, others } = await start(t);
  client.send(' ', [fd]);
  t.strictSame(await client.run('getfd', { fdname: 'a' }), {});
  client.send(' ', [fd]);
  t.strictSame(await client.run('query-name'), {});
  t.strictSame(await client.run('getfd', { fdname: 'b' }), {}, 'others leave it alone');
  t.equal(others(), 2);
});

t.test(
  'of the newest message the first descriptor counts, the rest is closed',
  needsNative,
  async (t) => {
    const { client, fd, others } = await start(t);
    client.send(' ', [fd, fd]);
    client.send(' ', [fd, fd, fd]);
    t.strictSame(await client.run('getfd', { fdname: 'a' }), {});
    t.equal(await client.run('getfd', { fdname: 'b' }), NONE);
    t.equal(others(), 1);
  },
);

t.test(
  'every command in one write gets the descriptor that came with it',
  needsNative,
  async (t) => {
    const { client, fd, others } = await start(t);
    for (const fdname of ['a', 'b', 'c'])
      client.send(JSON.stringify({ execute: 'getfd', arguments: { fdname } }), [fd]);
    for (let i = 0; i < 3; i++) t.strictSame(await client.reply(), {});
    t.equal(others(), 3);
  },
);

t.test('what nobody takes is closed with the connection', needsNative, async (t) => {
  const { client, socket, fd, others } = await start(t);
  client.send(' ', [fd, fd]);
  t.strictSame(await client.run('query-name'), {});
  t.equal(others(), 1, 'only the first can be had');
  await client.close();
  await eventually('closed', () => others() === 0);
  const next = await PassingClient.connect(t, socket);
  t.equal(await next.run('getfd', { fdname: 'a' }), NONE, 'it was not for the next client');
});

t.test(
  'names belong to the monitor: all its clients see them, also later ones',
  needsNative,
  async (t) => {
    const folder = privateFolder(t);
    const other = join(folder, 'other.sock');
    const { socket, daemon } = await startDaemon(t, [
      '-M',
      'none',
      '-qmp',
      `unix:${other},server=on,wait=off`,
    ]);
    const fd = fs.openSync(join(folder, 'passed'), 'w+');
    t.teardown(() => fs.closeSync(fd));
    const first = await PassingClient.connect(t, socket);
    t.strictSame(await first.run('getfd', { fdname: 'a' }, [fd]), {});
    const stranger = await PassingClient.connect(t, other);
    t.equal(
      await stranger.run('closefd', { fdname: 'a' }),
      `${REFUSED}File descriptor named 'a' not found`,
    );
    await first.close();
    const second = await PassingClient.connect(t, socket);
    t.strictSame(await second.run('closefd', { fdname: 'a' }), {});
    t.strictSame(await second.run('getfd', { fdname: 'a' }, [fd]), {});
    await daemon.stop();
    t.equal(timesOpen(fs.realpathSync(join(folder, 'passed'))), 1, 'a stopped daemon holds none');
  },
);

t.test('sets of descriptors: add-fd, query-fdsets, remove-fd', needsNative, async (t) => {
  const { client, socket, daemon, fd, others } = await start(t);
  t.equal(await client.run('add-fd'), NONE);
  const first = (await client.run('add-fd', {}, [fd])) as { fd: number };
  t.match(first, { 'fdset-id': 0 });
  const second = (await client.run('add-fd', { 'fdset-id': 0, opaque: 'x' }, [fd])) as {
    fd: number;
  };
  const far = (await client.run('add-fd', { 'fdset-id': 7 }, [fd])) as { fd: number };
  const next = (await client.run('add-fd', {}, [fd])) as { fd: number };
  t.equal(
    await client.run('add-fd', { 'fdset-id': -1 }, [fd]),
    `${REFUSED}Parameter 'fdset-id' expects a non-negative value`,
  );
  t.equal(others(), 4);
  const another = await PassingClient.connect(t, socket);
  t.strictSame(await another.run('query-fdsets'), [
    { 'fdset-id': 7, fds: [{ fd: far.fd }] },
    { 'fdset-id': 1, fds: [{ fd: next.fd }] },
    { 'fdset-id': 0, fds: [{ fd: first.fd }, { fd: second.fd, opaque: 'x' }] },
  ]);
  const missing = (what: string): string => `${REFUSED}File descriptor named '${what}' not found`;
  t.equal(await client.run('remove-fd', { 'fdset-id': 9 }), missing('fdset-id:9'));
  t.equal(
    await client.run('remove-fd', { 'fdset-id': 0, fd: 99999 }),
    missing('fdset-id:0, fd:99999'),
  );
  t.strictSame(await client.run('remove-fd', { 'fdset-id': 0, fd: first.fd }), {});
  t.strictSame(await client.run('remove-fd', { 'fdset-id': 7 }), {});
  t.equal(await client.run('remove-fd', { 'fdset-id': 7 }), missing('fdset-id:7'));
  t.equal(others(), 2);
  await daemon.stop();
  t.equal(others(), 0);
});

t.test('add_client refuses a socket that carries no stream', needsNative, async (t) => {
  const { client, others } = await start(t);
  const datagrams = createSocket('udp4').bind(0, '127.0.0.1');
  t.teardown(() => datagrams.close());
  await once(datagrams, 'listening');
  const symbol = Object.getOwnPropertySymbols(datagrams).find(
    ({ description }) => description === 'state symbol',
  );
  const { handle } = Reflect.get(datagrams, symbol ?? '') as { handle: { fd: number } };
  t.strictSame(await client.run('getfd', { fdname: 'x' }, [handle.fd]), {});
  t.equal(
    await client.run('add_client', { protocol: 'compat_monitor0', fdname: 'x' }),
    `${REFUSED}failed to add client`,
  );
  t.equal(others(), 0);
});

t.test('add_client uses the name up, whatever comes of it', needsNative, async (t) => {
  const { client, fd, others } = await start(t);
  const add = (protocol: string): Promise<unknown> =>
    client.run('add_client', { protocol, fdname: 'x' });
  t.equal(await add('nope'), `${REFUSED}File descriptor named 'x' has not been found`);
  const [left, right] = native?.socketpair() ?? [-1, -1];
  t.teardown(() => [left, right].forEach((end) => fs.closeSync(end)));
  for (const [protocol, passed, text] of [
    ['nope', fd, `${REFUSED}parameter @fdname must name a socket`],
    ['nope', left, `${REFUSED}protocol 'nope' is invalid`],
    ['spice', left, 'DeviceNotActive: SPICE is not in use'],
    ['@dbus-display', left, 'DeviceNotActive: D-Bus display is not in use'],
    ['constructor', left, `${REFUSED}protocol 'constructor' is invalid`],
  ] as const) {
    t.strictSame(await client.run('getfd', { fdname: 'x' }, [passed]), {});
    t.equal(await add(protocol), text);
    t.equal(await add(protocol), `${REFUSED}File descriptor named 'x' has not been found`);
  }
  t.equal(others(), 0);
});

t.test(
  'a descriptor stays with its command while that waits for its turn',
  needsNative,
  async (t) => {
    const { client, socket, fd, others } = await start(t);
    const slow = await PassingClient.connect(t, socket);
    slow.send('{"execute":"getfd","arguments":{"fdname":"a"}} ', [fd]);
    const getfd = (fdname: string): string =>
      JSON.stringify({ execute: 'getfd', arguments: { fdname } });
    t.strictSame(await slow.reply(), {});
    // As clients do that send the descriptor on a blank, all of it before the first reply.
    for (const name of ['b', 'c', 'd']) {
      client.send(' ', [fd]);
      client.send(getfd(name));
    }
    client.send(getfd('none'));
    for (const expected of [{}, {}, {}, NONE]) t.strictSame(await client.reply(), expected);
    t.equal(others(), 4);
  },
);

import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { privateFolder } from '../../support/daemon.js';
import { startMachine } from '../../support/machine.js';
import type { Json } from '../../side-by-side/client.js';

const socket = (
  id: string,
  addr: Record<string, Json>,
  rest: Record<string, Json> = {},
): Record<string, Json> => ({ id, backend: { type: 'socket', data: { addr, ...rest } } });
const unix = (path: string): Record<string, Json> => ({ type: 'unix', data: { path } });
const inet = (port: string, host = '127.0.0.1'): Record<string, Json> => ({
  type: 'inet',
  data: { host, port },
});
const none = (id: string): Record<string, Json> => ({ id, backend: { type: 'null', data: {} } });

t.test('character devices come and go, and show where they are connected', async (t) => {
  const path = join(privateFolder(t), 's');
  const { run, machine } = await startMachine(t, ['-M', 'none']);
  const names = async (): Promise<string[]> =>
    ((await run('query-chardev')) as { filename: string }[]).map(({ filename }) => filename);
  await run('chardev-add', none('n'));
  await run('chardev-add', socket('s', unix(path)));
  t.strictSame(await names(), ['null', `disconnected:unix:${path},server=on`]);
  await run('chardev-add', socket('c', unix(path), { server: false }));
  t.strictSame((await names()).slice(2), ['unix:']);
  const object = machine.root.walk(['chardevs', 's']);
  t.equal(object?.typeName, 'chardev-socket');
  t.strictSame(object?.get('addr'), { path, type: 'unix' });
  await run('chardev-remove', { id: 'c' });
  await run('chardev-remove', { id: 's' });
  t.equal(existsSync(path), false);
  t.strictSame(await run('qom-list', { path: '/chardevs' }), [
    { name: 'type', type: 'string' },
    { name: 'n', type: 'child<chardev-null>' },
  ]);
});

t.test('TCP: a free port is chosen and shown, both ends show each other', async (t) => {
  const { run, machine } = await startMachine(t, ['-M', 'none']);
  await run('chardev-add', socket('s', inet('0'), { wait: false }));
  const address = machine.root.walk(['chardevs', 's'])?.get('addr') as { port: string };
  t.match(address, { host: '127.0.0.1', ipv4: true, type: 'inet' });
  const peer = connect(Number(address.port), '127.0.0.1');
  t.teardown(() => peer.destroy());
  await once(peer, 'connect');
  const [s] = (await run('query-chardev')) as { filename: string }[];
  const there = String(peer.localPort);
  t.equal(s?.filename, `tcp:127.0.0.1:${address.port},server=on <-> 127.0.0.1:${there}`);
});

t.test('what cannot be is refused in the words of QEMU, and nothing is added', async (t) => {
  const folder = privateFolder(t);
  const { run, machine } = await startMachine(t, ['-M', 'none']);
  await run('chardev-add', none('n'));
  const gone = join(folder, 'none');
  const named = (str: string): Record<string, Json> => ({ type: 'fd', data: { str } });
  const cases: [string, Record<string, Json>, string][] = [
    ['chardev-add', none('n'), "Chardev with id 'n' already exists"],
    ['chardev-remove', { id: 'x' }, "Chardev 'x' not found"],
    ['chardev-send-break', { id: 'x' }, "Chardev 'x' not found"],
    ['chardev-add', { id: 'x', backend: {} }, "Parameter 'backend.type' is missing"],
    ['chardev-add', { id: 'x', backend: { type: 'null' } }, "Parameter 'backend.data' is missing"],
    [
      'chardev-add',
      socket('x', unix(gone), { server: false }),
      `Failed to add chardev 'x': Failed to connect to '${gone}': No such file or directory`,
    ],
    [
      'chardev-add',
      socket('x', unix(gone), { server: false, wait: true }),
      "Failed to add chardev 'x': 'wait' option is incompatible with socket in client connect mode",
    ],
    [
      'chardev-add',
      socket('x', unix(gone), { reconnect: 2n }),
      "Failed to add chardev 'x': 'reconnect' option is incompatible with socket in server listen mode",
    ],
    [
      'chardev-add',
      socket('x', named('fd'), { server: false, reconnect: 2n }),
      "Failed to add chardev 'x': 'reconnect' option is incompatible with 'fd' address type",
    ],
    [
      'chardev-add',
      socket('x', named('fd')),
      "Failed to add chardev 'x': File descriptor named 'fd' has not been found",
    ],
    [
      'chardev-add',
      socket('x', inet('abc')),
      "Failed to add chardev 'x': address resolution failed for 127.0.0.1:abc: Servname not supported for ai_socktype",
    ],
    [
      'chardev-add',
      socket('x', {
        type: 'inet',
        data: { host: '127.0.0.1', port: '0', ipv4: false, ipv6: false },
      }),
      "Failed to add chardev 'x': Cannot disable IPv4 and IPv6 at same time",
    ],
    [
      'chardev-add',
      socket('x', unix(gone), { 'tls-creds': 't' }),
      "Failed to add chardev 'x': No TLS credentials with id 't'",
    ],
  ];
  for (const [command, args, message] of cases)
    await t.rejects(async () => run(command, args), { message }, message);
  const front = machine.options.chardevs.claim('n', 'd.chardev');
  await t.rejects(async () => run('chardev-remove', { id: 'n' }), {
    message: "Chardev 'n' is busy",
  });
  t.throws(() => machine.options.chardevs.claim('n', 'd.chardev'), {
    message: "Property 'd.chardev' can't take value 'n': Device 'n' is in use",
  });
  t.throws(() => machine.options.chardevs.claim('x', 'd.chardev'), {
    message: "Property 'd.chardev' can't find value 'x'",
  });
  front.release();
  await run('chardev-remove', { id: 'n' });
  t.strictSame(await run('query-chardev'), []);
});

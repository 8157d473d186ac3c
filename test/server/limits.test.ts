import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { LIMITS, limitsWith, parseLimit } from '../../server/limits.js';
import { LineClient } from '../clients/transcript.js';
import { eventually, privateFolder, startDaemon, type Cleanup } from '../support/daemon.js';
import { startGuest } from '../support/qtest.js';
import type { Qmp } from '../support/qmp.js';

t.test('limits have defaults within their bounds', async (t) => {
  for (const [name, { default: value, min, max }] of Object.entries(LIMITS))
    t.equal(value >= min && value <= max, true, name);
  t.match(limitsWith({ clients: 3 }), { clients: 3, 'json-depth': 1024 });
});

t.test('NAME=VALUE is read, or refused with name, value and rule', async (t) => {
  t.strictSame(parseLimit('clients=1'), { name: 'clients', value: 1 });
  t.strictSame(parseLimit('clients=65536'), { name: 'clients', value: 65536 });
  for (const value of ['0', '65537', '', '1.5', '-1', '1e3', '9'.repeat(20)])
    t.throws(() => parseLimit(`clients=${value}`), {
      message: `limit 'clients' takes an integer from 1 to 65536, not '${value}'`,
    });
  t.throws(() => parseLimit('clients'), { message: /takes an integer/ });
  t.throws(() => parseLimit('nope=1'), { message: /^limit 'nope' is not known; known are json-/ });
});

/** Requests whose `id` is so many lists in each other, or a text of that length. */
const nested = (depth: number): string =>
  `{"execute":"qmp_capabilities","id":${'['.repeat(depth)}${']'.repeat(depth)}}`;
const long = (length: number): string =>
  `{"execute":"qmp_capabilities","id":"${'x'.repeat(length)}"}`;

for (const [limit, good, bad, desc] of [
  ['json-depth=5', nested(4), nested(5), 'JSON nesting depth limit exceeded'],
  // Four tokens of the braces and the command, of `id` two more, then one for each bracket.
  ['json-tokens=17', nested(4), nested(5), 'JSON token count limit exceeded'],
  [
    `json-bytes=${String(long(50).length + 1)}`,
    long(50),
    long(51),
    'JSON token size limit exceeded',
  ],
] as const)
  t.test(`--limit ${limit} holds on a socket, at the edge and one past it`, async (t) => {
    const { socket } = await startDaemon(t, ['-M', 'none', '--limit', limit]);
    const client = await LineClient.connect(socket);
    t.teardown(() => client.close());
    await client.line();
    t.match(await client.ask(good), '{"return": {}');
    t.match(JSON.parse(await client.ask(bad)), { error: { class: 'GenericError', desc } });
    client.send('\u00ff{"execute":"query-name","id":"after"}');
    for (;;) if ((await client.line()).includes('"id": "after"')) break;
  });

t.test('--limit clients holds on a socket: one more is told and closed', async (t) => {
  const { socket } = await startDaemon(t, ['-M', 'none', '--limit', 'clients=2']);
  const [second, third] = [await LineClient.connect(socket), await LineClient.connect(socket)];
  for (const client of [second, third]) t.teardown(() => client.close());
  t.match(await second.line(), '{"QMP"');
  t.match(await third.line(), /GenericError.*2 clients already/);
});

t.test('--limit chardevs holds, those of monitors included', async (t) => {
  const { qmp } = await startDaemon(t, ['-M', 'none', '--limit', 'chardevs=3']);
  const add = (id: string): Promise<unknown> =>
    qmp.execute('chardev-add', { id, backend: { type: 'null', data: {} } });
  await add('a');
  await add('b');
  const message = "Failed to add chardev 'c': there are 3 already, the limit";
  await t.rejects(add('c'), { message });
  await qmp.execute('chardev-remove', { id: 'a' });
  await add('c');
});

t.test('--limit chardev-waiting holds on a socket: one more is closed', async (t) => {
  const path = join(privateFolder(t), 'c');
  const chardev = `socket,id=c,path=${path},server=on,wait=off`;
  await startDaemon(t, ['-M', 'none', '--limit', 'chardev-waiting=1', '-chardev', chardev]);
  const closed: number[] = [];
  const peers = [0, 1, 2].map((i) =>
    connect(path)
      .on('close', () => closed.push(i))
      .resume(),
  );
  for (const peer of peers) t.teardown(() => peer.destroy());
  await eventually('one is closed', () => closed.length > 0);
  t.strictSame(closed, [2]);
});

const filenameOf = async (qmp: Qmp, id: string): Promise<string | undefined> =>
  ((await qmp.execute('query-chardev')) as { label: string; filename: string }[]).find(
    ({ label }) => label === id,
  )?.filename;

t.test('--limit chardev-held: at it, the end of a peer is noticed no more', async (t) => {
  const folder = privateFolder(t);
  const [held, read] = [join(folder, 'held'), join(folder, 'read')];
  const { qmp } = await startDaemon(t, [
    ...['-M', 'none', '--limit', 'chardev-held=100'],
    ...['-chardev', `socket,id=held,path=${held},server=on,wait=off`],
    ...['-chardev', `socket,id=read,path=${read},server=on,wait=off`],
  ]);
  for (const [path, bytes] of [
    [held, 100],
    [read, 99],
  ] as const) {
    const peer = connect(path).resume();
    await once(peer.end(Buffer.alloc(bytes)), 'finish');
  }
  await eventually('the one below the limit has left', async () =>
    ((await filenameOf(qmp, 'read')) ?? '').startsWith('disconnected:'),
  );
  t.equal(await filenameOf(qmp, 'held'), `unix:${held},server=on`);
});

/** How many bytes a serial port sends to a peer that reads none, until that is disconnected. */
const writesUntilCut = async (t: Cleanup, limit: number): Promise<number> => {
  const path = join(privateFolder(t), 'serial');
  const { qtest, qmp } = await startGuest(t, [
    ...['-M', 'pc', '-nodefaults', '--limit', `chardev-bytes=${String(limit)}`],
    ...['-chardev', `socket,id=c,path=${path},server=on,wait=off`],
    ...['-device', 'isa-serial,chardev=c'],
  ]);
  const peer = connect(path);
  t.teardown(() => peer.destroy());
  const isConnected = async (): Promise<boolean> =>
    !((await filenameOf(qmp, 'c')) ?? '').startsWith('disconnected:');
  await eventually('connected', isConnected);
  let writes = 0;
  for (; await isConnected(); writes++) await qtest.ask('outb 0x3f8 0x41');
  return writes;
};

t.test('--limit chardev-bytes: one byte more left unread disconnects', async (t) => {
  // What the system itself holds for the peer is the same for both.
  const [few, more] = [await writesUntilCut(t, 10), await writesUntilCut(t, 110)];
  t.equal(more - few, 100);
});

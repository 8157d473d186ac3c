import { connect } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { LIMITS, limitsWith, parseLimit } from '../../server/limits.js';
import { LineClient } from '../clients/transcript.js';
import { eventually, privateFolder, startDaemon } from '../support/daemon.js';

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

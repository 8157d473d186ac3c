import fc from 'fast-check';
import t from 'tap';
import { wire } from '../../support/wire.js';

const Q = (id: unknown): string => JSON.stringify({ execute: 'query-name', id });
const R = (id: unknown): string => `{"return": {"name": "vm0"}, "id": ${JSON.stringify(id)}}`;
const WAIT = '{"execute":"wait"}';
const OOB = '{"exec-oob":"query-yank","id":"oob"}';
const OOB_REPLY = '{"return": [{"type": "chardev", "id": "compat_monitor0"}], "id": "oob"}';
/** Lets promises that are settled already run on. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('greeting and negotiation reply have writes of their own, replies share one', async (t) => {
  const { client } = wire();
  const connection = client();
  connection.feed(`{"execute":"qmp_capabilities"}${Q(1)}${Q(2)}`);
  t.strictSame(
    connection.writes.map((write) => write.length),
    [1, 1, 2],
  );
});

t.test('an id comes back whatever it is', async (t) => {
  const connection = wire().ready();
  for (const id of [null, false, 0, '', {}, [1, { a: 'b' }], '\u0000']) {
    connection.feed(`{"execute":"query-name","id":${JSON.stringify(id)}}`);
    t.match(JSON.parse(connection.take()[0] ?? ''), { id });
  }
});

t.test('without out-of-band the next request is looked at after the reply', async (t) => {
  const { target, ready } = wire();
  const connection = ready();
  connection.feed(`${WAIT}]${Q(1)}`);
  t.strictSame(connection.take(), [], 'not even the parse error');
  t.equal(connection.isPaused, true, 'and no more is read');
  target.release();
  await settled();
  t.strictSame(connection.take(), [
    '{"return": {}}',
    '{"error": {"class": "GenericError", "desc": "JSON parse error, expecting value"}}',
    R(1),
  ]);
  t.equal(connection.isPaused, false);
});

t.test('an out-of-band request overtakes what was sent before it', async (t) => {
  const connection = wire().ready('["oob"]');
  connection.feed(`${Q(1)}${Q(2)}]${Q(3)}${OOB}`);
  const [first, ...rest] = connection.take();
  t.equal(first, OOB_REPLY);
  t.equal(rest.length, 4);
  t.equal(rest.at(-1), R(3), 'the others keep their order');
});

t.test('out-of-band is answered beside a running command, up to a full queue', async (t) => {
  const queued = (count: number): string => Array.from({ length: count }, (_, i) => Q(i)).join('');
  for (const [count, expected] of [
    [7, [OOB_REPLY]],
    [8, []],
  ] as const) {
    const { target, ready } = wire();
    const connection = ready('["oob"]');
    connection.feed(WAIT + queued(count) + OOB);
    t.strictSame(connection.take(), expected, `one running, ${String(count)} queued`);
    t.equal(connection.isPaused, count === 8);
    target.release();
    await settled();
    t.equal(connection.take().length, count + (count === 8 ? 2 : 1), 'nothing is lost');
  }
});

t.test('half-close: what came before is answered, then the connection ends', async (t) => {
  const { target, ready } = wire();
  const connection = ready();
  connection.feed(WAIT + Q(1));
  connection.client.onEnd();
  t.equal(connection.state, 'open');
  target.release();
  await settled();
  t.strictSame(connection.take(), ['{"return": {}}', R(1)]);
  t.equal(connection.state, 'ended');
});

t.test('a client that vanishes in the middle of a command', async (t) => {
  const { target, ready, monitor } = wire();
  const connection = ready('["oob"]');
  let gone: AbortSignal | undefined;
  target.extra = ({ command, client }) => {
    if (command === 'wait') gone = client.gone;
    return undefined;
  };
  connection.feed(WAIT + Q(1));
  connection.destroy();
  t.equal(gone?.aborted, true, 'the command is told');
  t.equal(monitor.clients, 0);
  target.release();
  await settled();
  t.strictSame(connection.take(), [], 'a late reply reaches nobody');
  t.strictSame(target.ran, ['wait'], 'what was queued is dropped');
});

t.test('quit: the reply, then the end; what follows is not answered', async (t) => {
  const { ready, target } = wire();
  const connection = ready();
  connection.feed(`{"execute":"quit"}${Q(1)}`);
  t.strictSame(connection.take(), ['{"return": {}}']);
  t.equal(connection.state, 'ended');
  t.strictSame(target.ran, ['quit']);
});

t.test('replies go to the client that asked', async (t) => {
  const { target, ready } = wire();
  const [a, b] = [ready(), ready()];
  a.feed(WAIT);
  b.feed(Q('b'));
  t.strictSame(b.take(), [R('b')]);
  target.release();
  await settled();
  t.strictSame([a.take(), b.take()], [['{"return": {}}'], []]);
});

t.test('a client that reads no replies is read no further', async (t) => {
  const reply = R(1).length + 2;
  for (const [mark, answered] of [
    [3 * reply, 4],
    [3 * reply - 1, 3],
  ] as const) {
    const { target, ready } = wire({ limits: { 'reply-bytes': mark } });
    const connection = ready();
    connection.reads = false;
    target.ran.length = 0;
    connection.feed(Q(1).repeat(10));
    t.equal(target.ran.length, answered, 'stops one past the mark');
    t.equal(connection.isPaused, true);
    connection.catchUp();
    t.equal(connection.take().length, 10, 'and goes on once it reads');
    t.equal(connection.isPaused, false);
  }
});

t.test('one client too many is told so', async (t) => {
  const { client, monitor } = wire({ limits: { clients: 2 } });
  const first = client();
  client();
  const third = client();
  t.equal(third.state, 'ended');
  t.match(third.writes.flat(), [/GenericError.*2 clients already/]);
  first.destroy();
  t.equal(client().state, 'open', 'a place that is free again is given away');
  t.equal(monitor.clients, 2);
});

t.test('our own mistakes are answered without internals', async (t) => {
  const { target, ready } = wire();
  const connection = ready();
  for (const extra of [
    () => {
      throw new TypeError('secret');
    },
    () => Promise.reject(new TypeError('secret')),
    () => ({ ok: true, value: NaN }) as const,
  ]) {
    target.extra = extra;
    connection.feed(Q(1));
    await settled();
    t.match(connection.take(), [/^\{"id": 1, "error": .*internal error/]);
  }
});

t.test('pretty mode has its line breaks in CR LF', async (t) => {
  const connection = wire({ pretty: true }).ready();
  connection.feed(Q(1));
  const lines = ['{', '    "return": {', '        "name": "vm0"', '    },', '    "id": 1', '}'];
  t.strictSame(connection.take(), [lines.join('\r\n')]);
});

t.test('no bytes end a session', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      const connection = wire().ready();
      connection.feed(Buffer.from(bytes));
      connection.feed(Buffer.from([0xff]));
      connection.take();
      connection.feed(Q('alive'));
      return connection.take().at(-1) === R('alive');
    }),
  );
});

t.test('close waits for the reply that is due', async (t) => {
  const { target, ready, monitor } = wire();
  const connection = ready();
  connection.feed(WAIT);
  const closed = monitor.close();
  target.release();
  await closed;
  t.strictSame(connection.take(), ['{"return": {}}']);
  t.equal(connection.state, 'ended');
});

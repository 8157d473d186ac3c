import { on, once } from 'node:events';
import { request } from 'node:http';
import { connect, createServer, type AddressInfo } from 'node:net';
import t from 'tap';
import { WebSocket } from 'ws';
import { isTrusted } from '../../../server/http/origin.js';
import { HttpServer } from '../../../server/http/server.js';
import { limitsWith } from '../../../server/limits.js';
import type { Limits } from '../../../server/limits.js';
import { webSocketPeer } from '../../conformance/harness.js';
import { wire } from '../../support/wire.js';

interface Teardown {
  teardown(done: () => unknown): unknown;
}

const start = async (test: Teardown, changed: Partial<Limits> = {}) => {
  const all = wire();
  const server = new HttpServer({
    origin: '--listen',
    host: '127.0.0.1',
    port: 0,
    limits: limitsWith({ 'websocket-frame-bytes': 100, ...changed }),
    lookup: (name) =>
      name === undefined || name === 'a b' ? (c) => all.monitor.accept(c) : undefined,
    health: () => ({ status: 'ok', version: '1', native: 'none', machines: ['a b'] }),
  });
  const { port } = await server.start();
  test.teardown(() => server.stop());
  return { ...all, server, port, at: `127.0.0.1:${String(port)}` };
};

const get = async (port: number, path: string, headers = {}) => {
  const asked = request({ host: '127.0.0.1', port, path, headers });
  asked.end();
  const [response] = (await once(asked, 'response')) as [
    AsyncIterable<Buffer> & { statusCode: number },
  ];
  let body = '';
  for await (const chunk of response) body += String(chunk);
  return { status: response.statusCode, body };
};

/** Status with which an upgrade is refused. */
const refusal = async (url: string, headers = {}): Promise<number> => {
  const socket = new WebSocket(url, { headers });
  socket.on('error', () => undefined);
  const [, response] = (await once(socket, 'unexpected-response')) as [
    unknown,
    { statusCode: number; resume(): void },
  ];
  response.resume();
  return response.statusCode;
};

t.test('health is told', async (t) => {
  const { port } = await start(t);
  const { status, body } = await get(port, '/healthz');
  t.equal(status, 200);
  t.strictSame(JSON.parse(body), {
    status: 'ok',
    version: '1',
    native: 'none',
    machines: { count: 1, names: ['a b'] },
  });
  t.equal((await get(port, '/nothing')).status, 404);
});

t.test('an upgrade to another protocol is ignored', async (t) => {
  const { port } = await start(t);
  const h2c = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAQA' };
  const { status, body } = await get(port, '/healthz', h2c);
  t.equal(status, 200);
  t.match(JSON.parse(body), { status: 'ok' });
  t.equal((await get(port, '/nothing', h2c)).status, 404);
  const foreign = await get(port, '/healthz', { ...h2c, host: 'example.com' });
  t.equal(foreign.status, 403);
});

t.test('QMP is at the path of each machine', async (t) => {
  const { at } = await start(t);
  for (const path of ['/qmp', '/machines/a%20b/qmp']) {
    const peer = await webSocketPeer(`ws://${at}${path}`);
    t.match(await peer.line(), /^\{"QMP": .*\}$/, 'no line end in a frame');
    peer.send(Buffer.from('{"execute":"qmp_capabilities"}'));
    t.equal(await peer.line(), '{"return": {}}');
    t.strictSame(await peer.finish(), []);
  }
  for (const path of ['/', '/machines/b/qmp', '/machines/%zz/qmp', '/qmp/x'])
    t.equal(await refusal(`ws://${at}${path}`), 404, path);
});

t.test('text and binary frames are one stream of bytes', async (t) => {
  const { at } = await start(t);
  const socket = new WebSocket(`ws://${at}/qmp`);
  await once(socket, 'message');
  socket.send('{"execute":"qmp_');
  socket.send(Buffer.from('capabilities"}{"execute":'));
  socket.send('"query-name"}');
  const replies: string[] = [];
  for await (const [data] of on(socket, 'message') as AsyncIterable<[Buffer]>)
    if (replies.push(String(data)) === 2) break;
  t.strictSame(replies, ['{"return": {}}', '{"return": {"name": "vm0"}}']);
  socket.close();
  await once(socket, 'close');
});

t.test('foreign pages and foreign names are turned away', async (t) => {
  const { at, port } = await start(t);
  for (const origin of ['http://example.com', 'null', `https://${at}`, 'http://127.0.0.1:1'])
    t.equal(await refusal(`ws://${at}/qmp`, { origin }), 403, origin);
  t.equal(await refusal(`ws://${at}/qmp`, { host: `evil.example:${String(port)}` }), 403);
  t.equal((await get(port, '/healthz', { host: 'evil.example' })).status, 403);
  const own = new WebSocket(`ws://${at}/qmp`, { origin: `http://${at}` });
  await once(own, 'message');
  own.close();
  await once(own, 'close');
});

t.test('a page is ours when it is on a loopback name and our port', async (t) => {
  for (const [host, origin, trusted] of [
    ['localhost:7710', undefined, true],
    ['127.0.0.1:7710', 'http://localhost:7710', true],
    ['[::1]:7710', 'http://[::1]:7710', true],
    ['127.0.0.1:7710', 'http://127.0.0.1:7711', false],
    ['127.0.0.1.example.com:7710', undefined, false],
    ['', undefined, false],
    [undefined, undefined, false],
    ['localhost', 'file://', false],
  ] as const)
    t.equal(isTrusted(host, origin), trusted, `${String(host)} ${String(origin)}`);
});

t.test('a message at the limit is taken, one byte more closes with 1009', async (t) => {
  const { at, monitor } = await start(t);
  const socket = new WebSocket(`ws://${at}/qmp`);
  await once(socket, 'message');
  socket.send('{"execute":"qmp_capabilities"}'.padEnd(100));
  t.equal(String((await once(socket, 'message'))[0]), '{"return": {}}');
  socket.send(' '.repeat(101));
  t.equal((await once(socket, 'close'))[0], 1009);
  const other = await webSocketPeer(`ws://${at}/qmp`);
  await other.line();
  t.strictSame(await other.finish(), [], 'others are served on');
  t.equal(monitor.clients <= 1, true);
});

t.test('garbage on the port is survived', async (t) => {
  const { port, at } = await start(t);
  for (const bytes of [
    '\u0000\u0001\u0002',
    'GET /qmp HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
    'GET /qmp HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n',
  ]) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.resume();
    socket.write(bytes, 'latin1');
    await once(socket, 'close');
  }
  const peer = await webSocketPeer(`ws://${at}/qmp`);
  t.match(await peer.line(), /QMP/);
  await peer.finish();
});

t.test('an orderly close runs what came before it', async (t) => {
  const { at, target, monitor } = await start(t);
  const socket = new WebSocket(`ws://${at}/qmp`);
  await once(socket, 'message');
  socket.send('{"execute":"qmp_capabilities"}{"execute":"wait"}{"execute":"query-name"}');
  await once(socket, 'message');
  socket.close();
  target.release();
  await once(socket, 'close');
  t.strictSame(target.ran, ['wait', 'query-name']);
  t.equal(monitor.clients, 0);
});

t.test('only loopback addresses are listened on', async (t) => {
  const { port } = await start(t);
  const at = (host: string, wanted: number): Promise<unknown> =>
    new HttpServer({
      origin: 'c.json: listen',
      host,
      port: wanted,
      limits: limitsWith(),
      lookup: () => undefined,
      health: () => ({ status: 'ok', version: '1', native: 'none', machines: [] }),
    }).start();
  await t.rejects(at('0.0.0.0', 0), {
    message:
      "c.json: listen: without a token file only loopback addresses are accepted, such as 127.0.0.1, not '0.0.0.0'",
  });
  await t.rejects(at('example.com', 0), { message: /only loopback addresses/ });
  await t.rejects(at('::', 0), { message: /only loopback addresses .*, not '::'$/ });
  await t.rejects(at('127.0.0.1', port), {
    message: `c.json: listen: Failed to listen on 127.0.0.1:${String(port)}: Address already in use`,
  });
});

t.test('an IPv6 address in use is told in brackets', async (t) => {
  const holder = createServer().listen(0, '::1');
  await once(holder, 'listening');
  t.teardown(() => holder.close());
  const { port } = holder.address() as AddressInfo;
  const server = new HttpServer({
    ...{ origin: '--listen', host: '::1', port, limits: limitsWith(), lookup: () => undefined },
    health: () => ({ status: 'ok', version: '1', native: 'none', machines: [] }),
  });
  await t.rejects(server.start(), {
    message: `--listen: Failed to listen on [::1]:${String(port)}: Address already in use`,
  });
});

t.test('connections up to the limit are served, one more is closed', async (t) => {
  const { port } = await start(t, { 'http-connections': 2 });
  const open = async () => {
    const socket = connect(port, '127.0.0.1');
    t.teardown(() => socket.destroy());
    await once(socket, 'connect');
    return socket;
  };
  const ask = `GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:${String(port)}\r\n\r\n`;
  for (let i = 0; i < 2; i++) {
    const socket = await open();
    socket.write(ask);
    t.match(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 200 /);
  }
  const third = await open();
  third.resume();
  await once(third, 'close');
  t.equal(third.bytesRead, 0);
});

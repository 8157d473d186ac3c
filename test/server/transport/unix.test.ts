import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, Socket } from 'node:net';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import t from 'tap';
import { NativeLoader } from '../../../server/os/native.js';
import type { LoadNative } from '../../../server/os/native.js';
import type { Connection } from '../../../server/transport/connection.js';
import { descriptorOf } from '../../../server/transport/late-connection.js';
import { stdioConnection } from '../../../server/transport/stdio.js';
import { adoptUnix, connectUnix, listenUnix } from '../../../server/transport/unix.js';
import { unixPeer } from '../../conformance/harness.js';
import { wire } from '../../support/wire.js';

const folder = t.testdir();
const loader = new NativeLoader();
const isNative = loader.load() !== undefined;
const KINDS: readonly (readonly [string, LoadNative | undefined])[] = [
  ['recvmsg', loader.load],
  ['net', undefined],
];
const QUERY = Buffer.from('{"execute":"query-name"}');
const NEGOTIATE = Buffer.from('{"execute":"qmp_capabilities"}');
const ignore = (): undefined => undefined;

interface Teardown {
  teardown(done: () => unknown): unknown;
}

/** Listens and hands out the connections of clients. */
const listening = async (test: Teardown, name: string, native: LoadNative | undefined) => {
  const path = join(folder, name);
  const waiting: ((connection: Connection) => void)[] = [];
  const onConnection = (connection: Connection): void => waiting.shift()?.(connection);
  const endpoint = await listenUnix({ path, onConnection, ...(native && { native }) });
  test.teardown(() => endpoint.close());
  const pair = async (): Promise<{ client: Socket; server: Connection }> => {
    const accepted = new Promise<Connection>((resolve) => waiting.push(resolve));
    const client = connect({ path, allowHalfOpen: true });
    client.on('error', ignore);
    test.teardown(() => client.destroy());
    return { client, server: await accepted };
  };
  return { path, endpoint, pair };
};
for (const [kind, native] of KINDS) {
  t.test(`${kind}: bytes in, messages out, end of input, end`, async (t) => {
    const { pair } = await listening(t, `a-${kind}`, native);
    const { client, server } = await pair();
    const seen: string[] = [];
    const closed = new Promise<void>((resolve) => {
      server.start({
        onData: (bytes) => {
          seen.push(String(bytes));
          server.send('one');
          server.send('two');
        },
        onDrain: ignore,
        onEnd: () => {
          seen.push('end');
          server.send('three');
          server.end();
        },
        onClose: () => resolve(),
      });
    });
    server.send('hello');
    server.flush();
    const [greeting] = (await once(client, 'data')) as [Buffer];
    t.equal(String(greeting), 'hello\r\n');
    client.write('ping');
    const [replies] = (await once(client, 'data')) as [Buffer];
    t.equal(String(replies), 'one\r\ntwo\r\n', 'one write');
    client.end();
    const [last] = (await once(client, 'data')) as [Buffer];
    t.equal(String(last), 'three\r\n');
    await Promise.all([closed, once(client, 'close')]);
    t.strictSame(seen, ['ping', 'end']);
  });

  t.test(`${kind}: what the client does not read waits, then drains, in order`, async (t) => {
    const { pair } = await listening(t, `b-${kind}`, native);
    const { client, server } = await pair();
    const drained = new Promise<void>((resolve) => {
      server.start({ onData: ignore, onDrain: resolve, onEnd: ignore, onClose: ignore });
    });
    client.pause();
    const message = 'x'.repeat(1 << 20);
    for (let i = 0; i < 8; i++) server.send(`${String(i)}${message}`);
    server.flush();
    t.equal(server.buffered > 0, true);
    let received = '';
    client.on('data', (bytes: Buffer) => (received += String(bytes)));
    client.resume();
    await drained;
    t.equal(server.buffered, 0);
    server.end();
    await once(client, 'end');
    const starts = received.split('\r\n').map((line) => line.slice(0, 2));
    t.strictSame(starts, ['0x', '1x', '2x', '3x', '4x', '5x', '6x', '7x', '']);
  });

  t.test(`${kind}: a paused connection reads no further`, async (t) => {
    const { pair } = await listening(t, `c-${kind}`, native);
    const { client, server } = await pair();
    let count = 0;
    let arrived: () => void = ignore;
    server.start({
      onData: (bytes) => {
        if (count === 0) server.pause();
        count += bytes.length;
        arrived();
      },
      onDrain: ignore,
      onEnd: ignore,
      onClose: ignore,
    });
    const all = 4 << 20;
    client.write(Buffer.alloc(all));
    await new Promise<void>((resolve) => (arrived = resolve));
    const before = count;
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(count, before);
    const rest = new Promise<void>((resolve) => {
      arrived = () => (count === all ? resolve() : undefined);
    });
    server.resume();
    await rest;
    t.equal(count, all);
  });

  t.test(`${kind}: a client that is gone is noticed, once`, async (t) => {
    const { pair } = await listening(t, `d-${kind}`, native);
    const { client, server } = await pair();
    let closes = 0;
    const closed = new Promise<void>((resolve) => {
      const onClose = (): void => {
        closes++;
        resolve();
      };
      server.start({ onData: ignore, onDrain: ignore, onEnd: () => server.send('late'), onClose });
    });
    client.destroy();
    await closed;
    server.destroy();
    server.send('after');
    server.flush();
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(closes, 1);
  });

  t.test(`${kind}: the end is an end for a client that still sends, no reset`, async (t) => {
    const { monitor } = wire();
    const path = join(folder, `e-${kind}`);
    const onConnection = (connection: Connection): void => monitor.accept(connection);
    const endpoint = await listenUnix({ path, onConnection, ...(native && { native }) });
    t.teardown(() => endpoint.close());
    const peer = await unixPeer(path);
    peer.send(Buffer.concat([NEGOTIATE, Buffer.from('{"execute":"quit"}\n\n\n'), QUERY]));
    t.strictSame((await peer.finish()).slice(1), ['{"return": {}}', '{"return": {}}']);
  });

  t.test(`${kind}: nothing stays open after a thousand clients`, async (t) => {
    const { monitor } = wire();
    const path = join(folder, `f-${kind}`);
    const onConnection = (connection: Connection): void => monitor.accept(connection);
    const endpoint = await listenUnix({ path, onConnection, ...(native && { native }) });
    t.teardown(() => endpoint.close());
    const visit = async (): Promise<void> => {
      const peer = await unixPeer(path);
      peer.send(NEGOTIATE);
      await peer.finish();
    };
    for (let i = 0; i < 20; i++) await visit();
    await new Promise((resolve) => setImmediate(resolve));
    const before = readdirSync('/proc/self/fd').length;
    for (let i = 0; i < 1000; i++) await visit();
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(readdirSync('/proc/self/fd').length, before);
    t.equal(monitor.clients, 0);
  });
}

t.test('descriptors arrive with their bytes and do not leak', { skip: !isNative }, async (t) => {
  const native = loader.load();
  if (native === undefined) return;
  const { pair } = await listening(t, 'fds', loader.load);
  const { client, server } = await pair();
  const got: (readonly [string, number])[] = [];
  const arrived = new Promise<readonly number[]>((resolve) => {
    server.start({
      onData: (bytes, descriptors) => {
        got.push([String(bytes), descriptors.length]);
        if (descriptors.length > 0) resolve(descriptors);
      },
      onDrain: ignore,
      onEnd: ignore,
      onClose: ignore,
    });
  });
  const event = native.eventfd();
  await once(client, 'connect');
  native.sendmsg(descriptorOf(client) ?? -1, Buffer.from('{}'), [event, event]);
  const descriptors = await arrived;
  t.strictSame(got, [['{}', 2]]);
  for (const fd of [event, ...descriptors]) closeSync(fd);
});

t.test('the socket is ours alone, and goes when we stop', async (t) => {
  const { path, endpoint } = await listening(t, 'mode', undefined);
  t.equal(statSync(path).mode & 0o777, 0o600);
  endpoint.close();
  endpoint.close();
  t.equal(existsSync(path), false);
});

t.test('a live socket is refused, a stale one replaced', async (t) => {
  const { path } = await listening(t, 'live', undefined);
  await t.rejects(listenUnix({ path, onConnection: ignore }), {
    message: `Failed to bind socket to ${path}: Address already in use`,
  });
  // A listener whose process died leaves its path behind.
  const stale = join(folder, 'stale');
  const script = `require('net').createServer().listen(${JSON.stringify(stale)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  t.equal(existsSync(stale), true);
  const endpoint = await listenUnix({ path: stale, onConnection: ignore });
  endpoint.close();
});

t.test('paths that cannot be are refused in plain words', async (t) => {
  const at = (path: string): Promise<unknown> => listenUnix({ path, onConnection: ignore });
  const file = join(folder, 'file');
  writeFileSync(file, '');
  await t.rejects(at(file), { message: /there is a file that is no socket/ });
  t.equal(existsSync(file), true, 'and is not removed');
  await t.rejects(at(join(folder, 'no', 'where')), { message: /No such file or directory/ });
  await t.rejects(at(`/tmp/${'x'.repeat(103)}`), { message: / is too long$/ });
  await t.rejects(at(''), { message: /empty/ });
  await t.rejects(listenUnix({ onConnection: ignore }), { message: /needs a path/ });
  await t.rejects(listenUnix({ fd: 9999, onConnection: ignore }), {
    message: "File descriptor '9999' is not a socket",
  });
  const missing = join(folder, 'missing');
  await t.rejects(connectUnix({ path: missing }, ignore), {
    message: `Failed to connect to '${missing}': No such file or directory`,
  });
  t.throws(() => adoptUnix({ fd: 9999 }, ignore), {
    message: "File descriptor '9999' is not a socket",
  });
});

t.test('connecting, and adopting a descriptor, serve the other side', async (t) => {
  for (const [name, native] of KINDS) {
    const path = join(folder, `out-${name}`);
    const peer = createServer();
    peer.listen(path);
    await once(peer, 'listening');
    t.teardown(() => peer.close());
    const { monitor } = wire();
    const accepted = once(peer, 'connection') as Promise<[Socket]>;
    const onConnection = (connection: Connection): void => monitor.accept(connection);
    const endpoint = await connectUnix({ path, ...(native && { native }) }, onConnection);
    const [socket] = await accepted;
    t.match(String((await once(socket, 'data'))[0]), /^\{"QMP": .*\r\n$/);
    socket.write(NEGOTIATE);
    t.equal(String((await once(socket, 'data'))[0]), '{"return": {}}\r\n');
    endpoint.close();
    await once(socket, 'close');
    t.equal(monitor.clients, 0);
  }
  const native = loader.load();
  if (native === undefined) return;
  const [ours = -1, theirs = -1] = native.socketpair();
  const { monitor } = wire();
  const endpoint = adoptUnix({ fd: ours, native: loader.load }, (c) => monitor.accept(c));
  const client = new Socket({ fd: theirs, readable: true, writable: true });
  t.match(String((await once(client, 'data'))[0]), /^\{"QMP": /);
  endpoint.close();
  await once(client, 'close');
});

t.test('standard input and output carry a session', async (t) => {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const { monitor } = wire();
  monitor.accept(stdioConnection(input, output));
  input.write(NEGOTIATE);
  input.end(QUERY);
  while (monitor.clients > 0) await new Promise((resolve) => setImmediate(resolve));
  const lines = String(output.read()).split('\r\n');
  t.match(lines[0], /^\{"QMP": /);
  t.strictSame(lines.slice(1), ['{"return": {}}', '{"return": {"name": "vm0"}}', '']);
});

t.test('what takes its time is answered after standard input has closed', async (t) => {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const { monitor, target } = wire();
  monitor.accept(stdioConnection(input, output));
  input.write(NEGOTIATE);
  input.end(`{"execute":"wait","id":1}${String(QUERY)}`);
  await once(input, 'close');
  target.release();
  const text: string[] = [];
  while (monitor.clients > 0) {
    await new Promise((resolve) => setImmediate(resolve));
    const bytes: unknown = output.read();
    if (bytes !== null) text.push(String(bytes));
  }
  const lines = text.join('').split('\r\n').slice(2);
  t.strictSame(lines, ['{"return": {}, "id": 1}', '{"return": {"name": "vm0"}}', '']);
});

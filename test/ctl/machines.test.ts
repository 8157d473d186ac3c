import { chmodSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { connect, createServer as createTcpServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { httpAddress, qmpAddress } from '../../ctl/address.js';
import { QmpClient } from '../../ctl/client.js';
import { listMachines } from '../../ctl/machines.js';
import { Daemon } from '../../server/daemon.js';
import { createLog } from '../../server/log.js';
import { parseCommandLine } from '../../server/options/command-line.js';
import { withConfigFile } from '../../server/options/config-file.js';
import { privateFolder, startDaemon } from '../support/daemon.js';
import { qmemctl } from '../support/qmemctl.js';

const start = async (t: Test, words: readonly string[] = []) => {
  const started = await startDaemon(t, ['-M', 'none', '--listen', '127.0.0.1:0', ...words]);
  return { ...started, at: `127.0.0.1:${String(started.daemon.httpAddress?.port)}` };
};

t.test('where to connect', async (t) => {
  for (const [given, machine, env, address] of [
    ['/a/b', undefined, undefined, '/a/b'],
    [undefined, undefined, '/c', '/c'],
    ['ws://h:1', undefined, undefined, 'ws://h:1/qmp'],
    ['ws://h:1/machines/x/qmp', undefined, undefined, 'ws://h:1/machines/x/qmp'],
    ['ws://h:1/qmp', 'a b/c', undefined, 'ws://h:1/machines/a%20b%2Fc/qmp'],
    [undefined, 'x', undefined, 'ws://127.0.0.1:7710/machines/x/qmp'],
    [undefined, 'x', '/c', 'ws://127.0.0.1:7710/machines/x/qmp'],
    [undefined, 'x', 'wss://h:1', 'wss://h:1/machines/x/qmp'],
  ] as const)
    t.equal(qmpAddress(given, machine, env === undefined ? {} : { QMEMD_SOCKET: env }), address);
  t.throws(() => qmpAddress('/a', 'x', {}), { message: /^-m needs -s ws:/ });
  t.throws(() => qmpAddress('ws://[', 'x', {}), { message: "'ws://[' is not a URL" });
  t.equal(httpAddress('ws://h:1/qmp', {})?.href, 'http://h:1/');
  t.equal(httpAddress('https://h:1', {})?.href, 'https://h:1/');
  t.equal(httpAddress(undefined, {})?.href, 'http://127.0.0.1:7710/');
  t.equal(httpAddress('/a', {}), undefined);
});

t.test('machines lists them over HTTP, -m reaches one', async (t) => {
  const { at } = await start(t, ['-name', 'vm0']);
  const { status, out } = await qmemctl(['-s', `ws://${at}`, 'machines']);
  t.equal(status, 0);
  const list = JSON.parse(out) as { machines: { name: string }[] };
  t.equal(list.machines.length, 1);
  const name = list.machines[0]?.name ?? '';
  t.equal((await qmemctl(['-s', `http://${at}`, 'machines'])).out, out);
  t.match(await qmemctl(['-s', `ws://${at}`, '-m', name, 'query-name']), {
    status: 0,
    out: /"vm0"/,
  });
  t.match(await qmemctl(['-s', `ws://${at}`, 'query-name']), { status: 0, out: /"vm0"/ });
  t.match(await qmemctl(['-s', `ws://${at}`, '-m', 'nobody', 'query-name']), {
    status: 1,
    err: /no machine has this path \(404\)\nqmemctl: `qmemctl -s ws:\S+ machines` lists what is there\n$/,
  });
});

t.test('of several machines -m reaches the one that is named', async (t) => {
  const file = join(privateFolder(t), 'c.json');
  const machines = ['a', 'b'].map((name) => ({ name, machine: 'none' }));
  writeFileSync(file, JSON.stringify({ listen: '127.0.0.1:0', machines }));
  const invocation = parseCommandLine(['--config', file]);
  if (invocation.kind !== 'run') throw new Error('the words run no daemon');
  const daemon = new Daemon({
    config: withConfigFile(invocation.options, file),
    log: createLog('error'),
    onEmpty: () => undefined,
  });
  await daemon.start();
  t.teardown(() => daemon.stop());
  const at = ['-s', `ws://127.0.0.1:${String(daemon.httpAddress?.port)}`];
  const { out } = await qmemctl([...at, 'machines']);
  t.match(JSON.parse(out), { machines: [{ name: 'a' }, { name: 'b' }] });
  const status = async (name: string) => (await qmemctl([...at, '-m', name, 'query-status'])).out;
  const before = await status('a');
  t.match(await qmemctl([...at, '-m', 'b', 'stop']), { status: 0 });
  t.match(await status('b'), /"running": ?false/);
  t.equal(await status('a'), before, 'the other runs on');
  t.match(await qmemctl([...at, '-m', 'a', 'query-name']), { status: 0, out: /"a"/ });
  const unsaid = await qmemctl([...at, 'query-name']);
  t.equal(unsaid.status, 1, 'which one is not said');
  const hint = `qmemctl: \`qmemctl ${at.join(' ')} machines\` lists them, -m NAME takes one\n`;
  t.equal(unsaid.err.endsWith(`(404)\n${hint}`), true);
});

t.test('-s HOST:PORT speaks QMP over TCP', async (t) => {
  const { socket } = await start(t, ['-name', 'vm0']);
  const forwarder = createTcpServer((peer) => {
    const onward = connect(socket);
    peer.pipe(onward).pipe(peer);
    for (const end of [peer, onward]) end.on('error', () => peer.destroy());
  }).listen(0, '127.0.0.1');
  await once(forwarder, 'listening');
  t.teardown(() => forwarder.close());
  const port = String((forwarder.address() as AddressInfo).port);
  t.match(await qmemctl(['-s', `127.0.0.1:${port}`, 'query-name']), { status: 0, out: /"vm0"/ });
  t.match(await qmemctl(['-s', `localhost:${port}`, 'stop']), { status: 0, err: '' });
  t.match(await qmemctl(['-s', `127.0.0.1:${port}`, '-m', 'x', 'stop']), {
    status: 2,
    err: /-m needs -s ws:/,
  });
  t.match(await qmemctl(['-s', '127.0.0.1:1', 'stop']), { status: 1, err: /nobody listens there/ });
});

t.test('an HTTP port is told from a QEMU that is busy', async (t) => {
  const chunks = ['HT', 'TP/1.1 408 Request Timeout\r\n\r\n'];
  const server = createTcpServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.setNoDelay();
    // Each chunk once the one before is written.
    const write = (): void => {
      const chunk = chunks.shift();
      if (chunk !== undefined) socket.write(chunk, () => setImmediate(write));
    };
    write();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const address = `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  t.strictSame(await qmemctl(['-s', address, 'stop']), {
    status: 1,
    out: '',
    err: `qmemctl: ${address}: an HTTP server is there, reached as ws://${address}\n`,
  });
  // It says nothing any more.
  const busy = `${address}: no greeting came; a QEMU serves one client at a time`;
  await t.rejects(QmpClient.connect({ address, greetingTimeoutMs: 50 }), {
    message: `${busy}, and an HTTP port is reached as ws://${address}`,
  });
});

t.test('a socket is one machine', async (t) => {
  const { socket } = await start(t, ['-name', 'vm0']);
  const { status, out } = await qmemctl(['-s', socket, 'machines']);
  t.equal(status, 0);
  t.strictSame(JSON.parse(out), { machines: [{ name: 'vm0', socket }] });
  t.match(await qmemctl(['-s', socket, '-m', 'x', 'stop']), { status: 2, err: /-m needs -s ws:/ });
  t.match(await qmemctl(['-m', 'x', 'machines']), { status: 2, err: /no -m/ });
  t.match(await qmemctl(['-s', 'ws://127.0.0.1:1', 'machines']), {
    status: 1,
    err: /^qmemctl: cannot connect to http:\/\/127.0.0.1:1\/machines: /,
  });
});

t.test('with nothing running all that was tried is named', async (t) => {
  const free = createTcpServer().listen(0, '127.0.0.1');
  await once(free, 'listening');
  const http = new URL(`http://127.0.0.1:${String((free.address() as AddressInfo).port)}`);
  free.close();
  await once(free, 'close');
  const socket = join(privateFolder(t), 'none');
  const page = new URL('/machines', http).href;
  await t.rejects(listMachines({ http, socket }), {
    name: 'ConnectionError',
    message: [
      `cannot connect to ${page}: nobody listens there`,
      `cannot connect to ${socket}: no such socket`,
    ].join('; '),
  });
});

t.test('the token of a file opens what asks for one', async (t) => {
  const file = join(privateFolder(t), 'token');
  writeFileSync(file, 'correct-horse-battery\n');
  chmodSync(file, 0o600);
  const { at } = await start(t, ['--token-file', file]);
  t.match(await qmemctl(['-s', `ws://${at}`, 'machines']), {
    status: 1,
    err: /a token is needed \(--token-file\)\n$/,
  });
  t.match(await qmemctl(['-s', `ws://${at}`, 'query-status']), { status: 1, err: /\(401\)\n$/ });
  const token = ['--token-file', file];
  t.equal((await qmemctl(['-s', `ws://${at}`, ...token, 'machines'])).status, 0);
  t.equal((await qmemctl(['-s', `ws://${at}`, ...token, 'query-status'])).status, 0);
  t.match(await qmemctl(['--token-file', '/none', 'stop']), {
    status: 2,
    err: /^qmemctl: --token-file: ENOENT/,
  });
});

t.test('a server that answers something else is one clear line', async (t) => {
  const pages: [number, string][] = [
    [200, 'hello'],
    [404, '{}'],
    [404, '{"machines": {"names": ["a", "b"]}}'],
    [500, 'broken'],
  ];
  let page = pages[0];
  const http = createServer((request, response) => {
    const isHealth = request.url === '/healthz';
    response.statusCode = isHealth ? 200 : (page?.[0] ?? 0);
    response.end(page?.[1]);
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  t.teardown(() => {
    http.closeAllConnections();
    http.close();
  });
  const url = `http://127.0.0.1:${String((http.address() as AddressInfo).port)}`;
  const ask = (which: number) => {
    page = pages[which];
    return qmemctl(['-s', url, 'machines']);
  };
  t.match(await ask(0), { status: 1, err: /JSON goes wrong at 'hello'\n$/ });
  t.match(await ask(1), { status: 1, err: /it lists no machines\n$/ });
  t.match(JSON.parse((await ask(2)).out), { machines: [{ name: 'a' }, { name: 'b' }] });
  t.match(await ask(3), { status: 1, err: /: 500 broken\n$/ });
});

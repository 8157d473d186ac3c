import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, watch, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createUnixServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import t, { type Test } from 'tap';
import { WebSocketServer } from 'ws';
import { ConnectionError } from '../../ctl/client.js';
import { connectionHint } from '../../ctl/hints.js';
import { parseJson, writeJson } from '../../ctl/json.js';
import { run } from '../../ctl/main.js';
import { demoSocketPath } from '../../ctl/paths.js';
import { isJsonObject, type JsonObject, type JsonValue } from '../../schema/json.js';

/** What a scripted server does with a request; undefined: nothing. */
type Answer = (request: JsonObject, send: (message: JsonValue) => void) => void;

type Negotiated = (request: JsonObject) => unknown;

const GREETING: JsonObject = { QMP: { version: {}, capabilities: ['oob'] } };
const ok = (request: JsonObject, value: JsonValue): JsonObject => ({
  return: value,
  id: request['id'] ?? null,
});
const bad = (request: JsonObject, errorClass: string, desc: string): JsonObject => ({
  id: request['id'] ?? null,
  error: { class: errorClass, desc },
});
/** One line in, lines out. */
const talk = (answer: Answer, write: (text: string) => void, onNegotiation?: Negotiated) => {
  write(`${writeJson(GREETING)}\r\n`);
  return (line: string): void => {
    const request = parseJson(line);
    if (!isJsonObject(request)) throw new Error('no object');
    const send = (message: JsonValue): void => write(`${writeJson(message)}\r\n`);
    if (request['execute'] !== 'qmp_capabilities') return answer(request, send);
    onNegotiation?.(request);
    send(ok(request, {}));
  };
};

/** A socket path in a folder of its own; that of t.testdir() may be too long for a socket. */
const socketPath = (t: Test): string => {
  const dir = mkdtempSync(join(tmpdir(), 'qmemctl-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return join(dir, 'q');
};

/** A QMP server on a UNIX socket, as far as a client can tell. */
const unixServer = async (t: Test, answer: Answer, onNegotiation?: Negotiated): Promise<string> => {
  const path = socketPath(t);
  const server = createUnixServer((socket) => {
    socket.on('error', () => undefined);
    const read = talk(answer, (text) => void socket.write(text), onNegotiation);
    let rest = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      lines.forEach(read);
    });
  });
  server.listen(path);
  await once(server, 'listening');
  t.teardown(() => server.close());
  return path;
};

/** Runs the program and keeps what it prints. */
const ctl = async (
  words: readonly string[],
  env: Record<string, string> = {},
  done = new AbortController(),
) => {
  const printed = { out: '', err: '' };
  const status = await run(words, {
    env,
    version: '1.2.3',
    out: (text) => void (printed.out += text),
    err: (text) => void (printed.err += text),
    done: done.signal,
  });
  return { status, ...printed };
};

t.test('a command prints what it returns, with integers exact both ways', async (t) => {
  const seen: JsonObject[] = [];
  const path = await unixServer(t, (request, send) => {
    seen.push(request);
    send({ event: 'RESET', data: {} });
    send(ok(request, { size: 18446744073709551615n, list: [1n] }));
  });
  const result = await ctl([
    '-s',
    path,
    'mem-attach',
    'id=m0',
    'size=9007199254740993',
    'x.y=true',
  ]);
  t.strictSame(result, {
    status: 0,
    out: '{\n  "size": 18446744073709551615,\n  "list": [\n    1\n  ]\n}\n',
    err: '',
  });
  t.match(seen, [
    { execute: 'mem-attach', arguments: { id: 'm0', size: 9007199254740993n, x: { y: true } } },
  ]);
  t.strictSame(await ctl(['stop'], { QMEMD_SOCKET: path }), result, 'the socket by environment');
  t.equal('arguments' in (seen[1] ?? {}), false);
});

t.test('a refusal is class and text on stderr and status 1', async (t) => {
  const path = await unixServer(t, (request, send) =>
    send(bad(request, 'DeviceNotFound', "Device 'x' not found")),
  );
  t.strictSame(await ctl(['-s', path, 'device_del', 'id=x']), {
    status: 1,
    out: '',
    err: "DeviceNotFound: Device 'x' not found\n",
  });
});

t.test('a late reply to somebody else is not taken for ours', async (t) => {
  const path = await unixServer(t, (request, send) => {
    send({ return: 'foreign', id: '1' });
    send(ok(request, 'ours'));
  });
  t.equal((await ctl(['-s', path, 'query-name'])).out, '"ours"\n');
});

t.test('without a server there is one clear line and status 1', async (t) => {
  const dir = dirname(socketPath(t));
  writeFileSync(`${dir}/file`, '');
  t.strictSame(await ctl(['-s', `${dir}/none`, 'stop']), {
    status: 1,
    out: '',
    err: `qmemctl: cannot connect to ${dir}/none: no such socket\n`,
  });
  t.match(await ctl(['-s', `${dir}/file`, 'stop']), { status: 1, err: /file: not a socket\n$/ });
  t.match(await ctl(['-s', dir, 'stop']), { status: 1, err: /: a directory, not a socket\n$/ });
  t.match(await ctl(['-s', `/${'x'.repeat(107)}`, 'stop']), {
    status: 1,
    err: /longer than 107 bytes\n$/,
  });
  t.match(await ctl(['-s', 'ws://127.0.0.1:1/qmp', 'stop']), {
    status: 1,
    err: /nobody listens there\n$/,
  });
});

t.test(
  'without the demonstration it is said how it runs, and what its socket hangs on',
  async (t) => {
    const dir = dirname(socketPath(t));
    const socket = `${dir}/qmemd/demo.qmp`;
    const hint = (set: string) =>
      `qmemctl: npm start runs the demonstration, whose socket this is as XDG_RUNTIME_DIR is ${set}\n`;
    const err = `qmemctl: cannot connect to ${socket}: no such socket\n${hint(dir)}`;
    t.strictSame(await ctl(['stop'], { XDG_RUNTIME_DIR: dir }), { status: 1, out: '', err });
    const env = { XDG_RUNTIME_DIR: dir, QMEMD_SOCKET: `${dir}/none` };
    t.match(await ctl(['stop'], env), { err: /none: no such socket\n$/ });
    const unset = new ConnectionError('', { address: demoSocketPath({}), code: 'ECONNREFUSED' });
    t.equal(`qmemctl: ${connectionHint(unset, {}) ?? ''}\n`, hint('not set'));
  },
);

t.test('a server that leaves, or speaks something else, is one clear line', async (t) => {
  const path = socketPath(t);
  const hello = ['SSH-2.0 {400} nope\r\n', '{"hello": 1}\r\n', ''];
  const server = createUnixServer((socket) => void socket.end(hello.shift() ?? ''));
  server.listen(path);
  await once(server, 'listening');
  t.teardown(() => server.close());
  for (let left = hello.length; left > 1; left--)
    t.match(await ctl(['-s', path, 'stop']), { status: 1, err: /does not speak QMP: .*\n$/ });
  t.strictSame(await ctl(['-s', path, 'stop']), {
    status: 1,
    out: '',
    err: `qmemctl: ${path}: the server closed the connection\n`,
  });
});

t.test('a server that accepts and says nothing yet is told of, and waited for', async (t) => {
  const path = socketPath(t);
  const greet: (() => void)[] = [];
  const server = createUnixServer((socket) => {
    socket.on('error', () => undefined);
    greet.push(() => {
      const read = talk(
        (request, send) => send(ok(request, {})),
        (text) => void socket.write(text),
      );
      socket.on('data', (chunk: Buffer) => chunk.toString().trim().split('\n').forEach(read));
    });
  });
  server.listen(path);
  await once(server, 'listening');
  t.teardown(() => server.close());
  const note = `qmemctl: connected to ${path}, but no greeting yet; QEMU serves one client at a time\n`;
  const programs = [['query-name'], ['-H', 'info'], ['shell'], ['events'], ['machines']];
  let waiting = programs.length;
  const all = programs.map(async (words) => {
    const printed = { out: '', err: '' };
    const done = new AbortController();
    const status = await run(['-s', path, ...words], {
      env: {},
      version: '',
      input: Readable.from(['exit\n']),
      out: (text) => void (printed.out += text),
      err: (text) => {
        printed.err += text;
        if (--waiting === 0) for (const begin of greet) begin();
        if (words[0] === 'events') done.abort();
      },
      done: done.signal,
    });
    t.strictSame([status, printed.err], [0, note], words.join(' '));
  });
  await Promise.all(all);
});

t.test('a command may be JSON as on the wire, also out-of-band', async (t) => {
  const seen: JsonObject[] = [];
  const path = await unixServer(
    t,
    (request, send) => {
      seen.push(request);
      send(ok(request, {}));
    },
    (request) => seen.push(request),
  );
  const ask = (json: string) => ctl(['-s', path, json]);
  const done = { status: 0, out: '{}\n', err: '' };
  t.strictSame(await ask(`{"execute": 'a', "arguments": {"n": 9007199254740993}, "id": 1}`), done);
  t.strictSame(await ask('{"exec-oob": "b"}'), done);
  t.match(seen, [
    { execute: 'qmp_capabilities' },
    { execute: 'a', arguments: { n: 9007199254740993n } },
    { execute: 'qmp_capabilities', arguments: { enable: ['oob'] } },
    { 'exec-oob': 'b' },
  ]);
  t.equal('arguments' in (seen[0] ?? {}), false, 'in-band needs no capability');
});

t.test('-H prints what the human monitor says as plain text', async (t) => {
  const seen: JsonObject[] = [];
  const said = ['a\r\nb\r\n', 'no end', ''];
  const path = await unixServer(t, (request, send) => {
    seen.push(request);
    send(ok(request, said.shift() ?? null));
  });
  t.equal((await ctl(['-s', path, '-H', 'info', 'pci'])).out, 'a\nb\n');
  t.equal((await ctl(['-s', path, '-H', 'info pci'])).out, 'no end\n');
  t.strictSame(await ctl(['-s', path, 'x', '-H']), { status: 0, out: '', err: '' });
  const execute = 'human-monitor-command';
  t.match(seen, [
    { execute, arguments: { 'command-line': 'info pci' } },
    { execute, arguments: { 'command-line': 'info pci' } },
    { execute, arguments: { 'command-line': 'x' } },
  ]);
});

t.test('events are subscribed to and printed one a line until the server ends', async (t) => {
  const seen: JsonObject[] = [];
  const path = await unixServer(t, (request, send) => {
    seen.push(request);
    send(ok(request, { stream: 's', sequence: 0n, lost: 0n }));
    send({ event: 'MEM_ATTACHED', data: { len: 18446744073709551615n }, seq: 1n });
    send({ event: 'EVENTS_LOST', data: { count: 2n }, seq: 3n });
    send({ event: 'END', seq: 4n });
  });
  const done = new AbortController();
  const printed: string[] = [];
  const status = await run(['-s', path, 'events', '--event', 'MEM_ATTACHED,STOP'], {
    env: {},
    version: '',
    out: (text) => {
      printed.push(text);
      if (text.includes('END')) done.abort();
    },
    err: (text) => t.equal(text, ''),
    done: done.signal,
  });
  t.equal(status, 0);
  const events = ['MEM_ATTACHED', 'STOP', 'SHUTDOWN'];
  t.match(seen, [{ execute: 'subscribe-events', arguments: { events } }]);
  t.strictSame(printed, [
    '{"event": "MEM_ATTACHED", "data": {"len": 18446744073709551615}, "seq": 1}\n',
    '{"event": "EVENTS_LOST", "data": {"count": 2}, "seq": 3}\n',
    '{"event": "END", "seq": 4}\n',
  ]);
});

t.test('a server without subscribe-events sends all, and they are filtered here', async (t) => {
  const path = await unixServer(t, (request, send) => {
    send(bad(request, 'CommandNotFound', 'The command subscribe-events has not been found'));
    send({ event: 'STOP' });
    send({ event: 'RESET' });
  });
  const done = new AbortController();
  const out: string[] = [];
  const io = {
    env: {},
    version: '',
    out: (text: string) => {
      out.push(text);
      done.abort();
    },
    err: (text: string) => void t.equal(text, ''),
    done: done.signal,
  };
  t.equal(await run(['-s', path, 'events', '--event', 'RESET'], io), 0);
  t.strictSame(out, ['{"event": "RESET"}\n']);
});

t.test('a wrong use is explained with status 2', async (t) => {
  for (const [words, problem] of [
    [[], 'a command is missing'],
    [['stop', 'now'], "'now' is not key=value"],
    [['--nope', 'stop'], "Unknown option '--nope'"],
    [['-s'], "Option '-s, --socket <value>' argument missing"],
    [['stop', '--event', 'X'], '--event goes with events only'],
    [['stop', '-v'], '--verbose goes with shell only'],
    [['events', '-H'], '--human goes with shell and COMMAND only'],
    [['{"execute": "stop"'], 'JSON ends too early'],
    [['{"execute": "stop"}', 'x=1'], "a command in JSON takes no 'x=1'"],
    [['{"arguments": {}}'], 'a command in JSON needs "execute" or "exec-oob"'],
    [['-s', '/x', 'ws://h/qmp', 'stop'], 'give either -s or a ws:// URL, not both'],
  ] as const) {
    const { status, out, err } = await ctl(words);
    t.equal(status, 2, words.join(' '));
    t.equal(out, '');
    t.equal(err, `qmemctl: ${problem}\ntry qmemctl --help\n`);
  }
  t.match(await ctl(['--help']), { status: 0, out: /^usage: qmemctl/ });
  t.strictSame(await ctl(['--version']), { status: 0, out: 'qmemctl 1.2.3\n', err: '' });
});

t.test('the same over a WebSocket', async (t) => {
  const http = createServer();
  const sockets = new WebSocketServer({ server: http, path: '/qmp' });
  sockets.on('connection', (socket) => {
    const read = talk(
      (request, send) => send(ok(request, { 'id-was': request['arguments'] ?? null })),
      (text) => socket.send(text.trimEnd()),
    );
    socket.on('message', (data: Buffer) => read(data.toString()));
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  t.teardown(() => {
    sockets.close();
    http.close();
  });
  const url = `ws://127.0.0.1:${String((http.address() as AddressInfo).port)}/qmp`;
  const expected = {
    status: 0,
    out: '{\n  "id-was": {\n    "n": 9007199254740993\n  }\n}\n',
    err: '',
  };
  t.strictSame(await ctl([url, 'x', 'n=9007199254740993']), expected);
  t.strictSame(await ctl(['-s', url, 'x', 'n=9007199254740993']), expected);
  t.match(await ctl([`${url}/nope`, 'x']), {
    status: 1,
    err: /^qmemctl: cannot connect to ws:.*400/,
  });
});

const hasQemu = spawnSync('qemu-system-x86_64', ['--version']).status === 0;
t.test(
  'against a real QEMU',
  { skip: hasQemu ? false : 'qemu-system-x86_64 is not installed' },
  async (t) => {
    const path = socketPath(t);
    const appeared = new Promise<void>((resolve) => {
      const watcher = watch(dirname(path), (_kind, name) => {
        if (name !== basename(path)) return;
        watcher.close();
        resolve();
      });
    });
    const qemu = spawn('qemu-system-x86_64', [
      ...['-M', 'q35', '-accel', 'tcg', '-S', '-display', 'none', '-nodefaults', '-name', 'vm0'],
      ...['-qmp', `unix:${path},server=on,wait=off`],
    ]);
    t.teardown(() => qemu.kill());
    await appeared;
    // The path appears a moment before somebody listens on it.
    let first = await ctl(['-s', path, 'query-name']);
    while (first.err.includes('nobody listens')) first = await ctl(['-s', path, 'query-name']);
    t.strictSame(first, { status: 0, out: '{\n  "name": "vm0"\n}\n', err: '' });
    const added = [
      'object-add',
      'qom-type=memory-backend-ram',
      'id=m1',
      'size=1048576',
      'share=true',
    ];
    t.equal((await ctl(['-s', path, ...added])).out, '{}\n');
    t.strictSame(await ctl(['-s', path, 'device_del', 'id=x']), {
      status: 1,
      out: '',
      err: "DeviceNotFound: Device 'x' not found\n",
    });
    const size = await ctl(['-s', path, 'qom-get', 'path=/objects/m1', 'property=size']);
    t.equal(size.out, '1048576\n');
    t.match(await ctl(['-s', path, 'quit']), { status: 0, out: '{}\n' });
  },
);

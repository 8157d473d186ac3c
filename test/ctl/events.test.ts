import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { pauseMs } from '../../ctl/events.js';
import {
  connectWhenUp,
  eventually,
  privateFolder,
  spawnDaemon,
  startDaemon,
  type Cleanup,
} from '../support/daemon.js';
import { qmemctl } from '../support/qmemctl.js';

/** A machine with that many events behind it. */
const start = async (t: Test, events: number, words: readonly string[] = []) => {
  const { qmp, socket } = await startDaemon(t, ['-M', 'none', ...words]);
  for (let n = 0; n < events; n++) await qmp.execute(n % 2 === 0 ? 'stop' : 'cont');
  return { qmp, socket };
};
const numbers = (out: string): bigint[] =>
  [...out.matchAll(/"seq": ([0-9]+)/g)].map(([, seq = '']) => BigInt(seq));

t.test('--since gives what came after, and then what comes', async (t) => {
  const { socket, qmp } = await start(t, 4);
  const watch = qmemctl(['-s', socket, 'events', '--since', '2'], { lines: 3 });
  await qmp.execute('stop');
  const { status, out, err } = await watch;
  t.equal(status, 0);
  t.strictSame(numbers(out), [3n, 4n, 5n]);
  const stream = /stream ([0-9a-f-]{36}), at [45]\n$/.exec(err)?.[1] ?? '';
  t.equal(err.includes('lost'), false);
  const again = await qmemctl(['-s', socket, 'events', '--since', `${stream}:3`], { lines: 2 });
  t.strictSame(numbers(again.out), [4n, 5n]);
});

t.test('names are filtered in what is replayed, too', async (t) => {
  const { socket } = await start(t, 4);
  const words = ['-s', socket, 'events', '--event', 'RESUME', '--since', '0'];
  t.strictSame(numbers((await qmemctl(words, { lines: 2 })).out), [2n, 4n]);
});

t.test('what the machine keeps no longer is said to be lost', async (t) => {
  const { socket } = await start(t, 6, ['--limit', 'event-ring=2']);
  const { out, err } = await qmemctl(['-s', socket, 'events', '--since', '1'], { lines: 2 });
  t.strictSame(numbers(out), [5n, 6n]);
  t.match(err, /^qmemctl: 3 events are lost, they are kept no longer\n/);
});

t.test('a machine that has started anew gives all it has, and it is said', async (t) => {
  const { socket } = await start(t, 2);
  for (const since of ['7', '1b4e28ba-2fa1-11d2-883f-0016d3cca427:1']) {
    const { out, err } = await qmemctl(['-s', socket, 'events', '--since', since], { lines: 2 });
    t.strictSame(numbers(out), [1n, 2n], since);
    t.match(err, /^qmemctl: the machine has started anew, .* what came between is lost/);
  }
});

t.test('a wrong use is explained', async (t) => {
  for (const [words, problem] of [
    [['events', '--since', 'x'], '--since x: not [STREAM:]SEQ'],
    [['events', 'now'], "events takes no 'now'"],
    [['stop', '--since', '1'], '--since goes with events only'],
    [['stop', '--reconnect'], '--reconnect goes with events only'],
  ] as const) {
    const { status, err } = await qmemctl(words);
    t.equal(status, 2);
    t.equal(err.startsWith(`qmemctl: ${problem}\n`), true, problem);
  }
});

const BUILT = new URL('../../dist/bin/qmemctl.js', import.meta.url).pathname;

/** The built program, watching. */
const watchEvents = (t: Cleanup, words: readonly string[]) => {
  const child = spawn(process.execPath, [BUILT, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  const text = { out: '', err: '' };
  child.stdout.on('data', (chunk: Buffer) => (text.out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (text.err += chunk.toString()));
  const exit = once(child, 'close').then(([status]) => status as number | null);
  t.teardown(() => child.kill('SIGKILL'));
  return { child, text, exit };
};
/** A daemon of its own that can be killed; `out` of a watch holds `"seq": N` of its first event. */
const killable = async (t: Test, socket = join(privateFolder(t), 's')) => {
  const words = ['-M', 'none', '-qmp', `unix:${socket},server=on,wait=off`];
  const daemon = spawnDaemon(t, [...words, '--listen', '127.0.0.1:0', '--log-level', 'info']);
  const qmp = await connectWhenUp(socket);
  t.teardown(() => qmp.close());
  const printed = (): string => daemon.stderr() + daemon.stdout();
  await eventually('the port is printed', () => /127\.0\.0\.1:[0-9]+/.test(printed()));
  const [at = ''] = /127\.0\.0\.1:[0-9]+/.exec(printed()) ?? [];
  return { qmp, socket, url: `ws://${at}`, ...daemon };
};

t.test('a server that is killed is told, and is status 1', async (t) => {
  for (const transport of ['socket', 'url'] as const)
    t.test(transport, async (t) => {
      const daemon = await killable(t);
      const address = daemon[transport];
      const { text, exit } = watchEvents(t, ['-s', address, 'events', '--since', '0']);
      await eventually('it watches', () => text.err.includes(', at 0'));
      daemon.child.kill('SIGKILL');
      t.equal(await exit, 1);
      t.match(text.err, /^qmemctl: \S+: the server closed the connection\n$/m);
    });
});

t.test('the end of the machine is in order, whatever is watched', async (t) => {
  for (const words of [[], ['--event', 'STOP']]) {
    const { socket, qmp } = await startDaemon(t, ['-M', 'none']);
    const { text, exit } = watchEvents(t, ['-s', socket, 'events', '--since', '0', ...words]);
    await eventually('it watches', () => text.err.includes(', at 0'));
    await qmp.execute('stop');
    await qmp.execute('quit');
    t.equal(await exit, 0);
    t.equal(text.out.includes('"STOP"'), true);
    t.equal(text.out.includes('"SHUTDOWN"'), words.length === 0);
    t.equal(text.err.includes('closed'), false);
  }
});

t.test('an interrupt is in order, also while nobody answers', async (t) => {
  const { socket } = await startDaemon(t, ['-M', 'none']);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const { child, text, exit } = watchEvents(t, ['-s', socket, 'events', '--since', '0']);
    await eventually('it watches', () => text.err.includes(', at 0'));
    child.kill(signal);
    t.equal(await exit, 0);
    t.match(text.err, /^qmemctl: stream \S+, at 0\n$/);
  }
  const silent = createServer().listen(join(privateFolder(t), 's'));
  t.teardown(() => silent.close());
  const { child, text, exit } = watchEvents(t, ['-s', String(silent.address()), 'events']);
  const [peer] = (await once(silent, 'connection')) as [Socket];
  peer.on('error', () => peer.destroy());
  child.kill('SIGINT');
  t.equal(await exit, 0);
  t.equal(text.err, '');
});

t.test('--reconnect goes on where the connection was lost', async (t) => {
  const first = await killable(t);
  const { child, text, exit } = watchEvents(t, ['-s', first.socket, 'events', '--reconnect']);
  await eventually('it watches', async () => {
    await first.qmp.execute('stop');
    await first.qmp.execute('cont');
    return text.out !== '';
  });
  first.child.kill('SIGKILL');
  await first.exit;
  await eventually('the loss is told', () => text.err.includes('trying again'));
  t.match(text.err, /: the server closed the connection; trying again\n/);
  text.out = '';
  const second = await killable(t, first.socket);
  await second.qmp.execute('stop');
  await eventually('the event comes', () => text.out.includes('"STOP"'));
  t.match(text.err, /the machine has started anew, .* what came between is lost/);
  t.strictSame(numbers(text.out), [1n]);
  await second.qmp.execute('quit');
  await eventually('the end is told', () => text.err.includes('has ended; trying again'));
  child.kill('SIGINT');
  t.equal(await exit, 0);
});

t.test('--reconnect to a machine that lives loses nothing', async (t) => {
  const { socket, qmp } = await start(t, 2);
  const peers = new Set<Socket>();
  const forwarder = createServer((peer) => {
    peers.add(peer);
    const onward = connect(socket);
    peer.pipe(onward).pipe(peer);
    for (const end of [peer, onward]) end.on('error', () => peer.destroy());
  });
  const path = join(privateFolder(t), 'f');
  forwarder.listen(path);
  await once(forwarder, 'listening');
  t.teardown(() => forwarder.close());
  const words = ['-s', path, 'events', '--since', '0', '--reconnect'];
  const { child, text, exit } = watchEvents(t, words);
  for (let n = 3; n <= 5; n++) {
    await eventually('it watches', () => text.out.includes(`"seq": ${String(n - 1)}}`));
    for (const peer of peers) peer.destroy();
    peers.clear();
    await qmp.execute(n % 2 === 1 ? 'stop' : 'cont');
  }
  await eventually('the last one comes', () => text.out.includes('"seq": 5}'));
  child.kill('SIGINT');
  t.equal(await exit, 0);
  t.strictSame(numbers(text.out), [1n, 2n, 3n, 4n, 5n]);
  t.equal(text.err.match(/connection; trying again/g)?.length, 3);
  t.equal(text.err.includes('lost'), false);
});

t.test('the pauses between tries grow, up to a few seconds', async (t) => {
  t.strictSame([0, 1, 2, 5, 6, 1000].map(pauseMs), [100, 200, 400, 3200, 5000, 5000]);
});

t.test('--reconnect asks for a first connection', async (t) => {
  t.match(await qmemctl(['-s', '/none', 'events', '--reconnect']), {
    status: 1,
    err: 'qmemctl: cannot connect to /none: no such socket\n',
  });
});

t.test('-p prints events over several lines', async (t) => {
  const { socket } = await start(t, 1);
  const { out } = await qmemctl(['-s', socket, 'events', '-p', '--since', '0'], { lines: 3 });
  t.match(out, /^\{\n {2}"timestamp": \{\n/);
});

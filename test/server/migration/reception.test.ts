import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { FRAME, FrameReader, preamble } from '../../../server/migration/stream.js';
import { eventually, privateFolder } from '../../support/daemon.js';
import {
  becomes,
  runStatus,
  setCapabilities,
  startHost,
  startPair,
  statusIs,
  type Host,
} from '../../support/migration.js';

const WORDS = ['-M', 'pc', '-m', '1M'];
const AT = '0x80000';
const TAKEN = 'another source was first';

/** Whoever connects, and what the machine says to that. */
class Peer {
  readonly #socket: Socket;
  readonly reasons: string[] = [];
  isClosed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    const reader = new FrameReader({
      limit: () => 1 << 20,
      onFrame: ({ type, payload }) => {
        const text = type === FRAME.REFUSE ? payload.toString() : String(type);
        this.reasons.push(text);
      },
    });
    socket.on('data', (bytes) => reader.push(bytes as Buffer));
    socket.on('error', () => undefined);
    socket.on('close', () => (this.isClosed = true));
  }
  static async connect(t: Test, path: string): Promise<Peer> {
    const socket = connect(path);
    await once(socket, 'connect');
    t.teardown(() => socket.destroy());
    return new Peer(socket);
  }
  say(bytes: Buffer): void {
    this.#socket.write(bytes);
  }
  end(): void {
    this.#socket.end();
  }
  leave(): void {
    this.#socket.destroy();
  }
}

const waiting = async (t: Test) => {
  const pair = await startPair(t, WORDS);
  await pair.a.qtest.ask(`writel ${AT} 0xcafe`);
  await pair.b.qmp.execute('migrate-incoming', { uri: pair.uri });
  await statusIs(pair.b.qmp, 'setup');
  return { ...pair, peer: () => Peer.connect(t, pair.path) };
};
const comes = async (t: Test, a: Host, b: Host, uri: string): Promise<void> => {
  await a.qmp.execute('migrate', { uri });
  await Promise.all([statusIs(a.qmp, 'completed'), statusIs(b.qmp, 'completed')]);
  t.equal(await b.qtest.value(`readl ${AT}`), 0xcafen);
};
const failure = async ({ qmp }: Host): Promise<unknown> =>
  ((await qmp.execute('query-migrate')) as { 'error-desc'?: string })['error-desc'];

t.test('connections that say nothing take nobody the place', async (t) => {
  const { a, b, uri, peer } = await waiting(t);
  const idle = await peer();
  for (const go of [(p: Peer) => p.leave(), (p: Peer) => p.end()]) {
    const stray = await peer();
    go(stray);
    await eventually('it is dropped', () => stray.isClosed);
  }
  t.equal(b.qmp.order.filter((name) => name === 'MIGRATION').length, 1, 'nothing has begun');
  t.match(await b.qmp.execute('query-migrate'), { 'socket-address': [{ type: 'unix' }] });
  const begun = await peer();
  begun.say(preamble().subarray(0, 10));
  await comes(t, a, b, uri);
  for (const other of [idle, begun]) {
    await eventually('it is told', () => other.reasons.length > 0);
    t.strictSame(other.reasons, [`{"reason": "${TAKEN}"}`]);
    other.leave();
  }
});

t.test('a second source is refused with the reason, the first one goes on', async (t) => {
  const { a, b, uri } = await waiting(t);
  await setCapabilities(a.qmp, ['pause-before-switchover']);
  await a.qmp.execute('migrate', { uri });
  await statusIs(a.qmp, 'pre-switchover');
  const second = await startHost(t, WORDS);
  await second.qmp.execute('migrate', { uri });
  await statusIs(second.qmp, 'failed');
  t.equal(await failure(second), `The destination refused: ${TAKEN}`);
  t.equal(await runStatus(second), 'running');
  await a.qmp.execute('migrate-continue', { state: 'pre-switchover' });
  await Promise.all([statusIs(a.qmp, 'completed'), statusIs(b.qmp, 'completed')]);
  t.equal(await b.qtest.value(`readl ${AT}`), 0xcafen);
});

t.test('so many wait at a time, the next one is closed', async (t) => {
  const { a, b, uri, peer } = await waiting(t);
  const peers: Peer[] = [];
  for (let i = 0; i < 16; i++) peers.push(await peer());
  const next = await peer();
  await eventually('it is closed', () => next.isClosed);
  t.strictSame(
    peers.filter(({ isClosed }) => isClosed),
    [],
  );
  await a.qmp.execute('migrate', { uri });
  await statusIs(a.qmp, 'failed');
  t.match(await failure(a), /closed|Unable to write/);
  peers[7]?.leave();
  await comes(t, a, b, uri);
});

t.test('whoever says something that is wrong fails the migration', async (t) => {
  const { a, b, uri, peer } = await waiting(t);
  const idle = await peer();
  const stray = await peer();
  stray.say(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  await statusIs(b.qmp, 'failed');
  const text = 'migration stream: byte 0, frame 0: this is no migration stream of qmemd';
  t.strictSame(await b.qmp.execute('query-migrate'), { status: 'failed', 'error-desc': text });
  for (const [other, reason] of [
    [stray, text],
    [idle, TAKEN],
  ] as const) {
    await eventually('it is told', () => other.reasons.length > 0);
    t.strictSame(other.reasons, [`{"reason": "${reason}"}`]);
  }
  t.equal(await runStatus(b), 'inmigrate');
  await b.qmp.execute('migrate-incoming', { uri });
  await comes(t, a, b, uri);
});

t.test('a stream that ends after some bytes is a failure', async (t) => {
  const { b, peer } = await waiting(t);
  const cut = await peer();
  cut.say(preamble());
  cut.end();
  await statusIs(b.qmp, 'failed');
  t.match(await failure(b), /byte 16, frame 0: the stream ends before the machine is complete$/);
});

t.test('a yank and the end of the machine cut those that wait', async (t) => {
  const { a, b, uri, peer } = await waiting(t);
  const first = await peer();
  await eventually('it waits', async () => {
    await b.qmp.execute('yank', { instances: [{ type: 'migration' }] });
    return first.isClosed;
  });
  t.equal(await failure(b), undefined, 'and it listens on');
  const second = await peer();
  t.teardown(() => second.leave());
  await b.qmp.execute('quit');
  await b.qmp.closed();
  await eventually('it is cut', () => second.isClosed);
  t.strictSame(second.reasons, []);
  await a.qmp.execute('migrate', { uri });
  await statusIs(a.qmp, 'failed');
});

t.test('an empty file is no machine: nobody else can come', async (t) => {
  const path = join(privateFolder(t), 'empty');
  writeFileSync(path, '');
  const b = await startHost(t, [...WORDS, '-incoming', `file:${path}`], { events: false });
  await eventually('it failed', async () => (await failure(b)) !== undefined);
  t.match(await failure(b), /byte 0, frame 0: the stream ends in the middle of it$/);
  await becomes(b, 'inmigrate');
});

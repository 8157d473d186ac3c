import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import t from 'tap';
import { Stop } from '../../../schema/control.js';
import { EventHub } from '../../../server/events/hub.js';
import { EventFeed } from '../../../server/session/feed.js';
import { startDaemon, type Cleanup } from '../../support/daemon.js';
import { FeedClient, refusedUpgrade, type FeedMessage } from '../../support/feed.js';
import { MemoryConnection } from '../../support/memory-connection.js';

const noTable = (): string | false => (existsSync('/proc/net/tcp') ? false : 'no /proc/net/tcp');
const LISTEN = ['-M', 'none', '--listen', '127.0.0.1:0'];

const start = async (test: Cleanup, words: readonly string[] = []) => {
  const started = await startDaemon(test, [...LISTEN, ...words]);
  const at = `127.0.0.1:${String(started.daemon.httpAddress?.port)}`;
  const open = async (query = '', path = '/events') => {
    const opened = await FeedClient.open(`ws://${at}${path}${query}`);
    test.teardown(() => opened.feed.close());
    return opened;
  };
  return { ...started, at, open };
};

t.test('the first message tells where the stream is, then events come with numbers', async (t) => {
  const { qmp, open } = await start(t);
  await qmp.execute('stop');
  const { feed, first } = await open();
  t.match(first, { stream: /^[0-9a-f-]{36}$/, sequence: 1, lost: 0 });
  t.equal(first.gaps, undefined);
  await qmp.execute('cont');
  t.match(await feed.next(), { event: 'RESUME', seq: 2 });
  const named = await open('', '/machines/default/events');
  t.equal(named.first.sequence, 2);
});

t.test('a filter passes the named events only', async (t) => {
  const { qmp, open } = await start(t);
  const [some, both, all] = [
    await open('?event=RESUME'),
    await open('?event=STOP,RESET&event=RESUME'),
    await open('?event=*'),
  ];
  for (const command of ['stop', 'cont', 'stop']) await qmp.execute(command);
  t.match(await some.feed.next(), { event: 'RESUME', seq: 2 });
  for (const { feed } of [both, all])
    for (const event of ['STOP', 'RESUME', 'STOP']) t.match(await feed.next(), { event });
});

t.test('since replays exactly what came after it', async (t) => {
  const { qmp, open } = await start(t);
  for (const command of ['stop', 'cont', 'stop', 'cont']) await qmp.execute(command);
  for (const since of [0, 1, 3, 4]) {
    const { feed, first } = await open(`?since=${String(since)}`);
    t.match(first, { sequence: 4, lost: 0 });
    for (let seq = since + 1; seq <= 4; seq++) t.match(await feed.next(), { seq });
    await feed.close();
  }
  const { first } = await open();
  const again = await open(`?since=4&stream=${String(first.stream)}`);
  t.equal(again.first.gaps, undefined);
  await qmp.execute('stop');
  t.match(await again.feed.next(), { event: 'STOP', seq: 5 }, 'and goes on');
});

t.test('a since that the ring holds no longer is a gap, told with what was lost', async (t) => {
  const { qmp, open } = await start(t, ['--limit', 'event-ring=2']);
  for (const command of ['stop', 'cont', 'stop', 'cont', 'stop']) await qmp.execute(command);
  const edge = await open('?since=3');
  t.match(edge.first, { lost: 0 }, 'at the edge of the ring nothing is lost');
  const past = await open('?since=2');
  t.match(past.first, { sequence: 5, lost: 1, gaps: [{ reason: 'ring', from: 3, to: 3 }] });
  for (const { feed } of [edge, past])
    for (const seq of [4, 5]) t.match(await feed.next(), { seq });
});

t.test('another stream is a gap; everything of this one follows', async (t) => {
  const { qmp, open } = await start(t);
  await qmp.execute('stop');
  const other = '00000000-0000-4000-8000-000000000000';
  for (const query of [`?since=1&stream=${other}`, '?since=7']) {
    const { feed, first } = await open(query);
    const from = query === '?since=7' ? 8 : 2;
    t.strictSame(first.gaps, [{ reason: 'stream', from }]);
    t.match(await feed.next(), { event: 'STOP', seq: 1 });
  }
});

t.test('bad queries are refused with 400 and a reason', async (t) => {
  const { at } = await start(t);
  for (const [query, reason] of [
    ['event=NOPE', "event 'NOPE' is not known"],
    ['event=STOP,', "event '' is not known"],
    ['since=-1', "'since' takes the number of an event, not '-1'"],
    ['since=', "'since' takes the number of an event, not ''"],
    ['stream=x', "'stream' means something together with 'since' only"],
    ['evnt=STOP', "parameter 'evnt' is not known; known are event, since, stream, token"],
  ] as const) {
    const { status, body } = await refusedUpgrade(`ws://${at}/events?${query}`);
    t.equal(status, 400, query);
    t.strictSame(JSON.parse(body), { error: reason });
  }
  t.equal((await refusedUpgrade(`ws://${at}/machines/no/events`)).status, 404);
  t.equal((await refusedUpgrade(`ws://${at}/events/x`)).status, 404);
});

t.test('whoever talks on the events endpoint is closed', async (t) => {
  const { open } = await start(t);
  const { feed } = await open();
  feed.socket.send('{"execute":"qmp_capabilities"}');
  t.equal((await once(feed.socket, 'close'))[0], 1000);
});

t.test('the end of the machine is told, then the endpoint closes', async (t) => {
  const { qmp, open } = await start(t);
  const { feed } = await open();
  await qmp.execute('quit');
  t.match(await feed.next(), { event: 'SHUTDOWN', seq: 1 });
  t.equal(await feed.next(), undefined);
});

t.test('a slow subscriber is told how many events it lost; the others get all', (t) => {
  const hub = new EventHub({ ringSize: 3 });
  const feed = new EventFeed(hub, 1);
  const [slow, quick] = [new MemoryConnection(), new MemoryConnection()];
  for (const connection of [slow, quick]) {
    feed.accept(connection, { names: undefined, since: undefined, stream: undefined });
    connection.take();
  }
  const emit = (count: number): void => {
    for (let i = 0; i < count; i++) hub.emit(Stop, {});
  };
  const told = (connection: MemoryConnection) =>
    connection.take().map((text) => {
      const { event, seq, data } = JSON.parse(text) as FeedMessage;
      return [event, seq, data?.['count']];
    });
  slow.reads = false;
  emit(4);
  slow.catchUp();
  const seqs = (from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, at) => ['STOP', from + at, undefined]);
  t.strictSame(told(slow), seqs(1, 4), 'one was under way, the ring held three');
  slow.reads = false;
  emit(5);
  slow.catchUp();
  t.strictSame(told(slow), [...seqs(5, 5), ['EVENTS_LOST', 6, 1], ...seqs(7, 9)]);
  t.strictSame(told(quick), seqs(1, 9));
  t.strictSame(hub.tally, { sent: 18, lost: 1 });
  t.equal(feed.clients, 2);
  slow.destroy();
  t.equal(feed.clients, 1);
  t.end();
});

t.test('a subscriber whose host has gone is noticed', { skip: noTable() }, async (t) => {
  const { at, open } = await start(t);
  await open();
  const port = Number(at.replace(/.*:/, '')).toString(16).toUpperCase().padStart(4, '0');
  const ours = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/ +/))
    // Established, and of the server.
    .filter(([, local, , state]) => local?.endsWith(`:${port}`) === true && state === '01');
  t.equal(ours.length, 1);
  // Timer 2 is that of keepalive.
  t.match(ours[0]?.[5], /^02:/);
});

import t from 'tap';
import { event, int, opt, str } from '../../../schema/lang.js';
import { EventHub } from '../../../server/events/hub.js';
import type { HostTimer } from '../../../devices/core/host-timer.js';
import type { MemoryConnection } from '../../support/memory-connection.js';
import { wire } from '../../support/wire.js';

const STOP = event('STOP', { doc: '', since: '0.1' });
const DELETED = event('DEVICE_DELETED', {
  doc: '',
  since: '0.1',
  data: { device: opt(str('')), path: str('') },
});
const OURS = event('MEM_ATTACHED', {
  doc: '',
  since: '0.1',
  features: ['qmemd'],
  data: { n: int('uint64', '') },
});
const SIZE = event('MEMORY_DEVICE_SIZE_CHANGE', {
  doc: '',
  since: '0.1',
  data: { size: int('uint64', ''), 'qom-path': str('') },
  throttle: { key: 'qom-path' },
});

/** Host time that moves when told to. */
class FakeTimer implements HostTimer {
  #now = 0;
  #timers: { at: number; fire: () => void }[] = [];

  after(ms: number, fire: () => void): () => void {
    const timer = { at: this.#now + ms, fire };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const [next] = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#now = next.at;
      next.fire();
    }
    this.#now = end;
  }
}

const hub = (ringSize = 100, timer = new FakeTimer()): EventHub => {
  let second = 0;
  const wallClock = (): { seconds: number; microseconds: number } => ({
    seconds: ++second,
    microseconds: 5,
  });
  return new EventHub({ ringSize, timer, wallClock, stream: 'uuid' });
};
const setup = (events = hub(), limit?: number) => {
  const limits = limit === undefined ? {} : { 'event-bytes': limit };
  const all = wire({ events, limits });
  all.target.extra = ({ command, client, arguments: args }) => {
    if (command !== 'subscribe-events') return undefined;
    const names = args?.['events'];
    const since = args?.['since'];
    const stream = args?.['stream'];
    const request = {
      names: Array.isArray(names) ? names.map(String) : undefined,
      since: typeof since === 'bigint' ? since : undefined,
      stream: typeof stream === 'string' ? stream : undefined,
    };
    return { ok: true, value: client.subscribe(request) };
  };
  return { ...all, events };
};
const subscribe = (connection: MemoryConnection, args = '{}'): string[] => {
  connection.feed(`{"execute":"subscribe-events","arguments":${args}}`);
  return connection.take();
};
const reply = (sequence: number, lost = 0, gaps?: string): string => {
  const missing = gaps === undefined ? '' : `, "gaps": [${gaps}]`;
  return `{"return": {"stream": "uuid", "sequence": ${String(sequence)}, "lost": ${String(lost)}${missing}}}`;
};
const names = (messages: readonly string[]): string[] =>
  messages.map((text) => /"event": "(\w+)"/.exec(text)?.[1] ?? text);
const numbers = (messages: readonly string[]): string[] =>
  messages.map((text) => /"seq": (\d+)/.exec(text)?.[1] ?? text);

t.test('an event as it goes over the wire', async (t) => {
  const { events, ready } = setup();
  const connection = ready();
  events.emit(DELETED, { path: '/machine/x' });
  events.emit(DELETED, { device: 'd', path: '/p' });
  events.emit(STOP, {});
  t.strictSame(connection.take(), [
    '{"timestamp": {"seconds": 1, "microseconds": 5}, "event": "DEVICE_DELETED", "data": {"path": "/machine/x"}}',
    '{"timestamp": {"seconds": 2, "microseconds": 5}, "event": "DEVICE_DELETED", "data": {"device": "d", "path": "/p"}}',
    '{"timestamp": {"seconds": 3, "microseconds": 5}, "event": "STOP"}',
  ]);
});

t.test('events come after negotiation, to every client, in the same order', async (t) => {
  const { events, ready, client } = setup();
  const [a, b, early] = [ready(), ready(), client()];
  events.emit(STOP, {});
  events.emit(DELETED, { path: '/p' });
  t.strictSame(names(a.take()), ['STOP', 'DEVICE_DELETED']);
  t.strictSame(names(b.take()), ['STOP', 'DEVICE_DELETED']);
  early.feed('{"execute":"qmp_capabilities"}');
  t.strictSame(early.take(), ['{"return": {}}'], 'what went before is not replayed');
});

t.test('an event of the running command goes before its reply', async (t) => {
  const { events, ready, target } = setup();
  target.extra = () => {
    events.emit(STOP, {});
    return { ok: true, value: {} };
  };
  const connection = ready();
  connection.feed('{"execute":"stop"}');
  t.strictSame(names(connection.take()), ['STOP', '{"return": {}}']);
});

t.test('our own events reach only who subscribed, numbered', async (t) => {
  const { events, ready } = setup();
  const [plain, subscriber] = [ready(), ready()];
  t.strictSame(subscribe(subscriber), [reply(0)]);
  events.emit(OURS, { n: 1n });
  events.emit(STOP, {});
  t.strictSame(names(plain.take()), ['STOP']);
  t.strictSame(subscriber.take(), [
    '{"timestamp": {"seconds": 1, "microseconds": 5}, "event": "MEM_ATTACHED", "data": {"n": 1}, "seq": 1}',
    '{"timestamp": {"seconds": 2, "microseconds": 5}, "event": "STOP", "seq": 2}',
  ]);
});

t.test('a subscription can be to some events only', async (t) => {
  const { events, ready } = setup();
  const connection = ready();
  subscribe(connection, '{"events":["MEM_ATTACHED"]}');
  events.emit(STOP, {});
  events.emit(OURS, { n: 1n });
  t.strictSame(numbers(connection.take()), ['2']);
  subscribe(connection, '{"events":["*"]}');
  events.emit(STOP, {});
  t.strictSame(numbers(connection.take()), ['3'], 'the latest subscription counts');
});

t.test('since replays from the ring, after the return', async (t) => {
  const { events, ready } = setup(hub(3));
  for (let n = 1n; n <= 5n; n++) events.emit(OURS, { n });
  for (const [since, lost, replayed] of [
    [0, 2, ['3', '4', '5']],
    [1, 1, ['3', '4', '5']],
    [2, 0, ['3', '4', '5']],
    [4, 0, ['5']],
    [5, 0, []],
  ] as const) {
    const connection = ready();
    const [first, ...rest] = subscribe(connection, `{"since":${String(since)}}`);
    const gap = `{"reason": "ring", "from": ${String(since + 1)}, "to": 2}`;
    t.equal(first, reply(5, lost, lost > 0 ? gap : undefined), `since ${String(since)}`);
    t.strictSame(numbers(rest), replayed);
  }
});

t.test('a slow subscriber loses what the ring gives up, and is told how much', async (t) => {
  const { events, ready } = setup(hub(3), 1);
  const connection = ready();
  subscribe(connection, '{"events":["MEM_ATTACHED"]}');
  connection.reads = false;
  events.emit(OURS, { n: 1n });
  for (let n = 2n; n <= 4n; n++) events.emit(OURS, { n });
  connection.catchUp();
  t.strictSame(numbers(connection.take()), ['1', '2', '3', '4'], 'the ring held them all');
  connection.reads = false;
  events.emit(OURS, { n: 5n });
  for (let n = 6n; n <= 9n; n++) events.emit(n === 7n ? STOP : OURS, { n });
  connection.catchUp();
  const messages = connection.take();
  t.strictSame(names(messages).slice(0, 2), ['MEM_ATTACHED', 'EVENTS_LOST']);
  t.match(messages[1], /"data": \{"count": 1\}, "seq": 6\}$/);
  t.strictSame(numbers(messages.slice(2)), ['8', '9'], 'then it goes on');
});

t.test('any other slow reader is disconnected, at the limit and not before', async (t) => {
  const { events, ready, monitor } = setup(hub(), 10);
  const [slow, fast] = [ready(), ready()];
  slow.reads = false;
  events.emit(STOP, {});
  t.equal(slow.state, 'open');
  events.emit(STOP, {});
  t.equal(slow.state, 'destroyed');
  t.equal(fast.take().length, 2, 'the others do not notice');
  t.equal(monitor.clients, 1);
});

t.test('replies that are not read do not count against events', async (t) => {
  const { events, ready } = setup(hub(), 10);
  const connection = ready();
  connection.reads = false;
  connection.feed('{"execute":"query-name"}'.repeat(20));
  events.emit(STOP, {});
  t.equal(connection.state, 'open');
});

t.test('of a burst the first is sent at once and the last when the window ends', async (t) => {
  const timer = new FakeTimer();
  const { events, ready } = setup(hub(100, timer));
  const connection = ready();
  const burst = (): void => {
    for (let size = 1n; size <= 5n; size++) events.emit(SIZE, { size, 'qom-path': '/a' });
  };
  const sizes = (): string[] =>
    connection.take().map((text) => /"size": (\d+)/.exec(text)?.[1] ?? text);
  burst();
  t.strictSame(sizes(), ['1']);
  events.emit(SIZE, { size: 9n, 'qom-path': '/b' });
  t.strictSame(sizes(), ['9'], 'another key has its own window');
  timer.advance(999);
  t.strictSame(sizes(), []);
  timer.advance(1);
  t.strictSame(sizes(), ['5'], 'the latest');
  burst();
  timer.advance(1000);
  t.strictSame(sizes(), ['5'], 'its window delays the next burst');
  timer.advance(5000);
  burst();
  t.strictSame(sizes(), ['1'], 'an empty window is forgotten');
});

t.test('a delayed event keeps the time at which it was generated', async (t) => {
  const timer = new FakeTimer();
  const { events, ready } = setup(hub(100, timer));
  const connection = ready();
  for (let size = 1n; size <= 2n; size++) events.emit(SIZE, { size, 'qom-path': '/a' });
  events.emit(STOP, {});
  timer.advance(1000);
  const seconds = connection.take().map((text) => /"seconds": (\d+)/.exec(text)?.[1]);
  t.strictSame(seconds, ['1', '3', '2']);
});

t.test(
  'a number of another stream is a gap, and what this one has comes from its start',
  async (t) => {
    const { events, ready } = setup(hub(2));
    for (let i = 0; i < 3; i++) events.emit(STOP, {});
    const stream = '{"reason": "stream", "from": 8}, {"reason": "ring", "from": 1, "to": 1}';
    for (const args of ['{"since":7}', '{"since":7,"stream":"other"}']) {
      const [told, ...replayed] = subscribe(ready(), args);
      t.equal(told, reply(3, 1, stream));
      t.strictSame(numbers(replayed), ['2', '3']);
    }
    const [last = ''] = subscribe(ready(), `{"since":${String((1n << 64n) - 1n)}}`);
    t.match(last, '"reason": "stream", "from": 18446744073709551615}', 'no number is larger');
    const [told, ...replayed] = subscribe(ready(), '{"since":2,"stream":"uuid"}');
    t.equal(told, reply(3));
    t.strictSame(numbers(replayed), ['3']);
  },
);

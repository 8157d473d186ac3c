import t, { type Test } from 'tap';
import { startDaemon } from '../support/daemon.js';
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
    [['stop', '-p'], '--pretty goes with shell only'],
  ] as const) {
    const { status, err } = await qmemctl(words);
    t.equal(status, 2);
    t.equal(err.startsWith(`qmemctl: ${problem}\n`), true, problem);
  }
});

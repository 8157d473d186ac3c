import t from 'tap';
import { Counts } from '../../../server/migration/progress.js';
import { Pace } from '../../../server/migration/rate.js';

const PAGE = 4096;

t.test('what the last phase may take is told by pages that were read', async (t) => {
  const counts = new Counts(300, () => 0);
  Object.assign(counts, { normal: 100, duplicate: 1_000_000, holes: 999_900 });
  t.equal(counts.read, 200, 'ranges without storage say nothing about the rate');
  counts.measure(counts.read, 50 * PAGE, 100, Infinity);
  t.equal(counts.rate, (200 * PAGE) / 100);
  t.equal(counts.expectedDowntimeMs, 25);
  t.equal(counts.dirtyRate, 500);
  counts.measure(counts.read, 50 * PAGE, 100, PAGE);
  t.equal(counts.rate, PAGE, 'zeros are not faster than the bandwidth');
});

t.test('a sender is kept below its limit, however large its pieces are', async (t) => {
  const { signal } = new AbortController();
  const LIMIT = 10_000;
  for (const pieces of [[6_000], [2_000, 2_000, 2_000]]) {
    const pace = new Pace(() => LIMIT, signal);
    const before = performance.now();
    for (const bytes of pieces) await pace.spend(bytes, true);
    t.equal(performance.now() - before > 450, true, `6000 bytes at 10000 in a second: ${pieces}`);
  }
});

t.test('no limit, the last phase, and a limit that is lifted meanwhile', async (t) => {
  const { signal } = new AbortController();
  await new Pace(() => 0, signal).spend(1e12, true);
  await new Pace(() => 1, signal).spend(1e12, false);
  let limit = 1;
  setImmediate(() => (limit = 0));
  await new Pace(() => limit, signal).spend(1e12, true);
  t.pass('nothing waits');
});

t.test('who waits is woken when it is given up', async (t) => {
  const abort = new AbortController();
  const waiting = new Pace(() => 1, abort.signal).spend(1e6, true);
  abort.abort();
  await t.rejects(waiting, { name: 'AbortError' });
});

import t from 'tap';
import { Copier } from '../../../server/migration/copy.js';
import { blocksOf } from '../../../server/migration/memories.js';
import { Counts } from '../../../server/migration/progress.js';
import { Pace } from '../../../server/migration/rate.js';
import { FrameWriter } from '../../../server/migration/stream.js';
import { startMachine } from '../../support/machine.js';

const PAGE = 4096;

t.test('what the last phase may take is told by pages that were read', async (t) => {
  const counts = new Counts(300, () => 0);
  Object.assign(counts, { normal: 100, duplicate: 1_000_000, holes: 999_900 });
  t.equal(counts.read, 200, 'ranges without storage say nothing about the rate');
  const pass = {
    ...{ readPages: counts.read, writtenPages: 70, dirtyBytes: 50 * PAGE },
    ...{ elapsedMs: 100, mostRate: Infinity },
  };
  counts.measure(pass);
  t.equal(counts.rate, (200 * PAGE) / 100);
  t.equal(counts.expectedDowntimeMs, 25);
  t.equal(counts.dirtyRate, 700, 'also of what was sent since');
  counts.measure({ ...pass, mostRate: PAGE });
  t.equal(counts.rate, PAGE, 'zeros are not faster than the bandwidth');
});

t.test('pages that were written in a pass count, sent or not', async (t) => {
  const { machine } = await startMachine(t, ['-M', 'pc', '-m', '4M']);
  const blocks = blocksOf(machine);
  const memory = blocks[0]?.memory();
  const poke = (page: number): boolean | undefined =>
    memory?.write(BigInt(page * PAGE), Buffer.of(1));
  for (let page = 0; page < 1024; page++) poke(page);
  let left = [10, 1000, 1000, 1001];
  const copier = new Copier({
    ...{ blocks, isSent: () => true, writer: new FrameWriter(), counts: new Counts(300) },
    send: () => {
      for (const page of left.splice(0)) poke(page);
      return undefined;
    },
    pace: new Pace(() => 0, new AbortController().signal),
  });
  await copier.pass(true);
  t.equal(copier.writtenPages, 3);
  t.equal(copier.dirtyBytes, PAGE, 'two of them came in time');
  poke(5);
  left = [7];
  await copier.pass(true);
  t.equal(copier.writtenPages, 1);
  copier.close();
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

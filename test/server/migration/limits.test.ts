import { join } from 'node:path';
import t from 'tap';
import { eventually, privateFolder } from '../../support/daemon.js';
import { becomes, startHost, statusIs } from '../../support/migration.js';

const WORDS = ['-M', 'pc', '-m', '1M'];

t.test('what a destination takes: at each limit and one below', async (t) => {
  const path = join(privateFolder(t), 'machine');
  const a = await startHost(t, WORDS);
  await a.qmp.execute('migrate', { uri: `file:${path}` });
  await statusIs(a.qmp, 'completed');
  for (const [limit, refusal] of [
    ['migration-hello-bytes', /HELLO of (\d+) bytes is above the limit of 64$/],
    ['migration-state-bytes', /DEVICE of \d+ bytes is above the limit of 64$/],
  ] as const)
    await t.test(limit, async (t) => {
      const failure = async (value: number): Promise<string> => {
        const words = ['--limit', `${limit}=${String(value)}`, '-incoming', `file:${path}`];
        const b = await startHost(t, [...WORDS, ...words], { events: false });
        let info: { status?: string; 'error-desc'?: string } = {};
        await eventually('it has ended', async () => {
          info = (await b.qmp.execute('query-migrate')) as typeof info;
          return info.status === 'failed' || info.status === 'completed';
        });
        if (info.status === 'completed') await becomes(b, 'running');
        return info['error-desc'] ?? '';
      };
      t.match(await failure(64), refusal);
      // The smallest that will do: found by halving, then tried on both sides.
      let [low, high] = [64, 1 << 20];
      while (high - low > 1) {
        const middle = (low + high) >> 1;
        if ((await failure(middle)) === '') high = middle;
        else low = middle;
      }
      t.equal(await failure(high), '', `${String(high)} bytes are enough`);
      t.match(await failure(high - 1), /is above the limit of/);
    });
});

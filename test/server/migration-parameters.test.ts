import t from 'tap';
import { startMachine } from '../support/machine.js';

const start = async (t: Parameters<typeof startMachine>[0]) => {
  const { run } = await startMachine(t, ['-M', 'q35', '-S', '-nodefaults']);
  return {
    query: () => run('query-migrate-parameters') as Promise<Record<string, unknown>>,
    set: (given: Parameters<typeof run>[1]) => run('migrate-set-parameters', given),
  };
};

t.test('the parameters start with the values of QEMU, and are kept', async (t) => {
  const { query, set } = await start(t);
  const before = await query();
  t.match(before, { 'max-bandwidth': 134217728n, 'downtime-limit': 300n, 'tls-creds': '' });
  t.equal('block-bitmap-mapping' in before, false);
  const mapping = [{ 'node-name': 'n', alias: 'a', bitmaps: [] }];
  await set({
    'max-bandwidth': (1n << 64n) - 1n,
    'tls-creds': 'c',
    'block-bitmap-mapping': mapping,
  });
  t.strictSame(await query(), {
    ...before,
    'max-bandwidth': (1n << 64n) - 1n,
    'tls-creds': 'c',
    'block-bitmap-mapping': mapping,
  });
  await set({ 'tls-creds': null });
  t.match(await query(), { 'tls-creds': '' });
});

t.test('every bound: at the edge, one past it, and then nothing has changed', async (t) => {
  const { query, set } = await start(t);
  for (const [name, good, bad, expected] of [
    ['announce-initial', 100_000n, 100_001n, 'a value between 0 and 100000'],
    ['announce-max', 100_000n, 100_001n, 'a value between 0 and 100000'],
    ['announce-rounds', 1000n, 1001n, 'a value between 0 and 1000'],
    ['announce-step', 1n, 0n, 'a value between 0 and 10000'],
    ['announce-step', 10_000n, 10_001n, 'a value between 0 and 10000'],
    ['compress-level', 9n, 10n, 'a value between 0 and 9'],
    ['compress-threads', 1n, 0n, 'a value between 1 and 255'],
    ['decompress-threads', 1n, 0n, 'a value between 1 and 255'],
    ['throttle-trigger-threshold', 1n, 0n, 'an integer in the range of 1 to 100'],
    ['throttle-trigger-threshold', 100n, 101n, 'an integer in the range of 1 to 100'],
    ['cpu-throttle-increment', 99n, 100n, 'an integer in the range of 1 to 99'],
    ['max-cpu-throttle', 20n, 19n, 'an integer in the range of cpu_throttle_initial to 99'],
    ['cpu-throttle-initial', 1n, 0n, 'an integer in the range of 1 to 99'],
    ['downtime-limit', 2_000_000n, 2_000_001n, 'an integer in the range of 0 to (2000 * 1000) ms'],
    ['multifd-channels', 1n, 0n, 'a value between 1 and 255'],
    ['multifd-zlib-level', 9n, 10n, 'a value between 0 and 9'],
    ['multifd-zstd-level', 20n, 21n, 'a value between 0 and 20'],
    ['xbzrle-cache-size', 4096n, 2048n, 'a power of two no less than the target page size'],
  ] as const) {
    await set({ [name]: good });
    const before = await query();
    await t.rejects(set({ 'x-checkpoint-delay': 1n, [name]: bad }), {
      class: 'GenericError',
      message: `Parameter '${name.replaceAll('-', '_')}' expects ${expected}`,
    });
    t.strictSame(await query(), before, `${name}: all or nothing`);
  }
});

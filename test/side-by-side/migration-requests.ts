import type { Json } from './client.js';
import { ask, bare, type Scenario, type Step } from './requests.js';

const query = ask('query-migrate-parameters');
const set = (given: { readonly [key: string]: Json }): Step => ask('migrate-set-parameters', given);

/** Each value alone: bounds, one past them, and wrong types. */
const single: readonly (readonly [name: string, ...values: Json[]])[] = [
  ['announce-initial', 0n, 100_000n, 100_001n],
  ['announce-max', 100_000n, 100_001n],
  ['announce-rounds', 1000n, 1001n],
  ['announce-step', 0n, 1n, 10_000n, 10_001n],
  ['compress-level', 9n, 10n, 256n, -1n],
  ['compress-threads', 0n, 1n, 255n, 256n],
  ['decompress-threads', 0n, 1n],
  ['throttle-trigger-threshold', 0n, 100n, 101n],
  ['cpu-throttle-increment', 0n, 99n, 100n],
  ['max-cpu-throttle', 19n, 20n, 99n, 100n],
  ['cpu-throttle-initial', 0n, 99n, 100n],
  ['max-bandwidth', 0n, 18446744073709551615n, '1', true],
  ['downtime-limit', 2_000_000n, 2_000_001n],
  ['multifd-channels', 0n, 255n, 256n],
  ['multifd-compression', 'zlib', 'nosuch', 1n],
  ['xbzrle-cache-size', 4095n, 4096n, 4097n, 1n << 40n],
  ['max-postcopy-bandwidth', 1n << 63n],
  ['x-checkpoint-delay', 5n, 1n << 32n],
  ['tls-creds', 'c', null, 1n],
  ['tls-hostname', 'h', null],
  ['tls-authz', 'a', null],
  ['compress-wait-thread', false, 'on'],
  ['cpu-throttle-tailslow', true],
  ['block-incremental', true],
  ['block-bitmap-mapping', [], 1n, [{ 'node-name': 'n', alias: 'a' }]],
  ['nosuch', 1n],
];

export const migrationScenarios: readonly Scenario[] = [
  {
    name: 'parameters of migration are checked and stored',
    options: bare('q35'),
    steps: [
      query,
      ...single.flatMap(([name, ...values]) => values.map((value) => set({ [name]: value }))),
      query,
      set({}),
      set({ 'multifd-channels': 4n, 'downtime-limit': 99_999_999n }),
      set({ 'cpu-throttle-initial': 30n, 'max-cpu-throttle': 29n }),
      set({ 'cpu-throttle-initial': 30n, 'max-cpu-throttle': 30n }),
      set({ 'cpu-throttle-initial': 31n }),
      set({
        'block-bitmap-mapping': [
          { 'node-name': 'n', alias: 'a', bitmaps: [{ name: 'b', alias: 'c', transform: {} }] },
        ],
      }),
      query,
    ],
  },
];

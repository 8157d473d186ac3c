import type { Json } from './client.js';
import { ask, bare, type Scenario, type Step } from './requests.js';

const query = ask('query-migrate-parameters');
const yank = ask('yank', { instances: [{ type: 'migration' }] });
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

const line = (text: string): Step => ask('human-monitor-command', { 'command-line': text });

/** Values as text: good ones, bad ones, and what makes no line. */
const parameterLines: readonly string[] = [
  ...['compress-level x', 'compress-level 300', 'compress-level 12', 'compress-level 2'],
  ...['compress-wait-thread maybe', 'compress-wait-thread off', 'block-incremental on'],
  ...['multifd-compression bar', 'multifd-compression zlib', 'tls-authz foo'],
  ...['max-bandwidth 10', 'max-bandwidth 3G', 'max-bandwidth x', 'max-postcopy-bandwidth 1'],
  ...['xbzrle-cache-size 8k', 'xbzrle-cache-size 5000', 'x-checkpoint-delay 5'],
  ...['x-checkpoint-delay 4294967296', 'downtime-limit -1', 'downtime-limit 3000000'],
  ...['downtime-limit 1k', 'downtime-limit', '', 'a b c', 'nope 3', 'announce-rounds -1'],
  ...['announce-rounds 7', 'max-cpu-throttle 5', 'block-bitmap-mapping x'],
].map((text) => `migrate_set_parameter ${text}`);
const monitorLines: readonly string[] = [
  ...parameterLines,
  'info migrate_parameters',
  ...['', ' events', ' events maybe', ' events on extra', ' nope on', ' postcopy-preempt on'].map(
    (text) => `migrate_set_capability${text}`,
  ),
  ...['migrate_set_capability events on', 'info migrate_capabilities', 'info migrate'],
  ...['migrate', 'migrate -d', 'migrate -x unix:/a', 'migrate -d unix:/a b', 'migrate nope:1'],
  ...['migrate -r unix:/a', 'migrate_cancel', 'migrate_cancel x'],
  ...['migrate_continue', 'migrate_continue nope', 'migrate_continue active'],
  ...['migrate_incoming', 'migrate_incoming unix:/a'],
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
  {
    name: 'the human monitor sets up migrations',
    options: bare('q35'),
    steps: monitorLines.map(line),
  },
  {
    name: 'an incoming migration can be yanked from its command on',
    options: [...bare('q35'), '-incoming', 'defer'],
    steps: [
      // 7.2 sends its first event in any case.
      ask('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] }),
      ask('query-yank'),
      yank,
      ask('migrate-incoming', { uri: 'nosuch:1' }),
      ask('query-yank'),
      ask('migrate-incoming', { uri: 'unix:<dir>/migrate' }),
      ask('query-yank'),
      yank,
      ask('query-yank'),
      ask('query-migrate'),
    ],
  },
];

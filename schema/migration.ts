import { arr, bool, command, enumeration, int, object, opt, str } from './lang.js';

/**
 * Migration, of which there is only what clients ask before they know that there is none.
 *
 * @see reference/qmp-protocol.md §8.3
 */

export const MigrationStatus = enumeration(
  'MigrationStatus',
  [
    'none',
    'setup',
    'cancelling',
    'cancelled',
    'active',
    'postcopy-active',
    'postcopy-paused',
    'postcopy-recover',
    'completed',
    'failed',
    'colo',
    'pre-switchover',
    'device',
    'wait-unplug',
  ],
  'How far a migration is.',
);
export const MigrationInfo = object('MigrationInfo', {
  status: opt(MigrationStatus),
  'total-time': opt(int('int', 'milliseconds since the start')),
  'expected-downtime': opt(int('int', 'milliseconds')),
  downtime: opt(int('int', 'milliseconds')),
  'setup-time': opt(int('int', 'milliseconds')),
  'error-desc': opt(str('why it failed')),
  'blocked-reasons': opt(arr(str('a reason'), 'what forbids migration')),
});
export const queryMigrate = command('query-migrate', {
  doc: 'Report on migration. Empty: none was ever started.',
  since: '0.1',
  returns: MigrationInfo,
});
export const migrateCancel = command('migrate_cancel', {
  doc: 'Cancel a migration; no effect when there is none.',
  since: '0.1',
});

export const MigrationCapability = enumeration(
  'MigrationCapability',
  [
    'xbzrle',
    'rdma-pin-all',
    'auto-converge',
    'zero-blocks',
    'compress',
    'events',
    'postcopy-ram',
    'x-colo',
    'release-ram',
    'block',
    'return-path',
    'pause-before-switchover',
    'multifd',
    'dirty-bitmaps',
    'postcopy-blocktime',
    'late-block-activate',
    'x-ignore-shared',
    'validate-uuid',
    'background-snapshot',
    'zero-copy-send',
    'postcopy-preempt',
  ],
  'What a migration may use. Stored and reported.',
  { valueFeatures: { 'x-colo': ['unstable'], 'x-ignore-shared': ['unstable'] } },
);
export const MigrationCapabilityStatus = object('MigrationCapabilityStatus', {
  capability: MigrationCapability,
  state: bool('whether it is on'),
});
export const queryMigrateCapabilities = command('query-migrate-capabilities', {
  doc: 'List the capabilities of migration.',
  since: '0.1',
  returns: arr(MigrationCapabilityStatus, 'all capabilities'),
});
export const migrateSetCapabilities = command('migrate-set-capabilities', {
  doc: 'Switch capabilities of migration.',
  since: '0.1',
  args: { capabilities: arr(MigrationCapabilityStatus, 'the capabilities to change') },
});

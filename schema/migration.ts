import { arr, bool, command, enumeration, event, int, num, object, opt, str } from './lang.js';
import { SocketAddress } from './socket-address.js';

/**
 * Migration of a machine to another daemon of this host, or to a file.
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
const transferred = int('int', 'bytes sent');
export const MigrationStats = object('MigrationStats', {
  transferred,
  remaining: int('int', 'bytes to go'),
  total: int('int', 'bytes in all'),
  duplicate: int('int', 'pages of zeros'),
  skipped: int('int', 'pages that were skipped'),
  normal: int('int', 'other pages'),
  'normal-bytes': int('int', 'bytes of other pages'),
  'dirty-pages-rate': int('int', 'pages dirtied in a second'),
  mbps: num('megabits in a second'),
  'dirty-sync-count': int('int', 'times that dirty pages were collected'),
  'postcopy-requests': int('int', 'pages that the other side asked for'),
  'page-size': int('int', 'bytes of a page'),
  'multifd-bytes': int('uint64', 'bytes sent over several channels'),
  'pages-per-second': int('uint64', 'pages sent in a second'),
  'precopy-bytes': int('uint64', 'bytes sent while the guest ran'),
  'downtime-bytes': int('uint64', 'bytes sent while it did not'),
  'postcopy-bytes': int('uint64', 'bytes sent after it moved'),
  'dirty-sync-missed-zero-copy': int('uint64', 'times that zero copy fell back'),
});
export const XBZRLECacheStats = object('XBZRLECacheStats', {
  'cache-size': int('size', 'bytes of the cache'),
  bytes: int('int', 'bytes sent'),
  pages: int('int', 'pages sent'),
  'cache-miss': int('int', 'pages that were not in the cache'),
  'cache-miss-rate': num('share of them'),
  'encoding-rate': num('how well pages are encoded'),
  overflow: int('int', 'pages that did not fit'),
});
export const CompressionStats = object('CompressionStats', {
  pages: int('int', 'pages compressed'),
  busy: int('int', 'times that no thread was free'),
  'busy-rate': num('rate of them'),
  'compressed-size': int('int', 'bytes after compression'),
  'compression-rate': num('ratio of the sizes'),
});
export const VfioStats = object('VfioStats', { transferred });
export const MigrationInfo = object('MigrationInfo', {
  status: opt(MigrationStatus),
  ram: opt(MigrationStats),
  disk: opt(MigrationStats),
  vfio: opt(VfioStats),
  'xbzrle-cache': opt(XBZRLECacheStats),
  'total-time': opt(int('int', 'milliseconds since the start')),
  'expected-downtime': opt(int('int', 'milliseconds')),
  downtime: opt(int('int', 'milliseconds')),
  'setup-time': opt(int('int', 'milliseconds')),
  'cpu-throttle-percentage': opt(int('int', 'percent')),
  'error-desc': opt(str('why it failed')),
  'blocked-reasons': opt(arr(str('a reason'), 'what forbids migration')),
  'postcopy-blocktime': opt(int('uint32', 'milliseconds that all CPUs waited')),
  'postcopy-vcpu-blocktime': opt(arr(int('uint32', 'milliseconds'), 'the wait of each CPU')),
  compression: opt(CompressionStats),
  'socket-address': opt(arr(SocketAddress, 'where the other side is listened for')),
});
export const queryMigrate = command('query-migrate', {
  doc: 'Report on migration. Empty: none was ever started.',
  since: '0.1',
  returns: MigrationInfo,
});
export const migrateCancel = command('migrate_cancel', {
  doc: 'Cancel a migration; no effect when there is none. Refused once the destination was told to run, or all was written to a file or a pipe.',
  since: '0.1',
});
const uri = str(
  'unix:PATH, tcp:HOST:PORT on loopback, file:PATH, fd:NAME of a descriptor of getfd, or fd:NUMBER of an inherited one',
);
export const migrate = command('migrate', {
  doc: 'Send the machine elsewhere. Returns at once; query-migrate and events tell how it goes.',
  since: '0.1',
  args: {
    uri,
    blk: opt(bool('copy disks: there are none')),
    inc: opt(bool('copy what changed of disks: there are none')),
    detach: opt(bool('without effect: it is always in the background')),
    resume: opt(bool('go on with a paused migration, which there never is')),
  },
});
export const migrateIncoming = command('migrate-incoming', {
  doc: 'Wait for a machine. Of a daemon started with -incoming, or after an incoming migration failed.',
  since: '0.1',
  args: { uri },
});
export const migrateContinue = command('migrate-continue', {
  doc: 'Go on with a migration that waits, as capability pause-before-switchover makes it.',
  since: '0.1',
  args: { state: MigrationStatus },
});
export const migrateStartPostcopy = command('migrate-start-postcopy', {
  doc: 'Switch to postcopy, which there is not.',
  since: '0.1',
});
export const Migration = event('MIGRATION', {
  doc: 'A migration got into another status. With capability events only.',
  since: '0.1',
  data: { status: MigrationStatus },
});
export const MigrationPass = event('MIGRATION_PASS', {
  doc: 'The source begins to send what has changed since the pass before. With capability events only.',
  since: '0.1',
  data: { pass: int('int', 'number of the pass, from 1') },
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
  'What a migration may use. What qmemd does not have is refused by migrate.',
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

import { alternate, arr, bool, command, enumeration, int, nul, object, opt, str } from './lang.js';

/**
 * Parameters of migration. max-bandwidth and downtime-limit are used; others are stored and reported.
 *
 * @see reference/clients.md §2.6 save
 */

export const StrOrNull = alternate(
  'StrOrNull',
  { s: str('the text'), n: nul('no text') },
  'Text; null stands for the empty one.',
);
export const MultiFDCompression = enumeration(
  'MultiFDCompression',
  ['none', 'zlib', 'zstd'],
  'How several channels compress.',
);
export const BitmapMigrationBitmapAliasTransform = object('BitmapMigrationBitmapAliasTransform', {
  persistent: opt(bool('whether the bitmap is persistent at its destination')),
});
export const BitmapMigrationBitmapAlias = object('BitmapMigrationBitmapAlias', {
  name: str('name of the bitmap'),
  alias: str('name of the bitmap on the way'),
  transform: opt(BitmapMigrationBitmapAliasTransform),
});
export const BitmapMigrationNodeAlias = object('BitmapMigrationNodeAlias', {
  'node-name': str('name of the block node'),
  alias: str('name of the node on the way'),
  bitmaps: arr(BitmapMigrationBitmapAlias, 'bitmaps of the node'),
});

const announcements = {
  'announce-initial': opt(int('size', 'milliseconds before the first announcement, to 100000')),
  'announce-max': opt(int('size', 'milliseconds between announcements at most, to 100000')),
  'announce-rounds': opt(int('size', 'announcements, to 1000')),
  'announce-step': opt(int('size', 'milliseconds that the pause grows by, 1 to 10000')),
};
const compression = {
  'compress-level': opt(int('uint8', '0 to 9')),
  'compress-threads': opt(int('uint8', '1 to 255')),
  'compress-wait-thread': opt(bool('wait for a free thread')),
  'decompress-threads': opt(int('uint8', '1 to 255')),
};
const throttling = {
  'throttle-trigger-threshold': opt(int('uint8', 'percent of dirty pages, 1 to 100')),
  'cpu-throttle-initial': opt(int('uint8', 'percent, 1 to 99')),
  'cpu-throttle-increment': opt(int('uint8', 'percent, 1 to 99')),
  'cpu-throttle-tailslow': opt(bool('throttle gently at the end')),
};
const transfer = {
  'max-bandwidth': opt(int('size', 'bytes in a second')),
  'downtime-limit': opt(int('uint64', 'milliseconds, to 2000000')),
  'x-checkpoint-delay': opt(
    int('uint32', 'milliseconds between checkpoints', { features: ['unstable'] }),
  ),
  'block-incremental': opt(bool('leave backing files out')),
  'multifd-channels': opt(int('uint8', '1 to 255')),
  'xbzrle-cache-size': opt(int('size', 'bytes, a power of two of 4096 at least')),
  'max-postcopy-bandwidth': opt(int('size', 'bytes in a second, 0: no bound')),
  'max-cpu-throttle': opt(int('uint8', 'percent, from cpu-throttle-initial to 99')),
  'multifd-compression': opt(MultiFDCompression),
  'multifd-zlib-level': opt(int('uint8', '0 to 9')),
  'multifd-zstd-level': opt(int('uint8', '0 to 20')),
  'block-bitmap-mapping': opt(arr(BitmapMigrationNodeAlias, 'names of bitmaps on the way')),
};

export const MigrationParameters = object('MigrationParameters', {
  ...announcements,
  ...compression,
  ...throttling,
  'tls-creds': opt(str('id of the credentials')),
  'tls-hostname': opt(str('name that the certificate is checked for')),
  'tls-authz': opt(str('id of the authorization object')),
  ...transfer,
});
export const queryMigrateParameters = command('query-migrate-parameters', {
  doc: 'List the parameters of migration.',
  since: '0.1',
  returns: MigrationParameters,
});
export const migrateSetParameters = command('migrate-set-parameters', {
  doc: 'Change parameters of migration: all that are given, or none when one is refused.',
  since: '0.1',
  args: {
    ...announcements,
    ...compression,
    ...throttling,
    'tls-creds': opt(StrOrNull),
    'tls-hostname': opt(StrOrNull),
    'tls-authz': opt(StrOrNull),
    ...transfer,
  },
});

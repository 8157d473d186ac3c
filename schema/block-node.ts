import { ImageInfo } from './block-image.js';
import { arr, bool, enumeration, int, object, opt, str } from './lang.js';

/** Limits of throttling: names and what they bound. */
const THROTTLED = {
  bps: 'bytes in a second',
  bps_rd: 'bytes read in a second',
  bps_wr: 'bytes written in a second',
  iops: 'operations in a second',
  iops_rd: 'reads in a second',
  iops_wr: 'writes in a second',
} as const;
type Throttled = keyof typeof THROTTLED;

const throttled = <const N extends Throttled>(name: N) =>
  ({
    [name]: int('int', `${THROTTLED[name]}; 0 for no limit`),
    [`${name}_max`]: opt(int('int', `${THROTTLED[name]} in a burst`)),
    [`${name}_max_length`]: opt(int('int', 'seconds that a burst may last')),
  }) as const;

const BlockdevCacheInfo = object('BlockdevCacheInfo', {
  writeback: bool('whether writes are done before they are on the disk'),
  direct: bool('whether the cache of the host is passed by'),
  'no-flush': bool('whether flushes are ignored'),
});
const BlockDirtyInfo = object('BlockDirtyInfo', {
  name: opt(str('name of the bitmap')),
  count: int('int', 'bytes that are dirty'),
  granularity: int('uint32', 'bytes that one bit stands for'),
  recording: bool('whether writes are recorded'),
  busy: bool('whether an operation uses it'),
  persistent: bool('whether the image keeps it'),
  inconsistent: opt(bool('whether it was not stored cleanly')),
});

/** A node of the block layer and its image. */
export const BlockDeviceInfo = object('BlockDeviceInfo', {
  file: str('name of the file'),
  'node-name': opt(str('name of the node')),
  ro: bool('whether it is read-only'),
  drv: str('driver'),
  backing_file: opt(str('file behind it')),
  backing_file_depth: int('int', 'files behind it'),
  encrypted: bool('whether it is encrypted'),
  detect_zeroes: enumeration(
    'BlockdevDetectZeroesOptions',
    ['off', 'on', 'unmap'],
    'What becomes of writes of zeros.',
  ),
  ...throttled('bps'),
  ...throttled('bps_rd'),
  ...throttled('bps_wr'),
  ...throttled('iops'),
  ...throttled('iops_rd'),
  ...throttled('iops_wr'),
  iops_size: opt(int('int', 'bytes that count as one operation')),
  group: opt(str('throttle group')),
  image: ImageInfo,
  cache: BlockdevCacheInfo,
  write_threshold: int('int', 'byte above which a write is reported; 0 for none'),
  'dirty-bitmaps': opt(arr(BlockDirtyInfo, 'bitmaps of what was written')),
});

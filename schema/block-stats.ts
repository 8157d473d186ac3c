import {
  arr,
  bool,
  enumeration,
  int,
  lazy,
  num,
  object,
  opt,
  str,
  union,
  type Type,
} from './lang.js';

/** What `query-blockstats` would count, if there were a block device. */

const BlockDeviceTimedStats = object('BlockDeviceTimedStats', {
  interval_length: int('int', 'seconds that are looked at'),
  min_rd_latency_ns: int('int', 'shortest read, in nanoseconds'),
  max_rd_latency_ns: int('int', 'longest read, in nanoseconds'),
  avg_rd_latency_ns: int('int', 'mean of reads, in nanoseconds'),
  min_wr_latency_ns: int('int', 'shortest write, in nanoseconds'),
  max_wr_latency_ns: int('int', 'longest write, in nanoseconds'),
  avg_wr_latency_ns: int('int', 'mean of writes, in nanoseconds'),
  min_flush_latency_ns: int('int', 'shortest flush, in nanoseconds'),
  max_flush_latency_ns: int('int', 'longest flush, in nanoseconds'),
  avg_flush_latency_ns: int('int', 'mean of flushes, in nanoseconds'),
  avg_rd_queue_depth: num('mean number of reads under way'),
  avg_wr_queue_depth: num('mean number of writes under way'),
});
const BlockLatencyHistogramInfo = object('BlockLatencyHistogramInfo', {
  boundaries: arr(int('uint64', 'nanoseconds'), 'where one bin ends and the next begins'),
  bins: arr(int('uint64', 'operations'), 'how many were in each bin'),
});
const BlockDeviceStats = object('BlockDeviceStats', {
  rd_bytes: int('int', 'bytes read'),
  wr_bytes: int('int', 'bytes written'),
  unmap_bytes: int('int', 'bytes unmapped'),
  rd_operations: int('int', 'reads'),
  wr_operations: int('int', 'writes'),
  flush_operations: int('int', 'flushes'),
  unmap_operations: int('int', 'unmaps'),
  rd_total_time_ns: int('int', 'nanoseconds spent on reads'),
  wr_total_time_ns: int('int', 'nanoseconds spent on writes'),
  flush_total_time_ns: int('int', 'nanoseconds spent on flushes'),
  unmap_total_time_ns: int('int', 'nanoseconds spent on unmaps'),
  wr_highest_offset: int('int', 'byte after the furthest write'),
  rd_merged: int('int', 'reads that were merged'),
  wr_merged: int('int', 'writes that were merged'),
  unmap_merged: int('int', 'unmaps that were merged'),
  idle_time_ns: opt(int('int', 'nanoseconds since the last operation')),
  failed_rd_operations: int('int', 'reads that failed'),
  failed_wr_operations: int('int', 'writes that failed'),
  failed_flush_operations: int('int', 'flushes that failed'),
  failed_unmap_operations: int('int', 'unmaps that failed'),
  invalid_rd_operations: int('int', 'reads that were refused'),
  invalid_wr_operations: int('int', 'writes that were refused'),
  invalid_flush_operations: int('int', 'flushes that were refused'),
  invalid_unmap_operations: int('int', 'unmaps that were refused'),
  account_invalid: bool('whether refused operations count as activity'),
  account_failed: bool('whether failed operations count for latencies'),
  timed_stats: arr(BlockDeviceTimedStats, 'statistics of intervals'),
  rd_latency_histogram: opt(BlockLatencyHistogramInfo),
  wr_latency_histogram: opt(BlockLatencyHistogramInfo),
  flush_latency_histogram: opt(BlockLatencyHistogramInfo),
});

const BlockdevDriver = enumeration(
  'BlockdevDriver',
  [
    ...(['blkdebug', 'blklogwrites', 'blkreplay', 'blkverify', 'bochs', 'cloop'] as const),
    ...(['compress', 'copy-before-write', 'copy-on-read', 'dmg', 'file'] as const),
    ...(['snapshot-access', 'ftp', 'ftps', 'gluster', 'host_cdrom', 'host_device'] as const),
    ...(['http', 'https', 'iscsi', 'luks', 'nbd', 'nfs', 'null-aio', 'null-co'] as const),
    ...(['nvme', 'parallels', 'preallocate', 'qcow', 'qcow2', 'qed', 'quorum'] as const),
    ...(['raw', 'rbd', 'replication', 'ssh', 'throttle', 'vdi', 'vhdx', 'vmdk'] as const),
    ...(['vpc', 'vvfat'] as const),
  ],
  'Driver of a block node.',
);
const BlockStatsSpecificFile = object('BlockStatsSpecificFile', {
  'discard-nb-ok': int('uint64', 'discards that worked'),
  'discard-nb-failed': int('uint64', 'discards that failed'),
  'discard-bytes-ok': int('uint64', 'bytes discarded'),
});
const BlockStatsSpecific = union('BlockStatsSpecific', {
  base: { driver: BlockdevDriver },
  discriminator: 'driver',
  branches: {
    file: BlockStatsSpecificFile,
    host_device: BlockStatsSpecificFile,
    nvme: object('BlockStatsSpecificNvme', {
      'completion-errors': int('uint64', 'commands that failed'),
      'aligned-accesses': int('uint64', 'accesses that were aligned'),
      'unaligned-accesses': int('uint64', 'accesses that were not'),
    }),
  },
});

const nodeAgain = lazy((): Type => BlockStats, 'another node');
/** Counters of a device or node, and of those below and behind it. */
export const BlockStats = object('BlockStats', {
  device: opt(str('name of the device')),
  qdev: opt(str('object path or id of the device')),
  'node-name': opt(str('name of the node')),
  stats: BlockDeviceStats,
  'driver-specific': opt(BlockStatsSpecific),
  parent: opt(nodeAgain),
  backing: opt(nodeAgain),
});

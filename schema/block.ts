import { JobStatus } from './absent.js';
import { BlockDeviceInfo } from './block-node.js';
import { BlockStats } from './block-stats.js';
import { arr, bool, command, enumeration, int, object, opt, str, union } from './lang.js';

/**
 * The block layer, of which there is only what clients ask before they know that there is none.
 *
 * @see reference/qmp-protocol.md §8.3, reference/clients.md §2.3 to §2.7
 */

const BlockDeviceIoStatus = enumeration(
  'BlockDeviceIoStatus',
  ['ok', 'failed', 'nospace'],
  'Whether input and output work.',
);
export const BlockInfo = object('BlockInfo', {
  device: str('name of the device'),
  qdev: opt(str('object path or id of the device')),
  type: str('kind of the device'),
  removable: bool('whether the medium can be changed'),
  locked: bool('whether the guest locked the medium'),
  inserted: opt(BlockDeviceInfo),
  tray_open: opt(bool('whether the tray is open')),
  'io-status': opt(BlockDeviceIoStatus),
});
export const queryBlock = command('query-block', {
  doc: 'List the block devices: there is no block layer.',
  since: '0.1',
  allowPreconfig: true,
  returns: arr(BlockInfo, 'always empty'),
});
export const queryBlockstats = command('query-blockstats', {
  doc: 'List statistics of the block devices, of which there are none.',
  since: '0.1',
  allowPreconfig: true,
  args: { 'query-nodes': opt(bool('ask for nodes instead of devices'), false) },
  returns: arr(BlockStats, 'always empty'),
});
export const queryNamedBlockNodes = command('query-named-block-nodes', {
  doc: 'List the named block nodes, of which there are none.',
  since: '0.1',
  allowPreconfig: true,
  args: { flat: opt(bool('leave backing nodes out'), false) },
  returns: arr(BlockDeviceInfo, 'always empty'),
});

export const BlockJobInfo = object('BlockJobInfo', {
  type: str('kind of the job'),
  device: str('id of the job'),
  len: int('int', 'work there is'),
  offset: int('int', 'work done'),
  busy: bool('whether it works'),
  paused: bool('whether it was paused'),
  speed: int('int', 'bytes in a second at most'),
  'io-status': BlockDeviceIoStatus,
  ready: bool('whether it can be completed'),
  status: JobStatus,
  'auto-finalize': bool('whether it finalizes by itself'),
  'auto-dismiss': bool('whether it goes by itself'),
  error: opt(str('why it failed')),
});
export const queryBlockJobs = command('query-block-jobs', {
  doc: 'List the jobs of block devices, of which there are none.',
  since: '0.1',
  allowPreconfig: true,
  returns: arr(BlockJobInfo, 'always empty'),
});

const TransactionAction = union('TransactionAction', {
  base: { type: enumeration('TransactionActionKind', ['abort'], 'what is done') },
  discriminator: 'type',
  branches: {
    abort: object('AbortWrapper', { data: object('Abort', {}) }),
  },
});
const TransactionProperties = object('TransactionProperties', {
  'completion-mode': opt(
    enumeration(
      'ActionCompletionMode',
      ['individual', 'grouped'],
      'whether jobs end one by one: there are none',
    ),
  ),
});
export const transaction = command('transaction', {
  doc: 'Do all of the actions or none. Those of QEMU are about disks, but for `abort`, which fails.',
  since: '0.1',
  args: {
    actions: arr(TransactionAction, 'the actions'),
    properties: opt(TransactionProperties),
  },
});

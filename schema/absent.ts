import { arr, bool, command, enumeration, int, object, opt, str } from './lang.js';

/**
 * Parts of QEMU that are not modelled: block devices, jobs, displays, network, balloon, TPM. Clients
 * ask for them all the same, and are told that there are none.
 *
 * @see reference/qmp-protocol.md §8.3, reference/clients.md §2.3 to §2.7
 */

const BlockDeviceIoStatus = enumeration(
  'BlockDeviceIoStatus',
  ['ok', 'failed', 'nospace'],
  'Whether input and output work.',
);
const block = {
  device: str('name of the device'),
  qdev: opt(str('object path or id of the device')),
  type: str('kind of the device'),
  removable: bool('whether the medium can be changed'),
  locked: bool('whether the guest locked the medium'),
  tray_open: opt(bool('whether the tray is open')),
  'io-status': opt(BlockDeviceIoStatus),
};
export const BlockInfo = object('BlockInfo', block);
export const queryBlock = command('query-block', {
  doc: 'List the block devices: there is no block layer.',
  since: '0.1',
  allowPreconfig: true,
  returns: arr(BlockInfo, 'always empty'),
});
export const BlockStats = object('BlockStats', {
  device: opt(str('name of the device')),
  qdev: opt(str('object path or id of the device')),
  'node-name': opt(str('name of the node')),
});
export const queryBlockstats = command('query-blockstats', {
  doc: 'List statistics of the block devices, of which there are none.',
  since: '0.1',
  allowPreconfig: true,
  args: { 'query-nodes': opt(bool('ask for nodes instead of devices'), false) },
  returns: arr(BlockStats, 'always empty'),
});
export const BlockDeviceInfo = object('BlockDeviceInfo', {
  file: str('name of the file'),
  'node-name': opt(str('name of the node')),
  ro: bool('whether it is read-only'),
  drv: str('driver'),
});
export const queryNamedBlockNodes = command('query-named-block-nodes', {
  doc: 'List the named block nodes, of which there are none.',
  since: '0.1',
  allowPreconfig: true,
  args: { flat: opt(bool('leave backing nodes out'), false) },
  returns: arr(BlockDeviceInfo, 'always empty'),
});

export const JobType = enumeration(
  'JobType',
  [
    'commit',
    'stream',
    'mirror',
    'backup',
    'create',
    'amend',
    'snapshot-load',
    'snapshot-save',
    'snapshot-delete',
  ],
  'Kind of a background job.',
);
export const JobStatus = enumeration(
  'JobStatus',
  [
    'undefined',
    'created',
    'running',
    'paused',
    'ready',
    'standby',
    'waiting',
    'pending',
    'aborting',
    'concluded',
    'null',
  ],
  'How far a job is.',
);
export const JobInfo = object('JobInfo', {
  id: str('id of the job'),
  type: JobType,
  status: JobStatus,
  'current-progress': int('int', 'work done'),
  'total-progress': int('int', 'work there is'),
  error: opt(str('why it failed')),
});
export const queryJobs = command('query-jobs', {
  doc: 'List the background jobs: nothing starts any.',
  since: '0.1',
  returns: arr(JobInfo, 'always empty'),
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
const jobCommand = <const N extends string>(name: N, verb: string) =>
  command(name, {
    doc: `${verb} a job. Always refused: there is none.`,
    since: '0.1',
    args: { id: str('id of the job') },
  });
export const jobPause = jobCommand('job-pause', 'Pause');
export const jobResume = jobCommand('job-resume', 'Resume');
export const jobCancel = jobCommand('job-cancel', 'Cancel');
export const jobComplete = jobCommand('job-complete', 'Complete');
export const jobDismiss = jobCommand('job-dismiss', 'Remove');
export const jobFinalize = jobCommand('job-finalize', 'Finalize');

export const BalloonInfo = object('BalloonInfo', { actual: int('int', 'bytes the guest has') });
export const queryBalloon = command('query-balloon', {
  doc: 'Report the size of the balloon. Refused: there is none.',
  since: '0.1',
  returns: BalloonInfo,
});
export const balloon = command('balloon', {
  doc: 'Set the size of the balloon. Refused: there is none.',
  since: '0.1',
  args: { value: int('int', 'bytes the guest is to have') },
});

export const VncInfo = object('VncInfo', {
  enabled: bool('whether there is a VNC server; always false'),
});
export const queryVnc = command('query-vnc', {
  doc: 'Report on the VNC server: there is none.',
  since: '0.1',
  returns: VncInfo,
});
export const MouseInfo = object('MouseInfo', {
  name: str('name of the mouse'),
  index: int('int', 'number of the mouse'),
  current: bool('whether it receives what is sent'),
  absolute: bool('whether it reports absolute positions'),
});
export const queryMice = command('query-mice', {
  doc: 'List the mice: there is none.',
  since: '0.1',
  returns: arr(MouseInfo, 'always empty'),
});
export const RxFilterInfo = object('RxFilterInfo', { name: str('name of the network card') });
export const queryRxFilter = command('query-rx-filter', {
  doc: 'List the filters of network cards. Refused for a named one: there is no network.',
  since: '0.1',
  args: { name: opt(str('name of the network card')) },
  returns: arr(RxFilterInfo, 'always empty'),
});
export const TpmModel = enumeration(
  'TpmModel',
  ['tpm-tis', 'tpm-crb', 'tpm-spapr'],
  'Kind of TPM device.',
);
export const queryTpmModels = command('query-tpm-models', {
  doc: 'List the TPM devices: there is none.',
  since: '0.1',
  returns: arr(TpmModel, 'always empty'),
});
export const TpmType = enumeration('TpmType', ['passthrough', 'emulator'], 'Kind of TPM backend.');
export const queryTpmTypes = command('query-tpm-types', {
  doc: 'List the TPM backends: there is none.',
  since: '0.1',
  returns: arr(TpmType, 'always empty'),
});

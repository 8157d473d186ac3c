import { arr, bool, command, enumeration, int, object, opt, str } from './lang.js';

/**
 * Parts of QEMU that are not modelled: jobs, displays, network, balloon, TPM. Clients
 * ask for them all the same, and are told that there are none.
 *
 * @see reference/qmp-protocol.md §8.3, reference/clients.md §2.3 to §2.7
 */

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

const VncAddressFamily = enumeration(
  'NetworkAddressFamily',
  ['ipv4', 'ipv6', 'unix', 'vsock', 'unknown'],
  'Kind of an address.',
);
export const VncInfo = object('VncInfo', {
  enabled: bool('whether there is a VNC server; always false'),
  host: opt(str('address it listens on')),
  family: opt(VncAddressFamily),
  service: opt(str('port it listens on')),
  auth: opt(str('how clients authenticate')),
  clients: opt(
    arr(
      object('VncClientInfo', {
        host: str('address of the client'),
        service: str('port of the client'),
        family: VncAddressFamily,
        websocket: bool('whether it came over WebSocket'),
        x509_dname: opt(str('name in its certificate')),
        sasl_username: opt(str('name it logged in with')),
      }),
      'its clients',
    ),
  ),
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
const RxState = enumeration('RxState', ['normal', 'none', 'all'], 'What is let in.');
export const RxFilterInfo = object('RxFilterInfo', {
  name: str('name of the network card'),
  promiscuous: bool('whether everything is let in'),
  multicast: RxState,
  unicast: RxState,
  vlan: RxState,
  'broadcast-allowed': bool('whether broadcasts are let in'),
  'multicast-overflow': bool('whether the multicast table is full'),
  'unicast-overflow': bool('whether the unicast table is full'),
  'main-mac': str('address of the card'),
  'vlan-table': arr(int('int', 'a VLAN'), 'the VLANs'),
  'unicast-table': arr(str('an address'), 'further addresses of the card'),
  'multicast-table': arr(str('an address'), 'multicast addresses'),
});
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

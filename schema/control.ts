import { arr, bool, command, enumeration, event, int, object, opt, str, union } from './lang.js';
import { SchemaInfo } from './schema-info.js';

/**
 * The session, the machine as a whole and its run state.
 *
 * @see reference/qmp-protocol.md §8.1, §8.2
 */

export const QMPCapability = enumeration(
  'QMPCapability',
  ['oob'],
  'Capability of a session; oob allows requests out of band.',
);
export const qmpCapabilities = command('qmp_capabilities', {
  doc: 'End negotiation and enter command mode. The only command until it has succeeded.',
  since: '0.1',
  allowPreconfig: true,
  args: { enable: opt(arr(QMPCapability, 'capabilities to enable'), []) },
});

export const VersionTriple = object(
  'VersionTriple',
  {
    major: int('int', 'major version'),
    minor: int('int', 'minor version'),
    micro: int('int', 'micro version'),
  },
  'QMP level that we are compatible with.',
);
export const VersionInfo = object('VersionInfo', {
  qemu: VersionTriple,
  package: str('name and version of this program'),
});
export const queryVersion = command('query-version', {
  doc: 'Report the compatible QMP level and the version of this program.',
  since: '0.1',
  allowPreconfig: true,
  returns: VersionInfo,
});

export const NameInfo = object('NameInfo', { name: opt(str('name given by -name')) });
export const queryName = command('query-name', {
  doc: 'Report the name of the machine.',
  since: '0.1',
  allowPreconfig: true,
  returns: NameInfo,
});

export const UuidInfo = object('UuidInfo', { UUID: str('UUID given by -uuid, else all zero') });
export const queryUuid = command('query-uuid', {
  doc: 'Report the UUID of the machine.',
  since: '0.1',
  allowPreconfig: true,
  returns: UuidInfo,
});

export const RunState = enumeration(
  'RunState',
  [
    'debug',
    'inmigrate',
    'internal-error',
    'io-error',
    'paused',
    'postmigrate',
    'prelaunch',
    'finish-migrate',
    'restore-vm',
    'running',
    'save-vm',
    'shutdown',
    'suspended',
    'watchdog',
    'guest-panicked',
    'colo',
  ],
  'State of the machine; prelaunch until the first cont after -S, paused after stop.',
);
export const StatusInfo = object('StatusInfo', {
  running: bool('whether the virtual clock runs'),
  status: RunState,
});
export const queryStatus = command('query-status', {
  doc: 'Report whether the machine runs.',
  since: '0.1',
  allowPreconfig: true,
  returns: StatusInfo,
});

export const KvmInfo = object('KvmInfo', {
  enabled: bool('whether KVM is in use; always false'),
  present: bool('whether KVM is available; always false'),
});
export const queryKvm = command('query-kvm', {
  doc: 'Report the state of KVM, which this program never uses.',
  since: '0.1',
  returns: KvmInfo,
});

export const SysEmuTarget = enumeration(
  'SysEmuTarget',
  ['x86_64'],
  'Architecture of the platforms that are modelled.',
);
export const TargetInfo = object('TargetInfo', { arch: SysEmuTarget });
export const queryTarget = command('query-target', {
  doc: 'Report the architecture of the platform.',
  since: '0.1',
  returns: TargetInfo,
});

export const CommandInfo = object('CommandInfo', { name: str('name of the command') });
export const queryCommands = command('query-commands', {
  doc: 'List the commands of this server.',
  since: '0.1',
  allowPreconfig: true,
  returns: arr(CommandInfo, 'the commands, in no particular order'),
});

export const queryQmpSchema = command('query-qmp-schema', {
  doc: 'Describe all commands, events and types of this server. Type names are masked.',
  since: '0.1',
  allowPreconfig: true,
  returns: arr(SchemaInfo, 'the entities, in no particular order'),
});

export const stop = command('stop', {
  doc: 'Stop the machine and its clock; no effect when it is stopped.',
  since: '0.1',
});
export const cont = command('cont', {
  doc: 'Let the machine and its clock run; no effect when it runs.',
  since: '0.1',
});
export const systemReset = command('system_reset', {
  doc: 'Reset the machine. Completes pending unplug requests, as a reset guest does.',
  since: '0.1',
});
export const systemPowerdown = command('system_powerdown', {
  doc: 'Press the power button. Only a request: the guest side decides.',
  since: '0.1',
});
export const quit = command('quit', {
  doc: 'End the machine; the process exits when the last machine has gone.',
  since: '0.1',
  allowPreconfig: true,
});

export const NativeSupport = enumeration(
  'NativeSupport',
  ['full', 'none'],
  'Whether mapping memory and passing descriptors work.',
);
export const NativeInfo = object('NativeInfo', {
  native: NativeSupport,
  reason: opt(str('why there is no native layer; only with none')),
  features: arr(str('name'), 'what the native layer can do on this host'),
});
export const queryNative = command('query-native', {
  doc: 'Report what the optional native layer can do: mappings, descriptors, locks.',
  since: '0.1',
  features: ['qmemd'],
  returns: NativeInfo,
});

export const YankInstanceType = enumeration(
  'YankInstanceType',
  ['block-node', 'chardev', 'migration'],
  'Kind of connection that can be cut.',
);
export const YankInstance = union('YankInstance', {
  base: { type: YankInstanceType },
  discriminator: 'type',
  branches: {
    'block-node': object('YankInstanceBlockNode', { 'node-name': str('name of the node') }),
    chardev: object('YankInstanceChardev', { id: str('id of the character device') }),
  },
});
export const yank = command('yank', {
  doc: 'Cut connections that hang, as if their peers had gone: all of the instances, or none when one is not found.',
  since: '0.1',
  allowOob: true,
  args: { instances: arr(YankInstance, 'what has the connections') },
});
export const queryYank = command('query-yank', {
  doc: 'List what has connections that yank can cut: socket character devices, and a migration.',
  since: '0.1',
  allowOob: true,
  returns: arr(YankInstance, 'in order of their coming'),
});
export const migrateRecover = command('migrate-recover', {
  doc: 'Provide a new channel to a paused incoming migration.',
  since: '0.1',
  allowOob: true,
  args: { uri: str('where to listen') },
});
export const migratePause = command('migrate-pause', {
  doc: 'Pause a postcopy migration.',
  since: '0.1',
  allowOob: true,
});

export const ShutdownCause = enumeration(
  'ShutdownCause',
  [
    'none',
    'host-error',
    'host-qmp-quit',
    'host-qmp-system-reset',
    'host-signal',
    'host-ui',
    'guest-shutdown',
    'guest-reset',
    'guest-panic',
    'subsystem-reset',
    'snapshot-load',
  ],
  'Why the machine was reset or ends.',
);
const cause = {
  guest: bool('whether the guest side asked for it: causes from guest-shutdown on'),
  reason: ShutdownCause,
};
export const Shutdown = event('SHUTDOWN', {
  doc: 'The machine is about to end. Sent before the reply to quit.',
  since: '0.1',
  data: cause,
});
export const Powerdown = event('POWERDOWN', {
  doc: 'The power button was pressed. Sent before the reply to system_powerdown.',
  since: '0.1',
});
export const Reset = event('RESET', {
  doc: 'The machine was reset. Sent before the reply to system_reset.',
  since: '0.1',
  data: cause,
});
export const Stop = event('STOP', {
  doc: 'The machine has stopped. Sent before the reply to stop, on an actual transition only.',
  since: '0.1',
});
export const Resume = event('RESUME', {
  doc: 'The machine runs again. Sent before the reply to cont, on an actual transition only.',
  since: '0.1',
});

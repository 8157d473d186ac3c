import { SysEmuTarget } from './control.js';
import { arr, bool, command, enumeration, int, object, opt, str, union } from './lang.js';

/**
 * What a machine type brings along and what its guest would do: machine types, CPUs (there are
 * none), options of the command line, actions.
 *
 * @see reference/qmp-protocol.md §8.1, §8.3
 */

export const MachineInfo = object('MachineInfo', {
  name: str('name of the machine type'),
  alias: opt(str('its short name')),
  'is-default': opt(bool('present, and true, for the type taken without -machine')),
  'cpu-max': int('int', 'CPUs that a configuration may name at most; none of them exists'),
  'hotpluggable-cpus': bool('whether CPUs can be added; always false'),
  'numa-mem-supported': bool('whether -numa takes mem=; always false'),
  deprecated: bool('whether the type will go; always false'),
  'default-cpu-type': opt(str('CPU type taken without -cpu')),
  'default-ram-id': opt(str('id of the memory backend that the machine makes for itself')),
  acpi: bool('whether the type has ACPI'),
});
export const queryMachines = command('query-machines', {
  doc: 'List the machine types. All versions of a type are one and the same board.',
  since: '0.1',
  args: {
    'compat-props': opt(
      bool('accepted without effect: no version has any', { features: ['unstable'] }),
      false,
    ),
  },
  returns: arr(MachineInfo, 'the machine types'),
});

export const CurrentMachineParams = object('CurrentMachineParams', {
  'wakeup-suspend-support': bool('whether system_wakeup can work'),
});
export const queryCurrentMachine = command('query-current-machine', {
  doc: 'Report what this machine can do.',
  since: '0.1',
  returns: CurrentMachineParams,
});

export const CommandLineParameterType = enumeration(
  'CommandLineParameterType',
  ['string', 'boolean', 'number', 'size'],
  'Kind of value that a parameter takes.',
);
export const CommandLineParameterInfo = object('CommandLineParameterInfo', {
  name: str('name of the parameter'),
  type: CommandLineParameterType,
  help: opt(str('what it is for')),
  default: opt(str('value taken without it')),
});
export const CommandLineOptionInfo = object('CommandLineOptionInfo', {
  option: str('name of the option'),
  parameters: arr(CommandLineParameterInfo, 'its parameters; none when they are not fixed'),
});
export const queryCommandLineOptions = command('query-command-line-options', {
  doc: 'List the options of the command line that take parameters.',
  since: '0.1',
  allowPreconfig: true,
  args: { option: opt(str('only this option')) },
  returns: arr(CommandLineOptionInfo, 'the options'),
});

export const CpuInstanceProperties = object('CpuInstanceProperties', {
  'node-id': opt(int('int', 'NUMA node')),
  'socket-id': opt(int('int', 'socket')),
  'die-id': opt(int('int', 'die of the socket')),
  'cluster-id': opt(int('int', 'cluster of the die')),
  'core-id': opt(int('int', 'core of the cluster')),
  'thread-id': opt(int('int', 'thread of the core')),
});
export const CpuInfoFast = union('CpuInfoFast', {
  base: {
    'cpu-index': int('int', 'number of the CPU'),
    'qom-path': str('object path of the CPU'),
    'thread-id': int('int', 'thread of the host'),
    props: opt(CpuInstanceProperties),
    target: SysEmuTarget,
  },
  discriminator: 'target',
  branches: {},
  doc: 'A CPU.',
});
export const queryCpusFast = command('query-cpus-fast', {
  doc: 'List the CPUs: there is none.',
  since: '0.1',
  returns: arr(CpuInfoFast, 'always empty'),
});

export const HotpluggableCPU = object('HotpluggableCPU', {
  type: str('CPU type'),
  'vcpus-count': int('int', 'threads that come with it'),
  props: CpuInstanceProperties,
  'qom-path': opt(str('object path of the CPU, when there is one')),
});
export const queryHotpluggableCpus = command('query-hotpluggable-cpus', {
  doc: 'List where CPUs can be added. Refused: no machine type takes any.',
  since: '0.1',
  allowPreconfig: true,
  returns: arr(HotpluggableCPU, 'the places'),
});

export const IOThreadInfo = object('IOThreadInfo', {
  id: str('id of the object'),
  'thread-id': int('int', 'thread of the host'),
  'poll-max-ns': int('int', 'longest busy wait in nanoseconds'),
  'poll-grow': int('int', 'growth of the busy wait'),
  'poll-shrink': int('int', 'shrinking of the busy wait'),
  'aio-max-batch': int('int', 'requests in a batch'),
});
export const queryIothreads = command('query-iothreads', {
  doc: 'List the threads of iothread objects, which are kept without effect.',
  since: '0.1',
  allowPreconfig: true,
  returns: arr(IOThreadInfo, 'the iothread objects; the thread is that of the process'),
});

export const Accelerator = enumeration(
  'Accelerator',
  ['hvf', 'kvm', 'mshv', 'nvmm', 'qtest', 'tcg', 'whpx', 'xen'],
  'What could run a guest.',
);
export const AcceleratorInfo = object('AcceleratorInfo', {
  enabled: Accelerator,
  present: arr(Accelerator, 'what could be chosen'),
});
export const queryAccelerators = command('query-accelerators', {
  doc: 'Report what would run a guest. Always tcg: there is no guest.',
  since: '0.1',
  returns: AcceleratorInfo,
});

export const ACPISlotType = enumeration('ACPISlotType', ['DIMM', 'CPU'], 'Kind of ACPI slot.');
export const ACPIOSTInfo = object('ACPIOSTInfo', {
  device: opt(str('id of the device in the slot')),
  slot: str('number of the slot'),
  'slot-type': ACPISlotType,
  source: int('int', 'what the guest reported about'),
  status: int('int', 'what the guest reported'),
});
export const queryAcpiOspmStatus = command('query-acpi-ospm-status', {
  doc: 'List what the guest reported about its ACPI slots.',
  since: '0.1',
  returns: arr(ACPIOSTInfo, 'the slots'),
});

export const RebootAction = enumeration('RebootAction', ['reset', 'shutdown'], 'On a reset.');
export const ShutdownAction = enumeration(
  'ShutdownAction',
  ['poweroff', 'pause'],
  'On a shutdown other than quit.',
);
export const PanicAction = enumeration(
  'PanicAction',
  ['pause', 'shutdown', 'exit-failure', 'none'],
  'When the guest panics; never happens.',
);
export const WatchdogAction = enumeration(
  'WatchdogAction',
  ['reset', 'shutdown', 'poweroff', 'pause', 'debug', 'none', 'inject-nmi'],
  'When a watchdog fires; never happens.',
);
export const setAction = command('set-action', {
  doc: 'Choose what resets and shutdowns do.',
  since: '0.1',
  allowPreconfig: true,
  args: {
    reboot: opt(RebootAction),
    shutdown: opt(ShutdownAction),
    panic: opt(PanicAction),
    watchdog: opt(WatchdogAction),
  },
});
export const watchdogSetAction = command('watchdog-set-action', {
  doc: 'Choose what a watchdog does; there is none.',
  since: '0.1',
  args: { action: WatchdogAction },
});
export const injectNmi = command('inject-nmi', {
  doc: 'Interrupt the CPUs, of which there are none. Refused where the board has no interrupts.',
  since: '0.1',
});
export const systemWakeup = command('system_wakeup', {
  doc: 'Wake a suspended guest. Refused: no guest ever suspends.',
  since: '0.1',
});
export const rtcResetReinjection = command('rtc-reset-reinjection', {
  doc: 'Forget clock interrupts that the guest has missed. No effect.',
  since: '0.1',
});

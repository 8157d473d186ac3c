import type { CommandLineOptionInfo, CommandLineParameterInfo } from '../../schema/board.js';
import { refused } from '../../schema/error.js';
import type { Infer } from '../../schema/lang.js';

/**
 * The options that `query-command-line-options` tells of. Whoever adds an option with parameters
 * that a client may look for adds it here.
 *
 * @see reference/qmp-protocol.md §8.1
 */

type OptionInfo = Infer<typeof CommandLineOptionInfo>;
type ParameterInfo = Infer<typeof CommandLineParameterInfo>;

const all = (type: ParameterInfo['type'], ...names: readonly string[]): ParameterInfo[] =>
  names.map((name) => ({ name, type }));

const OPTIONS: Readonly<Record<string, readonly ParameterInfo[]>> = {
  machine: [
    ...all('string', 'type', 'guest-policy', 'memory-backend', 'firmware', 'append', 'initrd'),
    ...all('string', 'kernel', 'dumpdtb', 'kernel-irqchip', 'memory-encryption', 'smm', 'vmport'),
    ...all('boolean', 'cxl', 'dump-guest-core', 'graphics', 'hmat', 'mem-merge', 'nvdimm'),
    ...all('boolean', 'suppress-vmdesc', 'usb', 'acpi', 'hpet', 'pit', 'sata', 'smbus', 'i8042'),
    ...all('size', 'max-ram-below-4g', 'kvm-shadow-mem'),
  ],
  sandbox: [
    ...all('string', 'resourcecontrol', 'spawn', 'elevateprivileges', 'obsolete'),
    ...all('boolean', 'enable'),
  ],
  smbios: [],
  numa: [],
  name: [...all('boolean', 'debug-threads'), ...all('string', 'process', 'guest')],
  msg: all('boolean', 'guest-name', 'timestamp'),
  overcommit: all('boolean', 'cpu-pm', 'mem-lock'),
  object: [],
  'boot-opts': [
    ...all('boolean', 'strict'),
    ...all('number', 'reboot-timeout', 'splash-time'),
    ...all('string', 'splash'),
    ...all('boolean', 'menu'),
    ...all('string', 'once', 'order'),
  ],
  'smp-opts': all('number', 'maxcpus', 'threads', 'cores', 'clusters', 'dies', 'sockets', 'cpus'),
  memory: [...all('size', 'maxmem'), ...all('number', 'slots'), ...all('size', 'size')],
  accel: [],
  trace: all('string', 'file', 'events', 'enable'),
  mon: [...all('boolean', 'pretty'), ...all('string', 'chardev', 'mode')],
  global: all('string', 'value', 'property', 'driver'),
  rtc: all('string', 'driftfix', 'clock', 'base'),
  net: [],
  nic: [],
  netdev: [],
  device: [],
  chardev: [
    ...all('string', 'backend', 'path', 'host', 'port', 'fd'),
    ...all('boolean', 'server', 'wait', 'websocket', 'abstract', 'tight', 'ipv4', 'ipv6'),
    ...all('boolean', 'delay', 'nodelay', 'telnet', 'mux', 'logappend'),
    ...all('number', 'to', 'reconnect'),
    ...all('string', 'logfile'),
  ],
  drive: [],
};

/** @throws QmpError when there is no option of that name */
export const commandLineOptions = (name: string | undefined): OptionInfo[] => {
  const found = Object.entries(OPTIONS).filter(([option]) => name === undefined || option === name);
  if (found.length === 0) throw refused(`invalid option name: ${name ?? ''}`);
  return found.map(([option, parameters]) => ({ option, parameters: [...parameters] }));
};

import type { Machine } from '../machine/machine.js';
import { resolvePath, type QomObject } from '../machine/qom.js';
import { QMP_VERSION } from '../version.js';
import type { MonitorCommand } from './commands.js';
import { deviceTree } from './device-tree.js';
import { readFlags } from './flags.js';
import { memoryDevices, memorySize, numaNodes } from './memory-info.js';
import { memoryTree } from './memory-tree.js';
import { migrationInfos } from './migration.js';
import { pciList } from './pci-list.js';

const show = (
  name: string,
  help: string,
  run: (machine: Machine, argument: string) => string,
  argument?: 'optional',
): MonitorCommand => ({
  names: [name],
  parameters: argument === undefined ? '' : '[path]',
  help,
  ...(argument === undefined ? {} : { argument }),
  run,
});

const version = (): string => {
  const { qemu, package: name } = QMP_VERSION;
  return `${[qemu.major, qemu.minor, qemu.micro].join('.')}${name}\n`;
};

const status = ({ runState }: Machine): string => {
  if (runState.running) return 'VM status: running\n';
  const why = runState.status === 'paused' ? '' : ` (${runState.status})`;
  return `VM status: paused${why}\n`;
};

const memdevs = ({ objects }: Machine): string =>
  `${objects
    .memdevs()
    .map(({ id, size, merge, dump, prealloc, share, reserve, policy, 'host-nodes': nodes }) =>
      [
        `memory backend: ${id ?? ''}`,
        `  size:  ${String(size)}`,
        `  merge: ${String(merge)}`,
        `  dump: ${String(dump)}`,
        `  prealloc: ${String(prealloc)}`,
        `  share: ${String(share)}`,
        `  reserve: ${String(reserve ?? true)}`,
        `  policy: ${policy}`,
        `  host nodes: ${nodes.join(',')}`,
      ]
        .map((line) => `${line}\n`)
        .join(''),
    )
    .join('')}\n`;

/** An object and its children, by name. */
const tree = (object: QomObject, name: string, indent: number): string =>
  [
    `${' '.repeat(indent)}/${name} (${object.typeName})\n`,
    ...[...object.children]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([child, below]) => tree(below, child, indent + 2)),
  ].join('');

/** The subcommands of `info`. */
export const infoCommands: readonly MonitorCommand[] = [
  show('balloon', 'size of the balloon', () => 'Error: No balloon device has been activated\n'),
  show('block', 'block devices, of which there are none', () => ''),
  show('chardev', 'character devices and what they are connected to', ({ options }) =>
    options.chardevs
      .list()
      .map(({ id, backend }) => `${id}: filename=${backend.filename}\n`)
      .join(''),
  ),
  show('cpus', 'CPUs, of which there are none', () => ''),
  show('kvm', 'whether KVM runs the guest', () => 'kvm support: not compiled\n'),
  show('memdev', 'memory backends', memdevs),
  show('memory-devices', 'memory modules in the slots', memoryDevices),
  show('memory_size_summary', 'how much memory there is', memorySize),
  {
    names: ['mtree'],
    parameters: '[-f][-d][-o][-D]',
    help: 'regions of the address spaces (-f: what addresses reach; -d: nothing more; -o: owners; -D: disabled regions, too)',
    argument: 'optional',
    run: (machine, text) => memoryTree(machine, readFlags('fdoD', text)),
  },
  ...migrationInfos,
  show('numa', 'NUMA nodes', numaNodes),
  show('name', 'name of the machine', ({ options }) =>
    options.guestName === undefined ? '' : `${options.guestName}\n`,
  ),
  show('pci', 'PCI functions and their BARs', pciList),
  show(
    'qom-tree',
    'objects, from /machine or the given path on',
    ({ root }, path) => {
      const found = resolvePath(root, path === '' ? '/machine' : path);
      if (found.kind !== 'found') return `Path '${path}' could not be resolved.\n`;
      return tree(found.object, found.object.name, 0);
    },
    'optional',
  ),
  show('qtree', 'devices and the buses they are on', deviceTree),
  show('status', 'whether the machine runs', status),
  show(
    'uuid',
    'UUID of the machine',
    ({ options }) => `${options.uuid ?? '00000000-0000-0000-0000-000000000000'}\n`,
  ),
  show('version', 'version of the program', version),
];

import { arr, command, enumeration, int, object, opt, str, union } from './lang.js';

/**
 * What is possible only while a machine waits in `--preconfig`.
 *
 * @see reference/qmp-protocol.md §8.1
 */

export const exitPreconfig = command('x-exit-preconfig', {
  doc: 'Create the machine of --preconfig: board, then devices.',
  since: '0.1',
  features: ['unstable'],
  allowPreconfig: true,
});

export const NumaOptionsType = enumeration(
  'NumaOptionsType',
  ['node', 'dist', 'cpu'],
  'What to configure.',
);
export const NumaNodeOptions = object('NumaNodeOptions', {
  nodeid: opt(int('uint16', 'number of the node; default the count of nodes so far')),
  cpus: opt(arr(int('uint16', ''), 'CPUs of the node')),
  mem: opt(int('size', 'memory of the node, in bytes')),
  memdev: opt(str('memory backend of the node')),
  initiator: opt(int('uint16', 'node with the nearest CPU; not supported')),
});
export const NumaDistOptions = object('NumaDistOptions', {
  src: int('uint16', 'source node'),
  dst: int('uint16', 'destination node'),
  val: int('uint8', 'distance, from 10; 255 is unreachable'),
});
export const NumaCpuOptions = object('NumaCpuOptions', {
  'node-id': opt(int('int', 'node')),
  'socket-id': opt(int('int', 'socket of the CPU')),
  'core-id': opt(int('int', 'core of the CPU')),
  'thread-id': opt(int('int', 'thread of the CPU')),
});
export const setNumaNode = command('set-numa-node', {
  doc: 'Add a NUMA node, a distance or a CPU. Checked as QEMU does; no guest sees it.',
  since: '0.1',
  allowPreconfig: true,
  args: union('NumaOptions', {
    base: { type: NumaOptionsType },
    discriminator: 'type',
    branches: { node: NumaNodeOptions, dist: NumaDistOptions, cpu: NumaCpuOptions },
  }),
});

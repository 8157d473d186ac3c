import { describeMemoryDevices, memoryOverview } from '../commands/memory.js';
import type { Machine } from '../machine/machine.js';

/** `info memory-devices`, `info memory_size_summary`, `info numa`, in the layout of QEMU. */

type Shown = ReturnType<typeof describeMemoryDevices>[number];
const hex = (value: bigint): string => `0x${value.toString(16)}`;

const describe = (shown: Shown): string[] => {
  if (shown.type === 'virtio-mem') {
    const { data } = shown;
    return [
      `  memaddr: ${hex(data.memaddr)}`,
      `  node: ${String(data.node)}`,
      `  requested-size: ${String(data['requested-size'])}`,
      `  size: ${String(data.size)}`,
      `  max-size: ${String(data['max-size'])}`,
      `  block-size: ${String(data['block-size'])}`,
      `  memdev: ${data.memdev}`,
    ];
  }
  const { data } = shown;
  return [
    `  addr: ${hex(data.addr)}`,
    `  slot: ${String(data.slot)}`,
    `  node: ${String(data.node)}`,
    `  size: ${String(data.size)}`,
    `  memdev: ${data.memdev}`,
    `  hotplugged: ${String(data.hotplugged)}`,
    `  hotpluggable: ${String(data.hotpluggable)}`,
  ];
};

export const memoryDevices = (machine: Machine): string =>
  describeMemoryDevices(machine)
    .flatMap((shown) => [
      `Memory device [${shown.type}]: "${shown.data.id ?? ''}"\n`,
      ...describe(shown).map((line) => `${line}\n`),
    ])
    .join('');

export const memorySize = (machine: Machine): string => {
  const { 'base-memory': base, 'plugged-memory': plugged } = memoryOverview(machine);
  const rest = plugged === undefined ? '' : `plugged memory: ${String(plugged)}\n`;
  return `base memory: ${String(base)}\n${rest}`;
};

const inMiB = (bytes: bigint): string => `${String(bytes >> 20n)} MB`;

/** As QEMU: the size of a node includes what is plugged into it. */
export const numaNodes = ({ memorySlots, numa, objects, options }: Machine): string => {
  const { nodes: count } = memorySlots;
  const own = new Map(numa.nodes.map(({ id, memdev }) => [id, memdev]));
  const shared = [...own.values()].every((memdev) => memdev === undefined);
  const sizeOf = (id: number): bigint => {
    const memdev = own.get(id);
    if (memdev !== undefined) return objects.backendSize(memdev);
    return shared && id === 0 ? options.ramSize : 0n;
  };
  const lines = [`${String(count)} nodes\n`];
  for (let id = 0; id < count; id++) {
    const plugged = memorySlots.devices
      .filter(({ device }) => device.memoryDevice.node === id)
      .reduce((sum, { size }) => sum + size, 0n);
    lines.push(
      `node ${String(id)} cpus:\n`,
      `node ${String(id)} size: ${inMiB(sizeOf(id) + plugged)}\n`,
      `node ${String(id)} plugged: ${inMiB(plugged)}\n`,
    );
  }
  return lines.join('');
};

import type { MemoryModulePart, ResizableMemoryPart } from '../../devices/core/memory-device.js';
import { flushMemory } from '../machine/flush.js';
import type { Machine } from '../machine/machine.js';
import type { Handlers, Infer } from '../../schema/lang.js';
import type * as memory from '../../schema/memory.js';
import type { CommandContext } from './context.js';

/** A memory device as `query-memory-devices` shows it. */
type MemoryDeviceShown =
  | {
      readonly type: 'dimm' | 'nvdimm';
      readonly data: Infer<typeof memory.PCDIMMDeviceInfo>;
    }
  | { readonly type: 'virtio-mem'; readonly data: Infer<typeof memory.VirtioMEMDeviceInfo> };

const moduleInfo = (
  machine: Machine,
  { kind, id, addr, slot, node, findMemdev }: MemoryModulePart,
  size: bigint,
): MemoryDeviceShown => {
  const entry = [...machine.devices.entries].find(
    (e) => e.memory?.memoryDevice.findMemdev === findMemdev,
  );
  const data = {
    ...(id === undefined ? {} : { id }),
    addr,
    size,
    slot: BigInt(slot),
    node: BigInt(node),
    memdev: `/objects/${findMemdev().id}`,
    hotplugged: entry?.hotplugged ?? false,
    hotpluggable: true,
  };
  return { type: kind, data };
};

const resizableInfo = (part: ResizableMemoryPart): MemoryDeviceShown => {
  const { id, addr, node, blockSize } = part;
  const memdev = part.findMemdev();
  const data = {
    ...(id === undefined ? {} : { id }),
    memaddr: addr,
    'requested-size': part.requestedSize(),
    size: part.size(),
    'max-size': memdev.memory.size,
    'block-size': blockSize,
    node: BigInt(node),
    memdev: `/objects/${memdev.id}`,
  };
  return { type: 'virtio-mem', data };
};

/** The memory devices, by address. */
export const describeMemoryDevices = (machine: Machine): MemoryDeviceShown[] =>
  machine.memorySlots.devices.map(({ device: { memoryDevice: part }, size }) =>
    part.kind === 'virtio-mem' ? resizableInfo(part) : moduleInfo(machine, part, size),
  );

/** How much memory there is. */
export const memoryOverview = (machine: Machine): Infer<typeof memory.MemoryInfo> => ({
  'base-memory': machine.options.ramSize,
  'plugged-memory': machine.memorySlots.pluggedSize,
});

export const memoryHandlers = {
  'object-add': (options, { machine }) => machine.objects.add(options),
  'object-del': ({ id }, { machine }) => machine.objects.remove(id),
  'query-memdev': (_, { machine }) => machine.objects.memdevs(),
  'mem-flush': ({ id }, { machine }) => flushMemory(machine, id),
  'query-memory-size-summary': (_, { machine }) => memoryOverview(machine),
  'query-memory-devices': (_, { machine }) => describeMemoryDevices(machine),
} satisfies Handlers<typeof memory, CommandContext>;

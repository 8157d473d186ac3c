import type { MemoryDevicePart } from '../../devices/core/memory-device.js';
import { flushMemory } from '../machine/flush.js';
import type { Machine } from '../machine/machine.js';
import type { Handlers, Infer } from '../../schema/lang.js';
import type * as memory from '../../schema/memory.js';
import type { CommandContext } from './context.js';

/** A memory module as `query-memory-devices` shows it. */
interface MemoryModule {
  readonly type: 'dimm' | 'nvdimm';
  readonly data: Infer<typeof memory.PCDIMMDeviceInfo>;
}

const memoryDeviceInfo = (
  machine: Machine,
  { kind, id, addr, slot, node, findMemdev }: MemoryDevicePart,
  size: bigint,
): MemoryModule => {
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

/** The modules in the slots of the board, by address. */
export const describeMemoryDevices = (machine: Machine): MemoryModule[] =>
  machine.memorySlots.devices.map(({ device: { memoryDevice }, size }) =>
    memoryDeviceInfo(machine, memoryDevice, size),
  );

/** How much memory there is. */
export const memoryOverview = (machine: Machine): Infer<typeof memory.MemoryInfo> => ({
  'base-memory': machine.options.ramSize,
  'plugged-memory': machine.memorySlots.used,
});

export const memoryHandlers = {
  'object-add': (options, { machine }) => machine.objects.add(options),
  'object-del': ({ id }, { machine }) => machine.objects.remove(id),
  'query-memdev': (_, { machine }) => machine.objects.memdevs(),
  'mem-flush': ({ id }, { machine }) => flushMemory(machine, id),
  'query-memory-size-summary': (_, { machine }) => memoryOverview(machine),
  'query-memory-devices': (_, { machine }) => describeMemoryDevices(machine),
} satisfies Handlers<typeof memory, CommandContext>;

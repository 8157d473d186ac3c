import { queryPci } from '../../devices/pci/info.js';
import type { Handlers, Infer } from '../../schema/lang.js';
import type * as pci from '../../schema/pci.js';
import type { DeviceEntry } from '../machine/device-entry.js';
import type { CommandContext } from './context.js';

const interruptsOf = ({
  id,
  object,
  pci: device,
}: DeviceEntry): Infer<typeof pci.DeviceInterrupts>[] => {
  const sources = (device?.pci.interrupts() ?? []).map(({ kind, enabled, vectors }) => ({
    kind,
    enabled,
    vectors: vectors.map((one) => ({
      ...one,
      delivered: BigInt(one.delivered),
      dropped: BigInt(one.dropped),
    })),
  }));
  if (sources.length === 0) return [];
  const vectors = sources.flatMap((source) => source.vectors);
  return [
    {
      ...(id === undefined ? {} : { device: id }),
      path: object.path,
      delivered: vectors.reduce((sum, { delivered }) => sum + delivered, 0n),
      pending: vectors.filter(({ pending }) => pending).length,
      sources,
    },
  ];
};

export const pciHandlers = {
  'query-pci': (_, { machine }) => queryPci(machine.platform.roots),
  'query-interrupts': ({ id }, { machine }) => {
    const entries = id === undefined ? machine.devices.entries : [machine.devices.find(id)];
    return [...entries].flatMap(interruptsOf);
  },
} satisfies Handlers<typeof pci, CommandContext>;

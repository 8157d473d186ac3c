import { refused } from '../../schema/error.js';
import type { Handlers, Infer } from '../../schema/lang.js';
import type * as preconfig from '../../schema/preconfig.js';
import type { Machine } from '../machine/machine.js';
import type { CommandContext } from './context.js';

type Node = Infer<typeof preconfig.NumaNodeOptions>;
type Distance = Infer<typeof preconfig.NumaDistOptions>;
type Cpu = Infer<typeof preconfig.NumaCpuOptions>;

const exit = async (machine: Machine): Promise<void> => {
  const { preconfig } = machine;
  if (machine.ready || preconfig === undefined)
    throw refused('The command is permitted only before machine initialization');
  machine.numa.check();
  await preconfig();
};

const MIXED = 'numa configuration should use either mem= or memdev=,mixing both is not allowed';

/** Checks in QEMU's order. @throws QmpError; nothing is changed */
const addNode = (machine: Machine, { nodeid, cpus, mem, memdev, initiator }: Node): void => {
  const { numa } = machine;
  const id = numa.newId(nodeid);
  const [cpu] = cpus ?? [];
  if (cpu !== undefined)
    throw refused(`CPU index (${String(cpu)}) should be smaller than maxcpus (0)`);
  if (mem !== undefined) {
    const isMixed = memdev !== undefined || numa.nodes.some((node) => node.memdev !== undefined);
    if (isMixed) throw refused(MIXED);
    throw refused('Parameter -numa node,mem is not supported by this machine type');
  }
  if (memdev !== undefined) machine.objects.checkBackend(memdev);
  if (initiator !== undefined)
    throw refused(
      'ACPI Heterogeneous Memory Attribute Table (HMAT) is disabled, enable it with -machine hmat=on before using any of hmat specific options',
    );
  numa.addNode(id, memdev);
};

export const preconfigHandlers = {
  'x-exit-preconfig': (_, { machine }) => exit(machine),
  'set-numa-node': (options, { machine }) => {
    if (machine.ready)
      throw refused('The command is permitted only before the machine has been created');
    switch (options.type) {
      case 'node':
        return addNode(machine, options as Node);
      case 'dist': {
        const { src, dst, val } = options as Distance & typeof options;
        return machine.numa.setDistance(src, dst, val);
      }
      case 'cpu': {
        const { 'node-id': node } = options as Cpu;
        if (node === undefined) throw refused('Missing mandatory node-id property');
        return machine.numa.addCpu(node);
      }
    }
  },
} satisfies Handlers<typeof preconfig, CommandContext>;

import type { MachineReport } from '../machine-report.js';
import type { Machine } from './machine.js';

/** What a machine can tell of itself; devices of the board are left out. */
export const describeMachine = (
  machine: Machine,
): Omit<MachineReport, 'name' | 'clients' | 'events'> => {
  const { options, runState } = machine;
  const devices = [...machine.devices.entries]
    .filter(({ object }) => object.path.startsWith('/machine/peripheral'))
    .map(({ id, type, object, pci, hotplugged }) => ({
      id,
      type: type.name,
      path: object.path,
      bus: pci?.pci.bus?.name,
      hotplugged,
    }));
  return {
    uuid: options.uuid ?? '00000000-0000-0000-0000-000000000000',
    type: machine.platform.canonicalName,
    status: runState.status,
    running: runState.running,
    'guest-policy': machine.guestPolicy,
    memory: options.ramSize,
    devices,
    backends: machine.objects.memdevs(),
  };
};

import type * as board from '../../schema/board.js';
import { refused } from '../../schema/error.js';
import type { Handlers, Infer } from '../../schema/lang.js';
import { machineTypes } from '../machine/machine-types.js';
import type { Machine } from '../machine/machine.js';
import { commandLineOptions } from '../options/described.js';
import type { CommandContext } from './context.js';

/** As QEMU for an iothread whose object says nothing. */
const POLL_MAX_NS = 32768n;

/** What the guest said about each memory slot: nothing. Of an nvdimm, QEMU does not say where it is. */
const ospmStatus = ({ memorySlots, options }: Machine): Infer<typeof board.ACPIOSTInfo>[] => {
  if (options.kind === 'none') throw refused('command is not supported, missing ACPI device');
  return memorySlots.modules.map((module, slot) => ({
    ...(module?.kind === 'dimm' && module.id !== undefined && { device: module.id }),
    slot: String(slot),
    'slot-type': 'DIMM',
    source: 0n,
    status: 0n,
  }));
};

export const boardHandlers = {
  'query-machines': () => machineTypes(),
  'query-current-machine': ({}, { machine }) => ({
    'wakeup-suspend-support': machine.options.kind !== 'none',
  }),
  'query-command-line-options': ({ option }) => commandLineOptions(option),
  'query-cpus-fast': () => [],
  'query-hotpluggable-cpus': () => {
    throw refused('machine does not support hot-plugging CPUs');
  },
  'query-iothreads': (_, { machine }) =>
    machine.objects.iothreads().map(({ id, args }) => ({
      id,
      'thread-id': BigInt(process.pid),
      'poll-max-ns': args['poll-max-ns'] ?? POLL_MAX_NS,
      'poll-grow': args['poll-grow'] ?? 0n,
      'poll-shrink': args['poll-shrink'] ?? 0n,
      'aio-max-batch': args['aio-max-batch'] ?? 0n,
    })),
  'query-accelerators': (_, { machine }) => ({
    enabled: machine.clock.driver === 'client' ? 'qtest' : 'tcg',
    present: ['qtest', 'tcg'],
  }),
  'query-acpi-ospm-status': (_, { machine }) => ospmStatus(machine),
  'set-action': (actions, { machine }) => machine.setActions(actions),
  'watchdog-set-action': () => undefined,
  'inject-nmi': (_, { machine }) => {
    if (machine.options.kind === 'none')
      throw refused('this feature or command is not currently supported');
  },
  system_wakeup: (_, { machine }) => {
    throw refused(
      machine.options.kind === 'none'
        ? 'wake-up from suspend is not supported by this guest'
        : 'Unable to wake up: guest is not in suspended state',
    );
  },
  'rtc-reset-reinjection': () => undefined,
} satisfies Handlers<typeof board, CommandContext>;

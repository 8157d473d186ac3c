import { writeJson } from '../framing/writer.js';
import { checkStays, requestRemoval } from '../commands/qdev.js';
import { parseOpts } from '../options/keyval.js';
import { refused } from '../../schema/error.js';
import type { Machine } from '../machine/machine.js';
import { findForList, findObject } from '../machine/qom.js';
import type { TakeDescriptor } from '../migration/migration.js';
import { migrationCommands } from './migration.js';

/** A line of the human monitor that is understood. */
export interface MonitorCommand {
  /** The name, then shorter ones. */
  readonly names: readonly string[];
  /** What follows the name, for `help`. */
  readonly parameters: string;
  readonly help: string;
  /** Absent: nothing may follow. */
  readonly argument?: 'required' | 'optional';
  /**
   * @param take gives a descriptor that `getfd` named
   * @throws QmpError which is printed
   */
  run(machine: Machine, argument: string, take: TakeDescriptor): string | Promise<string>;
}

const simple = (
  names: readonly string[],
  help: string,
  run: (machine: Machine) => void,
): MonitorCommand => ({
  names,
  parameters: '',
  help,
  run: (machine) => {
    run(machine);
    return '';
  },
});

const deviceAdd = async (machine: Machine, text: string): Promise<string> => {
  const pairs = parseOpts(text, 'driver');
  const value = (name: string): string | undefined => pairs.findLast(([key]) => key === name)?.[1];
  const driver = value('driver');
  if (driver === undefined) throw refused(`Parameter 'driver' is missing`);
  checkStays(machine, 'device_add');
  await machine.devices.add({
    driver,
    id: value('id'),
    bus: value('bus'),
    settings: {
      form: 'text',
      values: pairs.filter(([name]) => !['driver', 'id', 'bus'].includes(name)),
    },
  });
  return '';
};

const qomList = ({ root }: Machine, path: string): string => {
  if (path === '') return '/\n';
  return findForList(root, path)
    .list()
    .map(({ name, type }) => `${name} (${type})\n`)
    .join('');
};

const qomGet = ({ root }: Machine, text: string): string => {
  const [path = '', property] = text.split(/\s+/);
  if (property === undefined)
    return 'qom-get: string expected\nTry "help qom-get" for more information\n';
  return `${writeJson(findObject(root, path).get(property))}\n`;
};

/** Everything but `help` and `info`. */
export const monitorCommands: readonly MonitorCommand[] = [
  simple(['cont', 'c'], 'let the machine run', ({ runState }) => runState.cont()),
  simple(['stop', 's'], 'stop the machine', ({ runState }) => runState.stop()),
  simple(['system_reset'], 'reset the machine', (machine) => machine.reset()),
  simple(['system_powerdown'], 'press the power button', (machine) => machine.powerdown()),
  simple(['quit', 'q'], 'end the machine', (machine) => machine.shutdown('host-qmp-quit')),
  {
    names: ['device_add'],
    parameters: 'driver[,prop=value][,...]',
    help: 'add a device, as -device does',
    argument: 'optional',
    run: deviceAdd,
  },
  {
    names: ['device_del'],
    parameters: 'device',
    help: 'ask the guest side to let go of a device',
    argument: 'required',
    run: (machine, id) => {
      checkStays(machine, 'device_del');
      requestRemoval(machine, id);
      return '';
    },
  },
  {
    names: ['object_del'],
    parameters: 'id',
    help: 'remove an object that nothing uses',
    argument: 'required',
    run: ({ objects }, id) => {
      objects.remove(id);
      return '';
    },
  },
  {
    names: ['qom-list'],
    parameters: '[path]',
    help: 'list the properties of an object',
    argument: 'optional',
    run: qomList,
  },
  {
    names: ['qom-get'],
    parameters: 'path property',
    help: 'print the value of a property',
    argument: 'required',
    run: qomGet,
  },
  ...migrationCommands,
];

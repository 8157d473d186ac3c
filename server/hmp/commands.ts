import { writeJson } from '../framing/writer.js';
import { checkStays, requestRemoval } from '../commands/qdev.js';
import { closeDescriptor, nameDescriptor } from '../commands/descriptors.js';
import { parseOpts, readBool } from '../options/keyval.js';
import { hasBadId, readJson, readObjectArguments } from '../options/objects.js';
import { parseCInteger, parseSize } from '../../devices/core/property.js';
import type { JsonValue } from '../../schema/json.js';
import { LineError, readFlags, wordsOf } from './flags.js';
import { refused } from '../../schema/error.js';
import type { Machine } from '../machine/machine.js';
import { findForList, findObject } from '../machine/qom.js';
import type { CommandClient } from '../session/target.js';
import { chardevCommands } from './chardevs.js';
import { migrationCommands } from './migration.js';

/** The session that a line came from. */
export type MonitorClient = Pick<CommandClient, 'descriptors' | 'takeDescriptor'>;

/** A line of the human monitor that is understood. */
export interface MonitorCommand {
  /** The name, then shorter ones. */
  readonly names: readonly string[];
  /** What follows the name, for `help`. */
  readonly parameters: string;
  readonly help: string;
  /** Absent: nothing may follow. */
  readonly argument?: 'required' | 'optional' | 'word' | 'optional-word';
  /**
   * @param client who sent the line
   * @throws QmpError which is printed
   */
  run(machine: Machine, argument: string, client: MonitorClient): string | Promise<string>;
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
  const [path = '', property = ''] = wordsOf(text, 2);
  return `${writeJson(findObject(root, path).get(property))}\n`;
};

const objectAdd = ({ objects }: Machine, text: string): string => {
  const args = readObjectArguments('object_add', text, 'size');
  if (hasBadId(args))
    throw refused(
      `Parameter 'id' expects an identifier\n` +
        `Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.`,
    );
  objects.addUnchecked(args);
  return '';
};

/** The value that a text stands for, by the type of the property. @throws CommandLineError, QmpError */
const fromText = (type: string, name: string, text: string): JsonValue => {
  if (type === 'bool') return readBool('qom-set', name, text);
  if (!/^(?:u?int(?:8|16|32|64)?(?:_t)?|size)$/.test(type)) return text;
  const value = parseCInteger(text) ?? parseSize(text);
  if (value === undefined) throw refused(`Parameter '${name}' expects uint64`);
  return value;
};

const qomSet = ({ root }: Machine, text: string): string => {
  const [, flags = '', rest = ''] = /^((?:-\S*\s*)*)(.*)$/s.exec(text) ?? [];
  const isJson = readFlags('j', flags).has('j');
  const [, path = '', name = '', value] = /^(\S+)\s+(\S+)\s+(.+)$/s.exec(rest) ?? [];
  if (value === undefined) throw new LineError('string expected');
  if (isJson) {
    const given = readJson('qom-set', value);
    findObject(root, path).set(name, given);
    return '';
  }
  const object = findObject(root, path);
  object.set(name, fromText(object.property(name)?.type ?? '', name, value));
  return '';
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
    argument: 'word',
    run: (machine, id) => {
      checkStays(machine, 'device_del');
      requestRemoval(machine, id);
      return '';
    },
  },
  {
    names: ['object_add'],
    parameters: '[qom-type=]type,id=str[,prop=value][,...]',
    help: 'make an object, as -object does',
    argument: 'required',
    run: objectAdd,
  },
  {
    names: ['object_del'],
    parameters: 'id',
    help: 'remove an object that nothing uses',
    argument: 'word',
    run: ({ objects }, id) => {
      objects.remove(id);
      return '';
    },
  },
  {
    names: ['qom-list'],
    parameters: '[path]',
    help: 'list the properties of an object',
    argument: 'optional-word',
    run: qomList,
  },
  {
    names: ['qom-get'],
    parameters: 'path property',
    help: 'print the value of a property',
    argument: 'required',
    run: qomGet,
  },
  {
    names: ['qom-set'],
    parameters: '[-j] path property value',
    help: 'set a property, with -j to a value in JSON',
    argument: 'required',
    run: qomSet,
  },
  {
    names: ['getfd'],
    parameters: 'name',
    help: 'name the descriptor that came with the line',
    argument: 'word',
    run: (_, name, client) => {
      nameDescriptor(client, name);
      return '';
    },
  },
  {
    names: ['closefd'],
    parameters: 'name',
    help: 'close a descriptor that getfd has named',
    argument: 'word',
    run: (_, name, client) => {
      closeDescriptor(client, name);
      return '';
    },
  },
  ...chardevCommands,
  ...migrationCommands,
];

import { backendProperties } from '../../devices/backends/properties.js';
import type { DeviceCategory, DeviceType } from '../../devices/core/device.js';
import { plainTypes, userDeviceTypes } from '../../devices/index.js';
import { QmpError } from '../../schema/error.js';
import type { Members, Type } from '../../schema/lang.js';
import { ObjectOptions, ObjectType } from '../../schema/memory.js';
import { writeJson } from '../framing/writer.js';
import { machineTypes } from '../machine/machine-types.js';
import { deviceProperties } from '../machine/type-properties.js';
import { TypeRegistry } from '../machine/type-registry.js';
import { commandLineOptions } from './described.js';
import type { HelpRequest } from './help-request.js';
import { CommandLineError } from './keyval.js';
import { BOARD_PROPERTIES, MACHINE_PROPERTIES, machineKind, SWITCHES, UNUSED } from './machine.js';
import { CHARDEV_BACKENDS } from './monitors.js';

/** What `help` as the value of an option prints, in QEMU's formats. Loaded on use. */

const COLUMN = 24;

const lines = (...texts: readonly string[]): string => `${texts.join('\n')}\n`;
const list = (title: string, names: readonly string[]): string =>
  lines(title, ...[...names].sort().map((name) => `  ${name}`));

interface Property {
  readonly name: string;
  readonly type: string;
  readonly description?: string;
  readonly 'default-value'?: unknown;
}

const propertyLine = (property: Property): string => {
  const { name, type, description = '', 'default-value': value } = property;
  const head = `  ${name}=<${type}>`;
  if (description === '' && value === undefined) return head;
  const dflt = value === undefined ? '' : ` (default: ${writeJson(value)})`;
  return `${head.padEnd(COLUMN)} - ${description}${dflt}`;
};
const options = (type: string, properties: readonly Property[]): string =>
  properties.length === 0
    ? lines(`There are no options for ${type}.`)
    : lines(`${type} options:`, ...properties.map(propertyLine).sort());

// Machines.

const DESCRIPTIONS = {
  none: 'empty machine',
  pc: 'Standard PC (i440FX + PIIX, 1996)',
  q35: 'Standard PC (Q35 + ICH9, 2009)',
} as const;

const machineLine = (name: string, remark = ''): string => {
  const kind = machineKind(name)?.kind ?? 'none';
  return `${name.padEnd(20)} ${DESCRIPTIONS[kind]}${remark}`;
};
const machineList = (): string =>
  lines(
    'Supported machines are:',
    ...machineTypes().flatMap(({ name, alias, 'is-default': isDefault }) => [
      ...(alias === undefined ? [] : [machineLine(alias, ` (alias of ${name})`)]),
      machineLine(name, isDefault === true ? ' (default)' : ''),
    ]),
  );

/** As QEMU: of a type that is not known, all are listed. */
const machineHelp = (type: string): string => {
  const machine = machineKind(type);
  if (machine === undefined) return machineList();
  const used = Object.entries(MACHINE_PROPERTIES)
    .filter(([name]) => name !== 'type')
    .filter(([name]) => machine.kind !== 'none' || !BOARD_PROPERTIES.includes(name))
    .map(([name, { type, doc }]) => ({ name, type, description: doc }));
  const unused = (type: string, names: readonly string[]): Property[] =>
    names.map((name) => ({ name, type, description: 'accepted without effect' }));
  return options(`${machine.canonical}-machine`, [
    ...used,
    ...unused('bool', SWITCHES),
    ...unused('string', UNUSED),
  ]);
};

// Devices.

const HEADINGS: Readonly<Record<DeviceCategory, string>> = {
  bridge: 'Controller/Bridge/Hub devices:',
  storage: 'Storage devices:',
  input: 'Input devices:',
  misc: 'Misc devices:',
  uncategorized: 'Uncategorized devices:',
};

const busOf = ({ interfaces, place }: DeviceType): string | undefined => {
  if (interfaces.length > 0) return 'PCI';
  return place === 'isa' ? 'ISA' : undefined;
};
const deviceLine = (type: DeviceType): string => {
  const bus = busOf(type);
  const { name, aliases = [], description } = type;
  return [
    `name ${writeJson(name)}`,
    ...(bus === undefined ? [] : [`bus ${bus}`]),
    ...aliases.map((alias) => `alias ${writeJson(alias)}`),
    ...(description === undefined ? [] : [`desc ${writeJson(description)}`]),
  ].join(', ');
};
const deviceList = (types: TypeRegistry): string =>
  Object.entries(HEADINGS)
    .map(([category, heading]) => {
      const found = types.creatables().filter((type) => (type.category ?? 'misc') === category);
      return lines(heading, ...found.map(deviceLine).sort());
    })
    .join('\n');

const deviceHelp = (origin: string, given: string): string => {
  const types = new TypeRegistry(userDeviceTypes, plainTypes);
  if (given === '') return deviceList(types);
  const name = types.resolve(given);
  try {
    return options(name, deviceProperties(types, name));
  } catch (error) {
    if (error instanceof QmpError) throw new CommandLineError(origin, error.message);
    throw error;
  }
};

// Objects.

const memberType = (type: Type): string => {
  if (type.kind === 'array') return memberType(type.item);
  if (type.kind === 'enum') return type.name;
  return type.kind === 'str' ? 'string' : type.kind;
};

const objectHelp = (origin: string, type: string): string => {
  const known = ObjectType.values.find((name) => name === type);
  if (type === '') return list('List of user creatable objects:', ObjectType.values);
  if (known === undefined)
    throw new CommandLineError(origin, `Parameter 'qom-type' does not accept value '${type}'`);
  const members: Members = ObjectOptions.branches[known].members;
  const qomTypes = new Map<string, string>();
  if (known.startsWith('memory-backend'))
    for (const { name, qomType } of backendProperties(known)) qomTypes.set(name, qomType);
  return options(
    known,
    Object.entries(members).map(([name, member]) => {
      const type = member.kind === 'opt' ? member.type : member;
      return { name, type: qomTypes.get(name) ?? memberType(type), description: type.doc };
    }),
  );
};

// Character devices and the rest.

const PARAMETER_TYPES = {
  string: 'str',
  boolean: 'bool (on/off)',
  number: 'num',
  size: 'size',
} as const;

const chardevHelp = (type: string): string => {
  // As QEMU: a space at the end.
  if (type === '')
    return (
      list('Available chardev backend types: ', CHARDEV_BACKENDS.used) +
      list('Taken as well, with nothing at the far side:', CHARDEV_BACKENDS.idle)
    );
  const parameters = commandLineOptions('chardev').flatMap((option) => option.parameters);
  return options(
    'chardev',
    parameters.map(({ name, type }) => ({ name, type: PARAMETER_TYPES[type] })),
  );
};

const accelerators = (): string => {
  const names = plainTypes.flatMap(({ name }) => /^(.+)-accel$/.exec(name)?.[1] ?? []);
  return lines('Accelerators supported in QEMU binary:', ...names);
};

/** @throws CommandLineError for a type that there is not */
export const optionHelp = ({ origin, option, type }: HelpRequest): string => {
  switch (option) {
    case 'machine':
      return machineHelp(type);
    case 'device':
      return deviceHelp(origin, type);
    case 'object':
      return objectHelp(origin, type);
    case 'chardev':
      return chardevHelp(type);
    case 'accel':
      return accelerators();
    case 'unused':
      return lines(`${origin}: qmemd takes this option without effect and has nothing of it`);
  }
};

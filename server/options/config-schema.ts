import { GuestPolicy } from '../../schema/guest-policy.js';
import { any, arr, bool, enumeration, object, opt, str, type Type } from '../../schema/lang.js';
import { LOG_LEVELS } from '../log.js';
import { LIMITS } from '../limits.js';

/** What a configuration file may say; docs/config.schema.json is printed from this. */

export const ConfigMonitor = object('ConfigMonitor', {
  path: str('UNIX socket to listen on for QMP'),
  pretty: opt(bool('indented output'), false),
});

export const ConfigQtest = object('ConfigQtest', {
  path: str('UNIX socket to listen on for the qtest protocol'),
  log: opt(str('file for what is received and sent, as the option -qtest-log')),
});

export const ConfigMachine = object('ConfigMachine', {
  name: str('letters, digits and ._-; part of the paths of HTTP and WebSocket'),
  machine: opt(str('as the option -machine: none, pc or q35, and its properties'), 'pc'),
  memory: opt(str('as the option -m, such as 128M or 4G'), '128M'),
  'guest-name': opt(str('what query-name answers; default the name')),
  uuid: opt(str('what query-uuid answers')),
  'guest-policy': opt(
    enumeration('ConfigGuestPolicy', GuestPolicy.values, 'How the guest side answers by itself.'),
    'manual',
  ),
  defaults: opt(bool('false leaves out VGA and network card, as -nodefaults'), true),
  paused: opt(bool('wait for cont, as -S'), false),
  incoming: opt(
    str(
      'the machine waits for a migration, as the option -incoming: defer, or where it comes from',
    ),
  ),
  globals: opt(arr(str('DRIVER.PROPERTY=VALUE'), 'defaults of properties, as -global')),
  objects: opt(arr(any('arguments of object-add'), 'objects, as object-add takes them')),
  devices: opt(arr(any('arguments of device_add'), 'devices, as device_add takes them')),
  qtest: opt(any('guest side by the qtest protocol; default none')),
  chardevs: opt(arr(str('BACKEND,id=ID and parameters'), 'character devices, as -chardev')),
  monitors: opt(
    arr(
      any('a ConfigMonitor, or a text as the option -qmp takes'),
      'QMP sockets; default none but WebSocket',
    ),
  ),
});

export const ConfigFile = object('ConfigFile', {
  listen: opt(str('HOST:PORT for HTTP and WebSocket, empty for none'), '127.0.0.1:7710'),
  'token-file': opt(str('as the option --token-file')),
  pidfile: opt(str('as the option -pidfile')),
  'log-level': opt(
    enumeration('ConfigLogLevel', LOG_LEVELS, 'Least level that is logged.'),
    'warn',
  ),
  limits: opt(any('limits by name, as the option --limit')),
  machines: arr(any('a ConfigMachine'), 'the machines, one at least'),
});

/** What `any` above stands for. */
const ELEMENTS: Readonly<Record<string, object>> = {
  machines: { $ref: '#/$defs/machine' },
  monitors: {
    anyOf: [
      { $ref: '#/$defs/monitor' },
      { type: 'string', description: 'as the option -qmp: unix:PATH or tcp:HOST:PORT and options' },
    ],
  },
  objects: { type: 'object', required: ['qom-type', 'id'] },
  devices: { type: 'object', required: ['driver'] },
};

const jsonType = (type: Type, name: string): Record<string, unknown> => {
  if (type.kind === 'bool') return { type: 'boolean' };
  if (type.kind === 'enum') return { enum: type.values };
  if (type.kind === 'any') return { $ref: `#/$defs/${name}` };
  if (type.kind !== 'array') return { type: 'string' };
  const items = ELEMENTS[name] ?? { ...jsonType(type.item, ''), description: type.item.doc };
  return { type: 'array', items };
};

type Described =
  typeof ConfigFile | typeof ConfigMachine | typeof ConfigMonitor | typeof ConfigQtest;

const jsonObject = (type: Described) => {
  const members = Object.entries(type.members);
  const properties = members.map(([name, member]) => {
    const of: Type = member.kind === 'opt' ? member.type : member;
    const dflt = member.kind === 'opt' && member.default !== undefined;
    const shape = { description: of.doc, ...jsonType(of, name) };
    return [name, dflt ? { ...shape, default: member.default } : shape] as const;
  });
  return {
    type: 'object',
    required: members.filter(([, { kind }]) => kind !== 'opt').map(([name]) => name),
    additionalProperties: false,
    properties: Object.fromEntries(properties),
  };
};

/** docs/config.schema.json. */
export const configJsonSchema = (): string => {
  const limits = Object.entries(LIMITS).map(
    ([name, { default: value, min, max, doc }]) =>
      [
        name,
        { type: 'integer', minimum: min, maximum: max, default: value, description: doc },
      ] as const,
  );
  const schema = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Configuration file of qmemd (--config)',
    ...jsonObject(ConfigFile),
    $defs: {
      machine: jsonObject(ConfigMachine),
      monitor: jsonObject(ConfigMonitor),
      qtest: jsonObject(ConfigQtest),
      limits: {
        type: 'object',
        additionalProperties: false,
        properties: Object.fromEntries(limits),
      },
    },
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
};

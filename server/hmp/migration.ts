import { parseSize } from '../../devices/core/property.js';
import { refused } from '../../schema/error.js';
import type { ArgsOf, Infer, Member, Type } from '../../schema/lang.js';
import {
  MigrationCapability,
  MigrationStatus,
  type MigrationInfo,
} from '../../schema/migration.js';
import { migrateSetParameters } from '../../schema/migration-parameters.js';
import type { SocketAddress } from '../../schema/socket-address.js';
import type { Machine } from '../machine/machine.js';
import type { MonitorClient, MonitorCommand } from './commands.js';
import { LineError, readFlags, wordsOf } from './flags.js';

/**
 * Migration on the human monitor, in the words of QEMU 7.2 without its list of "globals", which are
 * options of QEMU's own.
 */

type Info = Infer<typeof MigrationInfo>;
type Ram = NonNullable<Info['ram']>;
type Given = ArgsOf<typeof migrateSetParameters>;

const onOff = (value: boolean): string => (value ? 'on' : 'off');
const kbytes = (bytes: bigint): string => `${String(bytes >> 10n)} kbytes`;
const addressOf = (address: Infer<typeof SocketAddress>): string => {
  const { path, host, port } = address as { path?: string; host?: string; port?: string };
  return path === undefined ? `tcp:${host ?? ''}:${port ?? ''}` : `unix:${path}`;
};

const ramLines = (ram: Ram): string[] => [
  `transferred ram: ${kbytes(ram.transferred)}`,
  `throughput: ${ram.mbps.toFixed(2)} mbps`,
  `remaining ram: ${kbytes(ram.remaining)}`,
  `total ram: ${kbytes(ram.total)}`,
  `duplicate: ${String(ram.duplicate)} pages`,
  `skipped: ${String(ram.skipped)} pages`,
  `normal: ${String(ram.normal)} pages`,
  `normal bytes: ${kbytes(ram['normal-bytes'])}`,
  `dirty sync count: ${String(ram['dirty-sync-count'])}`,
  `page size: ${kbytes(ram['page-size'])}`,
  `multifd bytes: ${kbytes(ram['multifd-bytes'])}`,
  `pages-per-second: ${String(ram['pages-per-second'])}`,
  ...(ram['dirty-pages-rate'] > 0n
    ? [`dirty pages rate: ${String(ram['dirty-pages-rate'])} pages`]
    : []),
  ...(ram['precopy-bytes'] > 0n ? [`precopy ram: ${kbytes(ram['precopy-bytes'])}`] : []),
  ...(ram['downtime-bytes'] > 0n ? [`downtime ram: ${kbytes(ram['downtime-bytes'])}`] : []),
];

const statusLines = (info: Info): string[] => {
  const { status, 'error-desc': error } = info;
  if (status === undefined) return [];
  const time = (name: string, ms: bigint | undefined): string[] =>
    ms === undefined ? [] : [`${name}: ${String(ms)} ms`];
  return [
    `Migration status: ${status}${status === 'failed' && error !== undefined ? ` (${error})` : ''}`,
    ...time('total time', info['total-time'] ?? 0n),
    ...time('expected downtime', info['expected-downtime']),
    ...time('downtime', info.downtime),
    ...time('setup', info['setup-time']),
  ];
};

const progress = (info: Info): string => {
  const blocked = info['blocked-reasons'] ?? [];
  const addresses = info['socket-address'] ?? [];
  return [
    ...(blocked.length > 0 ? ['Outgoing migration blocked:'] : []),
    ...blocked.map((reason) => `  ${reason}`),
    ...statusLines(info),
    ...(info.ram === undefined ? [] : ramLines(info.ram)),
    ...(addresses.length > 0 ? ['socket address: ['] : []),
    ...addresses.map((address) => `\t${addressOf(address)}`),
    ...(addresses.length > 0 ? [']'] : []),
  ]
    .map((line) => `${line}\n`)
    .join('');
};

/** Parameters in the order of QEMU's list, with what stands around their values. */
const SHOWN: readonly (readonly [keyof Given, before?: string, after?: string])[] = [
  ['announce-initial', '', ' ms'],
  ['announce-max', '', ' ms'],
  ['announce-rounds'],
  ['announce-step', '', ' ms'],
  ['compress-level'],
  ['compress-threads'],
  ['compress-wait-thread'],
  ['decompress-threads'],
  ['throttle-trigger-threshold'],
  ['cpu-throttle-initial'],
  ['cpu-throttle-increment'],
  ['cpu-throttle-tailslow'],
  ['max-cpu-throttle'],
  ['tls-creds', "'", "'"],
  ['tls-hostname', "'", "'"],
  ['max-bandwidth', '', ' bytes/second'],
  ['downtime-limit', '', ' ms'],
  ['x-checkpoint-delay', '', ' ms'],
  ['block-incremental'],
  ['multifd-channels'],
  ['multifd-compression'],
  ['xbzrle-cache-size', '', ' bytes'],
  ['max-postcopy-bandwidth'],
  ['tls-authz', "'", "'"],
];
const parameters = ({ migration: { parameters: stored } }: Machine): string =>
  SHOWN.map(([name, before = '', after = '']) => {
    const value = stored.all[name];
    const text = typeof value === 'boolean' ? onOff(value) : String(value ?? '');
    return `${name}: ${before}${text}${after}\n`;
  }).join('');

/** The subcommands of `info` about migration. */
export const migrationInfos: readonly MonitorCommand[] = [
  {
    names: ['migrate'],
    parameters: '',
    help: 'how far a migration is',
    run: ({ migration }) => progress(migration.info()),
  },
  {
    names: ['migrate_capabilities'],
    parameters: '',
    help: 'capabilities of migration and whether they are on',
    run: ({ migration: { capabilities } }) =>
      capabilities
        .list()
        .map(({ capability, state }) => `${capability}: ${onOff(state)}\n`)
        .join(''),
  },
  {
    names: ['migrate_parameters'],
    parameters: '',
    help: 'parameters of migration',
    run: parameters,
  },
];

const badParameter = (name: string): Error => refused(`invalid parameter value: ${name}`);

const SIZE_SYNTAX =
  'a non-negative number below 2^64\nOptional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively.';
/** A plain number of MiB, as QEMU reads it here. */
const MIB_SHIFT = 20n;

const typeOf = (member: Member): Type => (member.kind === 'opt' ? member.type : member);

/** @throws QmpError in QEMU's words when `text` is no value of this parameter */
const valueOf = (name: string, text: string, type: Type): unknown => {
  const wrong = (expected: string): Error => refused(`Parameter '${name}' expects ${expected}`);
  if (name === 'max-bandwidth') {
    const size = parseSize(text, MIB_SHIFT);
    if (size === undefined) throw refused(`Invalid size ${text}`);
    return size;
  }
  if (type.kind === 'bool') {
    if (['on', 'yes', 'true', 'y'].includes(text)) return true;
    if (['off', 'no', 'false', 'n'].includes(text)) return false;
    throw wrong("'on' or 'off'");
  }
  if (type.kind === 'enum') {
    if (type.values.includes(text)) return text;
    throw refused(`Parameter '${name}' does not accept value '${text}'`);
  }
  if (type.kind !== 'int') return text;
  if (type.width === 'size' || type.width === 'uint64') {
    const size = parseSize(text);
    if (size === undefined) throw wrong(SIZE_SYNTAX);
    return size;
  }
  if (!/^(0x[0-9a-f]+|[0-9]+)$/i.test(text)) throw wrong('uint64');
  if (BigInt(text) >> BigInt(type.width.slice('uint'.length)) !== 0n)
    throw wrong(`${type.width}_t`);
  return Number(text);
};

const setParameter = ({ migration: { parameters: stored } }: Machine, line: string): string => {
  const [name = '', text = ''] = wordsOf(line, 2);
  const types: Readonly<Record<string, Member>> = migrateSetParameters.args;
  const member = Object.hasOwn(types, name) ? types[name] : undefined;
  if (member === undefined) throw badParameter(name);
  if (name === 'block-bitmap-mapping')
    throw refused('The block-bitmap-mapping parameter can only be set through QMP');
  stored.set({ [name]: valueOf(name, text, typeOf(member)) } as Given);
  return '';
};

const setCapability = ({ migration: { capabilities } }: Machine, line: string): string => {
  const [name, state = '', more] = line.split(/\s+/);
  if (more !== undefined) throw new LineError('extraneous characters at the end of line');
  if (!['on', 'off'].includes(state))
    return `Expected 'on' or 'off'\nTry "help migrate_set_capability" for more information\n`;
  const capability = MigrationCapability.values.find((known) => known === name);
  if (capability === undefined) throw badParameter(name ?? '');
  capabilities.set([{ capability, state: state === 'on' }]);
  return '';
};

const migrate = (machine: Machine, line: string, { descriptors }: MonitorClient): string => {
  const words = line.split(/\s+/);
  const first = words.findIndex((word) => !word.startsWith('-'));
  const flags = readFlags('dbir', words.slice(0, first < 0 ? undefined : first).join(' '));
  const [uri = ''] = wordsOf(first < 0 ? '' : words.slice(first).join(' '), 1);
  const disks = flags.has('b') || flags.has('i');
  machine.migration.start(uri, { resume: flags.has('r'), disks }, (name) => descriptors.take(name));
  return flags.has('d')
    ? ''
    : 'terminal does not allow synchronous migration, continuing detached\n';
};

/** The commands about migration. */
export const migrationCommands: readonly MonitorCommand[] = [
  {
    names: ['migrate'],
    parameters: '[-d] [-b] [-i] [-r] uri',
    help: 'send the machine elsewhere, in the background',
    argument: 'required',
    run: migrate,
  },
  {
    names: ['migrate_cancel'],
    parameters: '',
    help: 'cancel a migration',
    run: ({ migration }) => {
      migration.cancel();
      return '';
    },
  },
  {
    names: ['migrate_continue'],
    parameters: 'state',
    help: 'go on with a migration that waits in that state',
    argument: 'required',
    run: ({ migration }, line) => {
      const [word] = wordsOf(line, 1);
      const state = MigrationStatus.values.find((known) => known === word);
      if (state === undefined) throw badParameter(word ?? '');
      migration.proceed(state);
      return '';
    },
  },
  {
    names: ['migrate_incoming'],
    parameters: 'uri',
    help: 'wait there for a machine, after -incoming defer',
    argument: 'required',
    run: async ({ migration }, line, { descriptors }) => {
      const [uri = ''] = wordsOf(line, 1);
      await migration.listen(uri, (name) => descriptors.take(name));
      return '';
    },
  },
  {
    names: ['migrate_set_capability'],
    parameters: 'capability state',
    help: 'switch a capability of migration on or off',
    argument: 'required',
    run: setCapability,
  },
  {
    names: ['migrate_set_parameter'],
    parameters: 'parameter value',
    help: 'set a parameter of migration',
    argument: 'required',
    run: setParameter,
  },
];

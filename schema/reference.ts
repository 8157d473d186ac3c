import { definitions, type Definition, type SchemaModule } from './introspect.js';
import type { Member, Members, Type, UnionType } from './lang.js';

/** The printed reference: commands, events, types, device types and limits as Markdown. */

export interface Subject {
  readonly title: string;
  readonly module: SchemaModule;
}
/** What the schema does not know; the caller brings it. */
export interface ReferenceExtra {
  readonly limits?: readonly { name: string; default: number; doc: string }[];
  readonly deviceTypes?: readonly DeviceTypeReference[];
}
export interface DeviceTypeReference {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly description?: string;
  readonly properties: readonly {
    readonly name: string;
    readonly type: string;
    /** Default as text; undefined when there is none. */
    readonly default: string | undefined;
    readonly doc: string;
  }[];
}

type Named = Extract<Type, { name: string }>;
const isUnion = (args: Members | UnionType): args is UnionType =>
  (args as UnionType).kind === 'union';
const resolve = (type: Type): Type => (type.kind === 'lazy' ? resolve(type.get()) : type);
const code = (text: string): string => `\`${text}\``;
/** Text for a table cell. */
const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

/** Word for a type in a table; named types link to their section. */
const word = (given: Type): string => {
  const type = resolve(given);
  switch (type.kind) {
    case 'int':
      return type.width;
    case 'array':
      return `[${word(type.item)}]`;
    case 'enum':
    case 'object':
    case 'union':
    case 'alternate':
      return `[${type.name}](#${type.name.toLowerCase()})`;
    case 'lazy':
    case 'number':
    case 'str':
    case 'bool':
    case 'null':
    case 'any':
      return type.kind;
  }
};

const memberDoc = (member: Member): string => {
  const type = member.kind === 'opt' ? member.type : member;
  const dflt = member.kind === 'opt' ? member.default : undefined;
  const parts = [type.doc === '' ? '' : type.doc];
  if (dflt !== undefined && !Array.isArray(dflt)) parts.push(`default ${code(String(dflt))}`);
  if (type.features?.includes('deprecated') === true) parts.push('deprecated');
  return parts.filter((part) => part !== '').join('; ');
};

const memberTable = (members: Members): string[] => {
  const rows = Object.entries(members).map(([name, member]) => {
    const optional = member.kind === 'opt';
    const type = optional ? member.type : member;
    return `| ${code(name)}${optional ? ' (optional)' : ''} | ${word(type)} | ${cell(memberDoc(member))} |`;
  });
  return ['| member | type | |', '| --- | --- | --- |', ...rows, ''];
};

const notes = (definition: Definition): string => {
  const flags = [`since ${definition.since}`];
  if (definition.features !== undefined)
    flags.push(`features ${definition.features.map(code).join(', ')}`);
  if (definition.kind === 'command') {
    if (definition.allowOob === true) flags.push('may run out of band');
    if (definition.allowPreconfig === true) flags.push('works under `--preconfig`');
  } else if (definition.throttle !== undefined) flags.push('at most one a second');
  if (definition.spec !== undefined) flags.push(definition.spec);
  return `*${flags.join('; ')}*`;
};

const section = (definition: Definition): string[] => {
  const lines = [`#### ${definition.name}`, '', definition.doc, '', notes(definition), ''];
  const members: Members | UnionType =
    definition.kind === 'command' ? definition.args : definition.data;
  if (isUnion(members)) lines.push(`Arguments: ${word(members)}`, '');
  else if (Object.keys(members).length > 0) lines.push(...memberTable(members));
  if (definition.kind === 'command' && definition.returns !== undefined) {
    const { returns } = definition;
    const doc = 'name' in returns || returns.doc === '' ? '' : `: ${returns.doc}`;
    lines.push(`Returns ${word(returns)}${doc}.`, '');
  }
  return lines;
};

const subjectSection = ({ title, module }: Subject): string[] => {
  const all = definitions([module]);
  const part = (heading: string, kind: Definition['kind']): string[] => {
    const found = all.filter((definition) => definition.kind === kind);
    return found.length === 0 ? [] : [`### ${heading}`, '', ...found.flatMap(section)];
  };
  const plural = title.toLowerCase();
  return [
    `## ${title}`,
    '',
    ...part(`Commands: ${plural}`, 'command'),
    ...part(`Events: ${plural}`, 'event'),
  ];
};

/** Collects every named type that the definitions reach, by name. */
const namedTypes = (all: readonly Definition[]): Named[] => {
  const found = new Map<string, Named>();
  const visit = (given: Type): void => {
    const type = resolve(given);
    if (type.kind === 'array') return visit(type.item);
    if (!('name' in type) || found.has(type.name)) return;
    found.set(type.name, type);
    if (type.kind === 'object') visitMembers(type.members);
    if (type.kind === 'union') visitMembers(type.base);
    if (type.kind === 'union' || type.kind === 'alternate')
      for (const branch of Object.values(type.branches)) visit(branch);
  };
  const visitMembers = (members: Members): void => {
    for (const member of Object.values(members))
      visit(member.kind === 'opt' ? member.type : member);
  };
  for (const definition of all) {
    const members: Members | UnionType =
      definition.kind === 'command' ? definition.args : definition.data;
    if (isUnion(members)) visit(members);
    else visitMembers(members);
    if (definition.kind === 'command' && definition.returns !== undefined)
      visit(definition.returns);
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
};

const typeSection = (type: Named): string[] => {
  const head = [`### ${type.name}`, '', ...(type.doc === '' ? [] : [type.doc, ''])];
  switch (type.kind) {
    case 'enum':
      return [...head, `One of ${type.values.map(code).join(', ')}.`, ''];
    case 'object':
      return [
        ...head,
        ...(Object.keys(type.members).length > 0 ? memberTable(type.members) : ['No members.', '']),
      ];
    case 'alternate':
      return [
        ...head,
        `One of ${Object.values(type.branches).map(word).join(', ')}, by JSON kind.`,
        '',
      ];
    case 'union':
      return [
        ...head,
        ...memberTable(type.base),
        `| ${code(type.discriminator)} | further members |`,
        '| --- | --- |',
        ...Object.entries(type.branches).map(
          ([value, branch]) => `| ${code(value)} | ${word(branch)} |`,
        ),
        '',
      ];
  }
};

const deviceSection = (device: DeviceTypeReference): string[] => [
  `### ${device.name}`,
  '',
  ...(device.description === undefined ? [] : [`${device.description}.`, '']),
  ...(device.aliases === undefined ? [] : [`Aliases: ${device.aliases.map(code).join(', ')}`, '']),
  '| property | type | default | |',
  '| --- | --- | --- | --- |',
  ...device.properties.map(
    ({ name, type, default: dflt, doc }) =>
      `| ${code(name)} | ${cell(type)} | ${dflt === undefined ? '' : code(dflt)} | ${cell(doc)} |`,
  ),
  '',
];

const limitSection = (limits: NonNullable<ReferenceExtra['limits']>): string[] => [
  '## Limits',
  '',
  'Set with `--limit NAME=VALUE`.',
  '',
  '| name | default | |',
  '| --- | --- | --- |',
  ...limits.map(
    ({ name, default: dflt, doc }) => `| ${code(name)} | ${String(dflt)} | ${cell(doc)} |`,
  ),
  '',
];

/** Prints everything that a client can say and hear; the same text for the same schema. */
export const printReference = (
  subjects: readonly Subject[],
  extra: ReferenceExtra = {},
): string => {
  const all = definitions(subjects.map(({ module }) => module));
  const lines = [
    '# Reference',
    '',
    'Commands, events and types of qmemd, printed from its schema by `npm run reference`. What has the',
    'feature `qmemd` is our own; everything else is as in QEMU 10.2.',
    '',
    ...subjects.flatMap(subjectSection),
    '## Types',
    '',
    ...namedTypes(all).flatMap(typeSection),
  ];
  const { deviceTypes = [], limits = [] } = extra;
  if (deviceTypes.length > 0)
    lines.push('## Device types', '', ...deviceTypes.flatMap(deviceSection));
  if (limits.length > 0) lines.push(...limitSection(limits));
  return `${lines.join('\n').trimEnd()}\n`;
};

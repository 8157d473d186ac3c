import t from 'tap';
import { modules } from '../../schema/index.js';
import { introspect, type SchemaInfo } from '../../schema/introspect.js';
import * as lang from '../../schema/lang.js';

const given = { doc: 'd', since: '0.1' };
/** SchemaInfo with the members of all variants, as a client reads it. */
interface Flat {
  name: string;
  'meta-type': string;
  'arg-type'?: string;
  'ret-type'?: string;
  'element-type'?: string;
  'allow-oob'?: boolean;
  features?: string[];
  members?: { name: string; type?: string }[];
  tag?: string;
  variants?: { case: string; type: string }[];
}
const byName = (infos: readonly SchemaInfo[]): Map<string, Flat> =>
  new Map(infos.map((info) => [info.name, info as Flat]));
/** Names that an entity refers to. */
const references = (info: Flat): string[] =>
  [
    info['arg-type'],
    info['ret-type'],
    info['element-type'],
    ...(info.members ?? []).map(({ type }) => type),
    ...(info.variants ?? []).map(({ type }) => type),
  ].filter((name) => name !== undefined);

t.test('a small schema is described breadth-first with masked names', async (t) => {
  const Colour = lang.enumeration('Colour', ['red', 'blue'], '', {
    valueFeatures: { blue: ['deprecated'] },
  });
  const Point = lang.object('Point', {
    x: lang.int('uint8', ''),
    colour: lang.opt(Colour),
    tags: lang.opt(lang.arr(lang.str(''), '')),
  });
  const Shape = lang.union('Shape', {
    base: { kind: lang.enumeration('ShapeKind', ['none', 'dot'], '') },
    discriminator: 'kind',
    branches: { dot: Point },
  });
  const module = {
    Moved: lang.event('MOVED', given),
    notADefinition: 7,
    draw: lang.command('draw', { ...given, args: Shape, features: ['qmemd'] }),
    list: lang.command('list', { ...given, allowOob: true, returns: lang.arr(Point, '') }),
    put: lang.command('put', {
      ...given,
      args: { x: lang.int('size', ''), y: lang.opt(lang.str('', { features: ['deprecated'] })) },
    }),
  };
  t.strictSame(introspect([module]), [
    { name: 'MOVED', 'meta-type': 'event', 'arg-type': '0' },
    {
      name: 'draw',
      'meta-type': 'command',
      'arg-type': '1',
      'ret-type': '0',
      features: ['qmemd'],
    },
    { name: 'list', 'meta-type': 'command', 'arg-type': '0', 'ret-type': '[2]', 'allow-oob': true },
    { name: 'put', 'meta-type': 'command', 'arg-type': '3', 'ret-type': '0' },
    { name: '0', 'meta-type': 'object', members: [] },
    {
      name: '1',
      'meta-type': 'object',
      members: [{ name: 'kind', type: '4' }],
      tag: 'kind',
      variants: [
        { case: 'dot', type: '2' },
        { case: 'none', type: '0' },
      ],
    },
    { name: '[2]', 'meta-type': 'array', 'element-type': '2' },
    {
      name: '2',
      'meta-type': 'object',
      members: [
        { name: 'x', type: 'int' },
        { name: 'colour', type: '5', default: null },
        { name: 'tags', type: '[str]', default: null },
      ],
    },
    {
      name: '3',
      'meta-type': 'object',
      members: [
        { name: 'x', type: 'int' },
        { name: 'y', type: 'str', default: null, features: ['deprecated'] },
      ],
    },
    {
      name: '4',
      'meta-type': 'enum',
      members: [{ name: 'none' }, { name: 'dot' }],
      values: ['none', 'dot'],
    },
    { name: 'int', 'meta-type': 'builtin', 'json-type': 'int' },
    {
      name: '5',
      'meta-type': 'enum',
      members: [{ name: 'red' }, { name: 'blue', features: ['deprecated'] }],
      values: ['red', 'blue'],
    },
    { name: '[str]', 'meta-type': 'array', 'element-type': 'str' },
    { name: 'str', 'meta-type': 'builtin', 'json-type': 'string' },
  ]);
});

t.test('a type that contains itself is described once', async (t) => {
  const Tree: lang.ObjType = lang.object('Tree', {
    kids: lang.opt(
      lang.arr(
        lang.lazy(() => Tree),
        '',
      ),
    ),
  });
  const infos = introspect([{ grow: lang.command('grow', { ...given, args: { tree: Tree } }) }]);
  t.strictSame(
    infos.map(({ name }) => name),
    ['grow', '0', '1', '2', '[2]'],
  );
});

t.test('the schema of this server is closed, and names are unique', async (t) => {
  const infos = introspect(modules);
  const all = byName(infos);
  t.equal(all.size, infos.length, 'no name twice');
  const dangling = (infos as Flat[]).flatMap(references).filter((name) => !all.has(name));
  t.strictSame(dangling, [], 'every reference leads somewhere');
  const referred = new Set((infos as Flat[]).flatMap(references));
  const orphans = infos.filter(
    (info) => !['command', 'event'].includes(info['meta-type']) && !referred.has(info.name),
  );
  t.strictSame(orphans, [], 'nothing unreachable');
  t.strictSame(all.get('0'), { name: '0', 'meta-type': 'object', members: [] });
});

t.test('what clients look up in the schema is there (clients.md §2.4)', async (t) => {
  const all = byName(introspect(modules));
  const objectAdd = all.get(all.get('object-add')?.['arg-type'] ?? '');
  t.equal(objectAdd?.tag, 'qom-type');
  t.equal(
    objectAdd?.variants?.some((variant) => variant.case === 'secret'),
    true,
  );
  t.strictSame(all.get('device_add')?.features, ['json-cli', 'json-cli-hotplug']);
  const members = all.get(all.get('device_add')?.['arg-type'] ?? '')?.members;
  t.strictSame(
    members?.map(({ name }) => name),
    ['driver', 'bus', 'id'],
  );
  for (const name of ['yank', 'query-yank', 'migrate-recover', 'migrate-pause'])
    t.equal(all.get(name)?.['allow-oob'], true, name);
  t.equal('allow-oob' in (all.get('query-status') ?? {}), false);
});

t.test('one name stands for one type throughout the schema', async (t) => {
  const seen = new Map<string, lang.Type>();
  const clashes: string[] = [];
  const visit = (type: lang.Type): void => {
    if (type.kind === 'array') visit(type.item);
    if (!('name' in type) || seen.get(type.name) === type) return;
    if (seen.has(type.name)) clashes.push(type.name);
    seen.set(type.name, type);
    if (type.kind === 'object') visitAll(type.members);
    if (type.kind === 'union') {
      visitAll(type.base);
      Object.values(type.branches).forEach(visit);
    }
  };
  const visitAll = (members: lang.Members): void =>
    Object.values(members).forEach((member) => visit(member.kind === 'opt' ? member.type : member));
  for (const definition of modules.flatMap((module) => Object.values(module)) as (
    lang.CommandDef | lang.EventDef | lang.Type
  )[]) {
    if (definition.kind === 'event') visitAll(definition.data);
    else if (definition.kind === 'command') {
      if (definition.args.kind === 'union') visit(definition.args as lang.UnionType);
      else visitAll(definition.args as lang.Members);
      if (definition.returns !== undefined) visit(definition.returns);
    }
  }
  t.strictSame(clashes, []);
});

import t from 'tap';
import { Completer } from '../../../ctl/shell/completer.js';
import { HumanMonitor } from '../../../ctl/shell/human.js';
import { LiveIds } from '../../../ctl/shell/live-ids.js';
import { LiveSchema } from '../../../ctl/shell/live-schema.js';
import { sourceOf } from '../../../ctl/shell/sources.js';
import type { ReaderState } from '../../../ctl/shell/statement.js';
import { modules } from '../../../schema/index.js';
import { definitions } from '../../../schema/introspect.js';
import type { JsonObject, JsonValue } from '../../../schema/json.js';
import type { Member, Type } from '../../../schema/lang.js';

const object = (name: string, members: Record<string, string>, more: JsonObject = {}) => ({
  name,
  'meta-type': 'object',
  members: Object.entries(members).map(([key, type]) =>
    key.endsWith('?') ? { name: key.slice(0, -1), type, default: null } : { name: key, type },
  ),
  ...more,
});
const command = (name: string, argType: string) => ({
  name,
  'meta-type': 'command',
  'arg-type': argType,
});

/** A schema with masked names, as servers give it. */
const SCHEMA: JsonValue = [
  command('query-status', '0'),
  command('object-add', '1'),
  command('object-del', '5'),
  command('device_add', '6'),
  command('device_del', '5'),
  command('qom-get', '7'),
  command('transaction', '8'),
  command('chardev-remove', '5'),
  command('mem-flush', '5'),
  command('cxl-free-head', '15'),
  command('qom-set', '16'),
  command('add_client', '17'),
  command('query-rx-filter', '18'),
  command('yank', '19'),
  { name: 'STOP', 'meta-type': 'event', 'arg-type': '0' },
  object('0', {}),
  object(
    '1',
    { 'qom-type': '2', id: 'str' },
    {
      tag: 'qom-type',
      variants: [
        { case: 'memory-ram', type: '3' },
        { case: 'memory-file', type: '4' },
      ],
    },
  ),
  { name: '2', 'meta-type': 'enum', values: ['memory-ram', 'memory-file'] },
  object('3', { 'share?': 'bool', size: 'int', 'deep?': '9' }),
  object('4', { 'mem-path': 'str' }),
  object('5', { id: 'str' }),
  object('6', { driver: 'str', 'bus?': 'str', 'id?': 'str' }),
  object('7', { path: 'str', property: 'str' }),
  object('8', { actions: '[10]' }),
  object('9', { policy: '11' }),
  { name: '[10]', 'meta-type': 'array', 'element-type': '10' },
  object('10', { type: '12' }, { tag: 'type', variants: [{ case: 'snap', type: '13' }] }),
  { name: '11', 'meta-type': 'alternate', members: [{ type: '2' }, { type: 'bool' }] },
  { name: '12', 'meta-type': 'enum', values: ['abort', 'snap'] },
  object('13', { data: '14' }),
  object('14', { device: 'str', mode: '2' }),
  object('15', { path: 'str' }),
  object('16', { path: 'str', property: 'str', value: 'any' }),
  object('17', { protocol: 'str', fdname: 'str' }),
  object('18', { 'name?': 'str' }),
  object('19', { instances: '[20]' }),
  { name: '[20]', 'meta-type': 'array', 'element-type': '20' },
  object('20', { type: '21' }, { tag: 'type', variants: [{ case: 'chardev', type: '5' }] }),
  { name: '21', 'meta-type': 'enum', values: ['chardev', 'migration'] },
  { name: 'any', 'meta-type': 'builtin', 'json-type': 'value' },
  { name: 'str', 'meta-type': 'builtin', 'json-type': 'string' },
  { name: 'int', 'meta-type': 'builtin', 'json-type': 'int' },
  { name: 'bool', 'meta-type': 'builtin', 'json-type': 'boolean' },
];

const TREE: Record<string, [string, string][]> = {
  '/machine': [
    ['peripheral', 'child<container>'],
    ['peripheral-anon', 'child<container>'],
    ['q35', 'child<q35-pcihost>'],
    ['type', 'string'],
    ['guest-policy', 'GuestPolicy'],
    ['cxl', 'bool'],
    ['cxl-fmw', 'CXLFixedMemoryWindow'],
    ['size', 'int'],
  ],
  '/machine/peripheral': [
    ['port0', 'child<pcie-root-port>'],
    ['mem0', 'child<dynamic-mdevice>'],
    ['type', 'string'],
  ],
  '/machine/peripheral/port0': [['port0', 'child<PCIE>']],
  '/machine/peripheral-anon': [['device[0]', 'child<pci-bridge>']],
  '/machine/peripheral-anon/device[0]': [['pci.1', 'child<PCI>']],
  '/machine/q35': [
    ['mch', 'child<mch>'],
    ['pcie.0', 'child<PCIE>'],
  ],
  '/objects': [['m1', 'child<memory-backend-ram>']],
};
const LISTS: Record<string, JsonObject[]> = {
  'qom-list-types': [{ name: 'pcie-root-port' }, { name: 'dynamic-mdevice' }],
  'device-list-properties': [
    { name: 'size', type: 'size' },
    { name: 'align', type: 'size' },
    { name: 'bus', type: 'str' },
    { name: 'romfile', type: 'OnOffAuto' },
    { name: 'memdev', type: 'str' },
  ],
  'query-chardev': [{ label: 'c1' }, { label: 'compat_monitor0' }],
  'query-rx-filter': [{ name: 'nic0' }],
};
const list = (name: string, args: JsonObject): JsonValue =>
  name === 'qom-list'
    ? (TREE[String(args['path'])] ?? []).map(([child, type]) => ({ name: child, type }))
    : (LISTS[name] ?? []);

const completer = new Completer(
  new LiveSchema(SCHEMA),
  new LiveIds((name, args) => Promise.resolve(list(name, args))),
);

t.test('what is offered at the end of a line', async (t) => {
  for (const [line, hits, state] of [
    ['query-s', ['query-status ']],
    ['tr', ['transaction ', 'transaction( ']],
    ['ex', ['exit ']],
    ['help qom', ['qom-get ', 'qom-set ']],
    ['object-add ', ['id=', 'qom-type=']],
    ['object-add id=x q', ['qom-type=']],
    ['object-add qom-type=', ['memory-file ', 'memory-ram ']],
    ['object-add qom-type=memory-r', ['memory-ram ']],
    ['object-add qom-type=memory-ram ', ['deep.', 'id=', 'share=', 'size=']],
    ['object-add qom-type=memory-ram deep.', ['deep.policy=']],
    [
      'object-add qom-type=memory-ram deep.policy=',
      [...['false ', 'memory-file ', 'memory-ram ', 'true ']],
    ],
    ['object-add qom-type=memory-file m', ['mem-path=']],
    ['object-add qom-type=memory-ram share=f', ['false ']],
    ['object-add qom-type=memory-ram id=', []],
    ['object-del id=', ['m1 ']],
    ['device_del id=', ['mem0 ', 'port0 ']],
    ['device_add driver=d', ['dynamic-mdevice ']],
    [
      'device_add driver=dynamic-mdevice ',
      ['align=', 'bus=', 'id=', 'memdev=', 'romfile=', 'size='],
    ],
    ['device_add driver=dynamic-mdevice romfile=', ['auto ', 'off ', 'on ']],
    ['device_add driver=dynamic-mdevice memdev=', ['m1 ']],
    ['device_add driver=dynamic-mdevice size=', []],
    ['device_add driver=dynamic-mdevice bus=', ['pci.1 ', 'pcie.0 ', 'port0 ']],
    ['device_add driver=dynamic-mdevice bus=pcie', ['pcie.0 ']],
    ['qom-get path=', ['/machine ', '/objects ']],
    ['qom-get path=/machine/p', ['/machine/peripheral', '/machine/peripheral-anon']],
    ['qom-get path=/machine/peripheral property=', ['type ']],
    ['device_del id=/machine/peripheral/m', ['/machine/peripheral/mem0']],
    ['chardev-remove id=', ['c1 ', 'compat_monitor0 ']],
    ['add_client protocol=', ['c1 ', 'compat_monitor0 ']],
    ['yank instances.0.type=chardev instances.0.id=', ['c1 ', 'compat_monitor0 ']],
    ['query-rx-filter name=', ['nic0 ']],
    ['mem-flush id=', ['m1 ', 'mem0 ', 'port0 ']],
    ['cxl-free-head path=', ['mem0 ', 'port0 ']],
    ['cxl-free-head path=/machine/q', ['/machine/q35']],
    ['qom-set path=/machine property=', ['cxl ', 'cxl-fmw ', 'guest-policy ', 'size ', 'type ']],
    ['qom-set path=/machine property=guest-policy value=', ['accept ', 'manual ', 'reject ']],
    ['qom-set path=/machine property=cxl value=', ['false ', 'true ']],
    ['qom-set path=/machine property=cxl-fmw value=', []],
    ['qom-set path=/machine property=size value=', []],
    ['qom-set path=/machine property=nope value=', []],
    ['qom-set property=cxl value=', []],
    ['no-such-command ', []],
    ['query-status x={"a', []],
    ['query-status x={"a"', []],
    ["query-status 'a", []],
    ['sna', ['snap '], 'transaction'],
    ['', [') ', 'abort ', 'snap '], 'transaction'],
    ['snap ', ['device=', 'mode='], 'transaction'],
    ['snap mode=memory-r', ['memory-ram '], 'transaction'],
    ['abort ; sna', ['snap '], 'transaction'],
    ['abort ; snap device=d ', ['mode='], 'transaction'],
    ['quer', [], 'more'],
  ] as [string, string[], ReaderState?][]) {
    const found = await completer.complete(line, state ?? 'start');
    t.strictSame(found.hits, hits, `${line}|`);
    t.equal(line.endsWith(found.part), true, 'what it completes is the end of the line');
  }
});

t.test('of every text that a command of ours takes it is known what it names', async (t) => {
  const types = (member: Member): Type => (member.kind === 'opt' ? member.type : member);
  for (const definition of definitions(modules)) {
    if (definition.kind !== 'command') continue;
    for (const [key, member] of Object.entries(definition.args)) {
      const type = types(member as Member);
      if (type.kind !== 'str') continue;
      const source = sourceOf(definition.name, key);
      const name = `${definition.name} ${key}`;
      t.not(source, undefined, name);
      // The schema says it in words.
      const { doc } = type;
      if (/\bid or object path\b/.test(doc)) t.equal(source, 'devices', name);
      if (/\bcharacter device$/.test(doc)) t.equal(source, 'chardevs', name);
      if (/\bof the job$/.test(doc)) t.equal(source, 'jobs', name);
      if (/^absolute path\b/.test(doc)) t.equal(source, 'tree', name);
    }
  }
  t.equal(sourceOf('device_del', 'constructor'), undefined);
  t.equal(sourceOf('constructor', 'id'), 'devices');
});

t.test('how a command is called', async (t) => {
  const schema = new LiveSchema(SCHEMA);
  t.equal(schema.usage('device_add'), 'device_add driver=string [bus=string] [id=string]');
  t.equal(schema.usage('object-add'), 'object-add qom-type=memory-ram|memory-file id=string');
  t.equal(schema.usage('transaction'), 'transaction actions=[{...}, ...]');
  t.equal(schema.usage('nope'), undefined);
  const names = LiveSchema.ofCommands([{ name: 'stop' }]);
  t.strictSame(names.commands(), ['stop']);
  t.equal(names.usage('stop'), 'stop');
});

t.test('the human monitor is completed by its own help', async (t) => {
  const texts: Record<string, string> = {
    help: 'c|cont  -- resume\r\ncommit [-n] -- x\r\n! y\r\n',
    info: 'info pci  -- PCI\r\ninfo qtree  -- tree\r\n',
  };
  const human = new HumanMonitor((_command, args) =>
    Promise.resolve(texts[String(args['command-line'])] ?? ''),
  );
  await human.load();
  t.strictSame(human.complete('co'), { hits: ['commit ', 'cont '], part: 'co' });
  t.strictSame(human.complete('info '), { hits: ['pci ', 'qtree '], part: '' });
  t.strictSame(human.complete('info q'), { hits: ['qtree '], part: 'q' });
  t.strictSame(human.complete('cont x'), { hits: [], part: '' });
});

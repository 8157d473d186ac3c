import t from 'tap';
import { subjects } from '../../schema/index.js';
import { definitions } from '../../schema/introspect.js';
import type * as lang from '../../schema/lang.js';
import { printReference } from '../../schema/reference.js';

t.test('every command, event and type has its section, and every link leads to one', async (t) => {
  const text = printReference(subjects);
  const headings = new Set([...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading));
  const all = definitions(subjects.map(({ module }) => module));
  t.strictSame(
    all.filter(({ name }) => !headings.has(name)).map(({ name }) => name),
    [],
  );
  const anchors = new Set([...headings].map((heading) => heading?.toLowerCase()));
  const links = [...text.matchAll(/\]\(#([^)]+)\)/g)].map(([, link]) => link);
  t.equal(links.length > 20, true);
  t.strictSame(
    links.filter((link) => !anchors.has(link)),
    [],
  );
});

t.test('everything in the schema is documented', async (t) => {
  const undocumented: string[] = [];
  const members = (owner: string, list: lang.Members): void => {
    for (const [name, member] of Object.entries(list)) {
      const type = member.kind === 'opt' ? member.type : member;
      // Named types carry their text themselves, structures in their members.
      if (type.doc === '' && !('name' in type)) undocumented.push(`${owner}.${name}`);
    }
  };
  for (const definition of definitions(subjects.map(({ module }) => module))) {
    if (definition.doc === '' || definition.since === '') undocumented.push(definition.name);
    const list = definition.kind === 'event' ? definition.data : definition.args;
    if (list.kind !== 'union') members(definition.name, list as lang.Members);
  }
  for (const type of subjects.flatMap(({ module }) => Object.values(module)) as lang.Type[]) {
    if (type.kind === 'object') members(type.name, type.members);
    if (type.kind === 'enum' && type.doc === '') undocumented.push(type.name);
  }
  t.strictSame(undocumented, []);
});

t.test('device types and limits come behind the schema', async (t) => {
  const text = printReference(subjects, {
    limits: [{ name: 'clients', default: 64, doc: 'clients of one monitor | at most' }],
    deviceTypes: [
      {
        name: 'edu',
        aliases: ['school'],
        description: 'a device',
        properties: [{ name: 'size', type: 'size', default: '4096', doc: 'bytes' }],
      },
    ],
  });
  t.match(text, '| `clients` | 64 | clients of one monitor \\| at most |');
  t.match(text, '| `size` | size | `4096` | bytes |');
  t.equal(text.startsWith(printReference(subjects).trimEnd()), true);
});

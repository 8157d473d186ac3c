import t from 'tap';
import type { Json } from './client.js';
import { qemu, qemuVersion, qmemd, startServer, type Program } from './servers.js';
import { schemaDifferences, type Entity } from './schema-compare.js';
import { toleratedSchema, type ToleratedSchema } from './schema-tolerated.js';

/** `query-qmp-schema` of both, compared for every command and event that both have. */

const fetchSchema = async (program: Program): Promise<Map<string, Entity>> => {
  const server = await startServer(program, ['-M', 'none', '-S']);
  try {
    const [reply] = await server.client.request('{"execute": "query-qmp-schema"}');
    const entities = (reply as { readonly return: readonly Json[] }).return as unknown as Entity[];
    return new Map(entities.map((entity) => [entity.name, entity]));
  } finally {
    await server.stop();
  }
};

const skip = qemuVersion() === undefined ? 'qemu-system-x86_64 is not installed' : false;

t.test('both describe the same commands and events', { skip }, async (t) => {
  const { shared, found } = schemaDifferences(await fetchSchema(qemu), await fetchSchema(qmemd));
  t.comment(`${String(shared)} commands and events, ${String(found.length)} differences`);
  t.equal(shared > 60, true);
  const used = new Set<ToleratedSchema>();
  const unexplained = found.filter((line) => {
    const row = toleratedSchema.find(({ where }) => where.test(line));
    if (row !== undefined) used.add(row);
    return row === undefined;
  });
  t.strictSame(unexplained, []);
  t.strictSame(
    toleratedSchema.filter((row) => !used.has(row)).map(({ where }) => where.source),
    [],
    'every tolerated difference was seen',
  );
});

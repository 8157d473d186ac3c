import t from 'tap';
import { writeJson, type Client, type Json } from './client.js';
import { qemu, qemuVersion, qmemd, startServer, type Program } from './servers.js';

/** Which commands may come before the machine is created: asked of both, command by command. */

/** Never asked: they end the session or the state that is looked at. */
const LEFT_OUT = ['quit', 'x-exit-preconfig', 'qmp_capabilities'];

/** A surplus argument keeps a command that is permitted from doing anything. */
const isPermitted = async (client: Client, execute: string): Promise<boolean> => {
  const messages = await client.request(`{"execute": "${execute}", "arguments": {"nosuch": 1}}`);
  return !messages.some((message) => writeJson(message).includes('is permitted only after'));
};

const permitted = async (program: Program): Promise<Map<string, boolean>> => {
  const server = await startServer(program, ['-M', 'q35', '-nodefaults', '--preconfig']);
  try {
    const [reply] = await server.client.request('{"execute": "query-commands"}');
    const { return: list } = reply as { readonly return: readonly { readonly name: Json }[] };
    const found = new Map<string, boolean>();
    for (const name of list.map((entry) => String(entry.name)))
      if (!LEFT_OUT.includes(name)) found.set(name, await isPermitted(server.client, name));
    return found;
  } finally {
    await server.stop();
  }
};

const skip = qemuVersion() === undefined ? 'qemu-system-x86_64 is not installed' : false;

t.test('the same commands may come before the machine is created', { skip }, async (t) => {
  const [theirs, ours] = [await permitted(qemu), await permitted(qmemd)];
  const shared = [...ours].filter(([name]) => theirs.has(name));
  t.equal(shared.length > 60, true);
  t.strictSame(
    shared.filter(([name, is]) => theirs.get(name) !== is),
    [],
  );
  t.strictSame(new Set(shared.map(([, is]) => is)), new Set([true, false]), 'of both kinds');
});

import { isJsonObject } from '../schema/json.js';
import { UsageError } from './arguments.js';
import { CommandError, ConnectionError, type QmpClient } from './client.js';
import { wordsOf } from './own-schema.js';
import { LiveSchema } from './shell/live-schema.js';

/** What `help` prints: what the server says of itself, and what qmemctl knows of it. */

/** What the words mean that no server knows. */
const OWN: Readonly<Record<string, string>> = {
  help: 'help lists the commands of the server; help COMMAND tells the arguments of one',
  exit: 'exit leaves the shell; quit ends the machine',
  'transaction(': 'transaction( begins a transaction of one action a line; ) sends it',
  events: 'events prints events as they come: qmemctl --help',
  machines: 'machines lists the machines of the server: qmemctl --help',
  shell: 'shell reads commands line by line: qmemctl --help',
};

/** What a command answers; undefined when it is refused, or nobody is there any more. */
export const unlessRefused = async <T>(promise: Promise<T>): Promise<T | undefined> => {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof CommandError || error instanceof ConnectionError) return undefined;
    throw error;
  }
};

/** What the server says of itself; names only where it has no introspection. */
export const askSchema = async (client: QmpClient): Promise<LiveSchema | undefined> => {
  const full = await unlessRefused(client.execute('query-qmp-schema'));
  if (full !== undefined) return new LiveSchema(full);
  const names = await unlessRefused(client.execute('query-commands'));
  return names === undefined ? undefined : LiveSchema.ofCommands(names);
};

/** Whether the words of our schema are about this server. */
const isOurs = ({ greeting: { version } }: QmpClient): boolean =>
  isJsonObject(version) && /^qmemd\b/.test(String(version['package']));

/** A command and its arguments in words, of the arguments that the server has. */
const explain = async (command: string, schema: LiveSchema): Promise<string[]> => {
  const words = await wordsOf(command);
  if (words === undefined) return [];
  const args = (schema.argumentsOf(command, [], () => undefined) ?? []).map(
    ({ name }) => [name, words.args.get(name) ?? ''] as const,
  );
  const lines = args.filter(([, doc]) => doc !== '').map(([name, doc]) => `  ${name}: ${doc}`);
  return [`  ${words.doc}`, ...lines];
};

/** @throws UsageError when there is no such command */
export const helpText = async (
  command: string | undefined,
  schema: LiveSchema | undefined,
  client: QmpClient,
): Promise<string> => {
  if (command === undefined)
    return ['help COMMAND tells its arguments; commands:', ...(schema?.commands() ?? [])].join(
      '\n  ',
    );
  const usage = schema?.usage(command);
  if (schema === undefined || usage === undefined) {
    const own = Object.hasOwn(OWN, command) ? OWN[command] : undefined;
    if (own === undefined)
      throw new UsageError(`there is no command ${command}; help alone lists them`);
    return own;
  }
  return [usage, ...(isOurs(client) ? await explain(command, schema) : [])].join('\n');
};

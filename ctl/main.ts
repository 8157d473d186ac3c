import { parseArgs } from 'node:util';
import type { JsonObject } from '../schema/json.js';
import { readArguments, UsageError } from './arguments.js';
import { isWebSocketUrl } from './channel.js';
import { CommandError, ConnectionError, QmpClient } from './client.js';
import { writeJson } from './json.js';
import { defaultAddress } from './paths.js';

/** qmemctl: one command to a QMP server, or its events; JSON out, exit status. */

const USAGE = `usage: qmemctl [-s SOCKET | ws://HOST:PORT/qmp] COMMAND [key=value ...]
       qmemctl [-s SOCKET | ws://HOST:PORT/qmp] events [--event NAME,NAME]

Sends one QMP command and prints what it returns as JSON. A value is JSON when it looks like JSON
(5, true, null, [..], {..}, "text"), else text; a.b=1 sets a member of a, a.0=x a.1=y is a list.
Sizes are bytes (size=67108864, not 64M); a text that looks like a number goes in quotes:
data='"1234"'.
\`events\` prints events as they come, one a line, until it is interrupted.

  -s, --socket SOCKET   path of the server's UNIX socket, or a ws:// URL
                        (default: QMEMD_SOCKET, else the demonstration machine of npm start)
      --event NAMES     only these events
      --help, --version

Exit status: 0 done, 1 refused (class and text on stderr) or no connection, 2 wrong usage.
`;

/** What the program touches of the process. */
export interface ProgramIo {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  out(text: string): void;
  err(text: string): void;
  /** Ends \`events\`: nobody reads the output any more. */
  readonly done: AbortSignal;
}

interface Request {
  readonly address: string;
  readonly command: string;
  readonly args: JsonObject;
  readonly events: readonly string[] | undefined;
}

const OPTIONS = {
  socket: { type: 'string', short: 's' },
  event: { type: 'string', multiple: true },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
} as const;

/** @throws UsageError */
const parseWords = (words: readonly string[]) => {
  try {
    return parseArgs({ args: [...words], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    // parseArgs explains itself in several sentences; the first says what is wrong.
    throw new UsageError((error as Error).message.split('. ')[0], { cause: error });
  }
};

/** @throws UsageError */
const readRequest = (
  { values, positionals }: ReturnType<typeof parseWords>,
  env: ProgramIo['env'],
): Request => {
  const words = [...positionals];
  const [first = ''] = words;
  const url = isWebSocketUrl(first) ? words.shift() : undefined;
  if (url !== undefined && values.socket !== undefined)
    throw new UsageError('give either -s or a ws:// URL, not both');
  const command = words.shift();
  if (command === undefined) throw new UsageError('a command is missing');
  const events = values.event?.flatMap((names) => names.split(','));
  if (command !== 'events' && events !== undefined)
    throw new UsageError('--event goes with events only');
  return {
    address: url ?? values.socket ?? defaultAddress(env),
    command,
    args: readArguments(words),
    events,
  };
};

const runCommand = async ({ address, command, args }: Request, io: ProgramIo): Promise<void> => {
  const client = await QmpClient.connect({ address });
  try {
    io.out(`${writeJson(await client.execute(command, args), 2)}\n`);
  } finally {
    client.close();
  }
};

/** Streams events; a server without subscribe-events sends them all, and they are filtered here. */
const runEvents = async ({ address, events, args }: Request, io: ProgramIo): Promise<void> => {
  const wanted = new Set(events ?? ['*']);
  // What carries `seq` comes of the subscription: the server has filtered it.
  const isWanted = (event: JsonObject): boolean =>
    wanted.has('*') || wanted.has(String(event['event'])) || 'seq' in event;
  const client = await QmpClient.connect({
    address,
    onEvent: (event) => {
      if (isWanted(event)) io.out(`${writeJson(event)}\n`);
    },
  });
  const close = (): void => client.close();
  io.done.addEventListener('abort', close);
  try {
    if (events !== undefined) args['events'] = [...wanted];
    await subscribe(client, args);
    if (io.done.aborted) close();
    await client.over();
  } finally {
    io.done.removeEventListener('abort', close);
    client.close();
  }
};

/** Subscribes where the server can. @throws CommandError when it refuses */
const subscribe = async (client: QmpClient, args: JsonObject): Promise<void> => {
  try {
    await client.execute('subscribe-events', args);
  } catch (error) {
    if (!(error instanceof CommandError) || error.class !== 'CommandNotFound') throw error;
  }
};

const explain = (error: unknown, io: ProgramIo): number => {
  if (error instanceof UsageError) {
    io.err(`qmemctl: ${error.message}\n${USAGE}`);
    return 2;
  }
  if (error instanceof CommandError) io.err(`${error.class}: ${error.message}\n`);
  else if (error instanceof ConnectionError) io.err(`qmemctl: ${error.message}\n`);
  else throw error;
  return 1;
};

/** Runs the program on the words behind its name; returns the exit status. */
export const run = async (words: readonly string[], io: ProgramIo): Promise<number> => {
  try {
    const parsed = parseWords(words);
    if (parsed.values.help === true) {
      io.out(USAGE);
      return 0;
    }
    if (parsed.values.version === true) {
      io.out(`qmemctl ${io.version}\n`);
      return 0;
    }
    const request = readRequest(parsed, io.env);
    await (request.command === 'events' ? runEvents(request, io) : runCommand(request, io));
    return 0;
  } catch (error) {
    return explain(error, io);
  }
};

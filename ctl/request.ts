import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { httpAddress, qmpAddress } from './address.js';
import { UsageError } from './arguments.js';
import { callOfWords, type Call } from './call.js';
import type { Since } from './events.js';
import { defaultAddress } from './paths.js';

/** The words of the command line -> what to do. */

export const USAGE = `usage: qmemctl [-s ADDRESS] [-m MACHINE] COMMAND [key=value ...]
       qmemctl [-s ADDRESS] [-m MACHINE] JSON
       qmemctl [-s ADDRESS] [-m MACHINE] -H LINE
       qmemctl [-s ADDRESS] [-m MACHINE] shell [-p] [-v] [-H]
       qmemctl [-s ADDRESS] [-m MACHINE] events [-p] [--event NAME,NAME]
                                         [--since [STREAM:]SEQ] [--reconnect]
       qmemctl [-s ADDRESS] [-m MACHINE] help [COMMAND]
       qmemctl [-s ws://HOST:PORT] machines

Sends one QMP command and prints what it returns as JSON. A value is JSON when it looks like JSON
(5, true, null, [..], {..}, "text"), else text; a.b=1 sets a member of a, a.0=x a.1=y is a list.
Sizes are bytes (size=67108864, not 64M); a text that looks like a number goes in quotes:
data='"1234"'. JSON is a whole command: '{"execute": "query-name"}', or "exec-oob".
\`shell\` reads such commands line by line, from a terminal (Tab completes, events appear as they
come) or a pipe. A line that opens a bracket goes on until it is closed; transaction( begins a
transaction of one action a line, or several with ; between them, ) sends it.
\`events\` prints events as they come, one a line, until it is interrupted or the machine ends.
\`help\` lists the commands of the server, or tells the arguments of one.
\`machines\` lists the machines of the server.

  -s, --socket ADDRESS  path of the server's UNIX socket, HOST:PORT, or a ws:// URL
                        (default: QMEMD_SOCKET, else the demonstration machine of npm start,
                        qmemd/demo.qmp in XDG_RUNTIME_DIR, or qmemd-UID/demo.qmp in TMPDIR or /tmp)
  -m, --machine NAME    this machine of the server at ws://HOST:PORT (default: 127.0.0.1:7710)
      --token-file FILE holds the token that the server asks for over HTTP and WebSocket
      --event NAMES     only these events
      --since SEQ       begin with what came after this \`seq\`; says on stderr what was lost
      --reconnect       events: dial again when the connection is lost, and go on after the last
  -p, --pretty          over several lines: answers in the shell, events; the rest is always so
  -v, --verbose         shell: show each command as it is sent
  -H, --human           lines for the human monitor, such as info pci; printed as plain text
      --help, --version

The shell keeps what is typed in ~/.qmemctl_history, or QMEMCTL_HISTORY (empty: nowhere).
Exit status: 0 done, 1 refused (class and text on stderr), no connection or a lost one, 2 wrong
usage.
`;

const OPTIONS = {
  socket: { type: 'string', short: 's' },
  machine: { type: 'string', short: 'm' },
  'token-file': { type: 'string' },
  event: { type: 'string', multiple: true },
  since: { type: 'string' },
  reconnect: { type: 'boolean' },
  pretty: { type: 'boolean', short: 'p' },
  verbose: { type: 'boolean', short: 'v' },
  human: { type: 'boolean', short: 'H' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
} as const;

type Environment = Readonly<Record<string, string | undefined>>;
type Parsed = ReturnType<typeof parseWords>;
type OptionName = keyof typeof OPTIONS;

/** Options that go with some commands only; COMMAND is any of the server's. */
const ONLY_WITH: readonly (readonly [OptionName, readonly string[]])[] = [
  ['event', ['events']],
  ['since', ['events']],
  ['reconnect', ['events']],
  ['verbose', ['shell']],
  ['human', ['shell', 'COMMAND']],
];
const OWN_COMMANDS: readonly string[] = ['events', 'help', 'machines', 'shell'];

interface Target {
  readonly address: string;
  readonly token: string | undefined;
}
export type Request =
  | (Target & { readonly kind: 'command'; readonly call: Call })
  | (Target & { readonly kind: 'human'; readonly line: string })
  | (Target & { readonly kind: 'help'; readonly about: string | undefined })
  | (Target & {
      readonly kind: 'events';
      readonly names: readonly string[] | undefined;
      readonly since: Since | undefined;
      readonly reconnect: boolean;
      readonly pretty: boolean;
    })
  | (Target & {
      readonly kind: 'shell';
      readonly pretty: boolean;
      readonly verbose: boolean;
      readonly human: boolean;
    })
  | {
      readonly kind: 'machines';
      readonly http: URL | undefined;
      readonly socket: string | undefined;
      readonly token: string | undefined;
    };

/** @throws UsageError */
export const parseWords = (words: readonly string[]) => {
  try {
    return parseArgs({ args: [...words], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    // parseArgs explains itself in several sentences; the first says what is wrong.
    throw new UsageError((error as Error).message.split('. ')[0], { cause: error });
  }
};

const isUrl = (word: string): boolean => /^(?:ws|http)s?:\/\//.test(word);

/** @throws UsageError */
const readSince = (text: string): Since => {
  const [, stream, digits] = /^(?:([^:]+):)?([0-9]{1,19})$/.exec(text) ?? [];
  if (digits === undefined) throw new UsageError(`--since ${text}: not [STREAM:]SEQ`);
  return { stream, sequence: BigInt(digits) };
};

/** @throws UsageError */
const readToken = (path: string | undefined): string | undefined => {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new UsageError(`--token-file: ${(error as Error).message}`, { cause: error });
  }
};

/** @throws UsageError */
const checkOptions = (command: string, values: Parsed['values']): void => {
  // The human monitor has a help of its own.
  const isOwn = OWN_COMMANDS.includes(command) && !(command === 'help' && values.human === true);
  const kind = isOwn ? command : 'COMMAND';
  for (const [name, owners] of ONLY_WITH)
    if (values[name] !== undefined && !owners.includes(kind))
      throw new UsageError(`--${name} goes with ${owners.join(' and ')} only`);
};

/** @throws UsageError */
const noMore = (command: string, words: readonly string[]): void => {
  if (words.length > 0) throw new UsageError(`${command} takes no '${words[0] ?? ''}'`);
};

/** @throws UsageError */
export const readRequest = ({ values, positionals }: Parsed, env: Environment): Request => {
  const words = [...positionals];
  const url = isUrl(words[0] ?? '') ? words.shift() : undefined;
  if (url !== undefined && values.socket !== undefined)
    throw new UsageError('give either -s or a ws:// URL, not both');
  const command = words.shift();
  if (command === undefined) throw new UsageError('a command is missing');
  checkOptions(command, values);
  const given = url ?? values.socket;
  const token = readToken(values['token-file']);
  if (command === 'machines') {
    noMore(command, words);
    if (values.machine !== undefined) throw new UsageError('machines lists all of them: no -m');
    const http = httpAddress(given, env);
    const socket =
      http === undefined ? given : given === undefined ? defaultAddress(env) : undefined;
    return { kind: 'machines', http, socket, token };
  }
  const { pretty = false, verbose = false, human = false, reconnect = false } = values;
  const target = { address: qmpAddress(given, values.machine, env), token };
  if (command === 'events') {
    noMore(command, words);
    const names = values.event?.flatMap((text) => text.split(','));
    const since = values.since === undefined ? undefined : readSince(values.since);
    return { kind: 'events', ...target, names, since, reconnect, pretty };
  }
  if (command === 'shell') {
    noMore(command, words);
    return { kind: 'shell', ...target, pretty, verbose, human };
  }
  if (human) return { kind: 'human', ...target, line: [command, ...words].join(' ') };
  if (command === 'help') {
    const [about, ...more] = words;
    noMore(command, more);
    return { kind: 'help', ...target, about };
  }
  return { kind: 'command', ...target, call: callOfWords([command, ...words]) };
};

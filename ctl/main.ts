import { UsageError } from './arguments.js';
import { CommandError, ConnectionError, QmpClient } from './client.js';
import { watchEvents } from './events.js';
import { askSchema, helpText } from './help.js';
import { connectionHint, hasSizes, sizeHint } from './hints.js';
import { writeJson } from './json.js';
import { parseWords, readRequest, USAGE, type Request } from './request.js';
import { HumanMonitor } from './shell/human.js';

/** qmemctl: one command to a QMP server, its events, or a shell; JSON out, exit status. */

/** What the program touches of the process. */
export interface ProgramIo {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  /** What the shell reads; without it there is nothing to read. */
  readonly input?: NodeJS.ReadableStream;
  /** The terminal when somebody sits at input and output. */
  readonly terminal?: NodeJS.WritableStream | undefined;
  out(text: string): void;
  err(text: string): void;
  /** Ends `events`: nobody reads the output any more, or an interrupt that is caught. */
  readonly done: AbortSignal;
  /** From here on an interrupt does not end the process but sets off `done`. */
  catchInterrupt?(): void;
}

/** What goes to a person, not to a script. */
const noteTo =
  (io: ProgramIo) =>
  (text: string): void =>
    io.err(`qmemctl: ${text}\n`);

type Asked<Kind extends Request['kind']> = Extract<Request, { kind: Kind }>;

const explain = (error: unknown, io: ProgramIo): number => {
  if (error instanceof UsageError) {
    io.err(`qmemctl: ${error.message}\ntry qmemctl --help\n`);
    return 2;
  }
  if (error instanceof CommandError) io.err(`${error.class}: ${error.message}\n`);
  else if (error instanceof ConnectionError) {
    const hint = connectionHint(error, io.env);
    for (const text of [error.message, ...(hint === undefined ? [] : [hint])]) noteTo(io)(text);
  } else throw error;
  return 1;
};

const runCommand = async (request: Asked<'command'>, io: ProgramIo): Promise<number> => {
  const { call } = request;
  const { command, args, isOutOfBand } = call;
  const client = await QmpClient.connect({
    ...request,
    outOfBand: isOutOfBand,
    onNote: noteTo(io),
  });
  try {
    io.out(`${writeJson(await client.execute(command, args, isOutOfBand), 2)}\n`);
    return 0;
  } catch (error) {
    if (!(error instanceof CommandError) || !hasSizes(args)) throw error;
    const status = explain(error, io);
    const schema = await askSchema(client);
    const hint = schema && sizeHint(call, schema);
    if (hint !== undefined) noteTo(io)(hint);
    return status;
  } finally {
    client.close();
  }
};

const runHelp = async (request: Asked<'help'>, io: ProgramIo): Promise<void> => {
  const client = await QmpClient.connect({ ...request, onNote: noteTo(io) });
  try {
    io.out(`${await helpText(request.about, await askSchema(client), client)}\n`);
  } finally {
    client.close();
  }
};

const runHuman = async (request: Asked<'human'>, io: ProgramIo): Promise<void> => {
  const client = await QmpClient.connect({ ...request, onNote: noteTo(io) });
  try {
    const human = new HumanMonitor((command, args) => client.execute(command, args));
    const text = (await human.command(request.line)).replace(/\r\n/g, '\n');
    if (text !== '') io.out(text.endsWith('\n') ? text : `${text}\n`);
  } finally {
    client.close();
  }
};

const runEvents = async (request: Asked<'events'>, io: ProgramIo): Promise<void> => {
  io.catchInterrupt?.();
  await watchEvents({
    ...request,
    done: io.done,
    onEvent: (event) => io.out(`${writeJson(event, request.pretty ? 2 : 0)}\n`),
    onNote: noteTo(io),
  });
};

const serve = async (request: Request, io: ProgramIo): Promise<number> => {
  switch (request.kind) {
    case 'command':
      return runCommand(request, io);
    case 'help':
      await runHelp(request, io);
      return 0;
    case 'human':
      await runHuman(request, io);
      return 0;
    case 'events':
      await runEvents(request, io);
      return 0;
    case 'machines': {
      const { listMachines } = await import('./machines.js');
      io.out(`${writeJson(await listMachines({ ...request, onNote: noteTo(io) }), 2)}\n`);
      return 0;
    }
    case 'shell': {
      const { runShell } = await import('./shell/run.js');
      return runShell(request, io);
    }
  }
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
    return await serve(readRequest(parsed, io.env), io);
  } catch (error) {
    return explain(error, io);
  }
};

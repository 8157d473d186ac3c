import { QmpClient } from '../client.js';
import { historyPath } from '../paths.js';
import { PipeConsole, TerminalConsole, type ShellConsole } from './console.js';
import { History } from './history.js';
import { Shell } from './shell.js';

export interface ShellRequest {
  readonly address: string;
  readonly token: string | undefined;
  readonly pretty: boolean;
  readonly verbose: boolean;
  readonly human: boolean;
}
/** What the shell touches of the process. */
export interface ShellIo {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly input?: NodeJS.ReadableStream;
  /** The terminal when somebody sits at input and output. */
  readonly terminal?: NodeJS.WritableStream | undefined;
  out(text: string): void;
  err(text: string): void;
  /** Nobody reads the output any more. */
  readonly done: AbortSignal;
}

const openTerminal = (
  shell: Shell,
  input: NodeJS.ReadableStream,
  output: NodeJS.WritableStream,
  io: ShellIo,
): ShellConsole => {
  const path = historyPath(io.env);
  const history = path === undefined ? undefined : new History(path, (text) => io.err(`${text}\n`));
  return new TerminalConsole({
    input,
    output,
    history: history?.load() ?? [],
    complete: (line) => shell.complete(line),
    onRemember: (line) => history?.add(line),
  });
};

/**
 * A shell on one connection.
 *
 * @returns the exit status
 * @throws CommandError, ConnectionError when it cannot begin
 */
export const runShell = async (request: ShellRequest, io: ShellIo): Promise<number> => {
  const { input, terminal } = io;
  if (input === undefined) return 0;
  let shell: Shell | undefined;
  const client = await QmpClient.connect({
    ...request,
    outOfBand: true,
    onEvent: (event) => shell?.event(event),
    onNote: (text) => io.err(`qmemctl: ${text}\n`),
  });
  shell = new Shell(client, { ...request, interactive: terminal !== undefined });
  const shellConsole =
    terminal === undefined
      ? new PipeConsole(input, io.out, io.err)
      : openTerminal(shell, input, terminal, io);
  const close = (): void => shellConsole.close();
  io.done.addEventListener('abort', close);
  try {
    return await shell.run(shellConsole);
  } finally {
    io.done.removeEventListener('abort', close);
    close();
    client.close();
  }
};

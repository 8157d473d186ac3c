import { isJsonObject, type JsonObject, type JsonValue } from '../../schema/json.js';
import { UsageError } from '../arguments.js';
import { callOf, type Call } from '../call.js';
import { CommandError, ConnectionError, type QmpClient } from '../client.js';
import { subscribe } from '../events.js';
import { askSchema, helpText, unlessRefused } from '../help.js';
import { hasSizes, sizeHint } from '../hints.js';
import { writeJson } from '../json.js';
import { Completer, type Completion } from './completer.js';
import { INTERRUPT, type ShellConsole } from './console.js';
import { HUMAN_COMMAND, HumanMonitor } from './human.js';
import { LiveIds } from './live-ids.js';
import type { LiveSchema } from './live-schema.js';
import { StatementReader, type Statement } from './statement.js';

export interface ShellOptions {
  /** Answers and events over several lines. */
  readonly pretty: boolean;
  /** Shows each command as it is sent. */
  readonly verbose: boolean;
  /** Every line goes to the human monitor. */
  readonly human: boolean;
  /** Somebody sits there: greets, and learns what completion needs. */
  readonly interactive: boolean;
  readonly address: string;
}

/** How long a Tab may wait for a machine that is busy. */
const COMPLETION_MS = 1000;
/** Commands after which the server may close the connection. */
const ENDING = /^(?:quit|q)$/;

const within = async <T>(ms: number, promise: Promise<T>): Promise<T | undefined> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
};

/** Reads statements, runs them one by one, prints answers and events. */
export class Shell {
  readonly #client: QmpClient;
  readonly #options: ShellOptions;
  readonly #reader = new StatementReader();
  readonly #human: HumanMonitor;
  readonly #ids: LiveIds;
  #console: ShellConsole | undefined;
  #schema: Promise<LiveSchema | undefined> | undefined;
  /** The server closed the connection, for this reason; undefined: it is there. */
  #gone: Error | undefined;
  #isEnding = false;

  constructor(client: QmpClient, options: ShellOptions) {
    this.#client = client;
    this.#options = options;
    this.#human = new HumanMonitor((command, args) => this.#client.execute(command, args));
    this.#ids = new LiveIds((command, args) =>
      within(COMPLETION_MS, unlessRefused(this.#client.execute(command, args))),
    );
  }

  /** Completes the line up to the cursor. */
  async complete(line: string): Promise<Completion> {
    if (this.#options.human) return this.#human.complete(line);
    const schema = await within(COMPLETION_MS, this.#loadSchema());
    if (schema === undefined) return { hits: [], part: '' };
    return new Completer(schema, this.#ids).complete(line, this.#reader.state);
  }

  /** Prints an event where the console is ready for it. */
  event(event: JsonObject): void {
    this.#console?.print(this.#format(event));
  }

  /**
   * Serves the console until its input ends, `exit`, or the server leaves.
   *
   * @returns the exit status
   * @throws CommandError, ConnectionError when it cannot even begin
   */
  async run(console: ShellConsole): Promise<number> {
    this.#console = console;
    await this.#begin(console);
    void this.#client.over().then(() => {
      this.#gone ??= new ConnectionError('the server closed the connection');
      console.close();
    });
    let status: number | undefined;
    while (status === undefined) status = await this.#turn(console);
    console.close();
    return status;
  }

  async #begin(console: ShellConsole): Promise<void> {
    const { human, interactive } = this.#options;
    await unlessRefused(subscribe(this.#client, {}));
    if (human) await this.#checkHuman();
    if (!interactive) return;
    this.#greet(console);
    // In the background: the first Tab waits for it.
    const learning = human ? this.#human.load() : this.#loadSchema();
    learning.catch(() => undefined);
  }

  /** @throws UsageError when there is no human monitor */
  async #checkHuman(): Promise<void> {
    const commands = await this.#client.execute('query-commands');
    const isThere =
      Array.isArray(commands) &&
      commands.some((item) => isJsonObject(item) && item['name'] === HUMAN_COMMAND);
    if (!isThere) throw new ConnectionError(`this server has no human monitor (${HUMAN_COMMAND})`);
  }

  #greet(console: ShellConsole): void {
    const { version } = this.#client.greeting;
    const { qemu, package: name } = isJsonObject(version) ? version : {};
    const { major, minor, micro } = isJsonObject(qemu) ? qemu : {};
    const level = [major, minor, micro].map((part) => String(part ?? '?')).join('.');
    console.note(`Connected to QMP ${level} ${String(name ?? '')} at ${this.#options.address}`);
    console.note('Tab completes, help explains, exit or Ctrl-D leaves; quit ends the machine');
  }

  /** One line. @returns the exit status when it was the last */
  async #turn(console: ShellConsole): Promise<number | undefined> {
    const line = await console.next(this.#prompt());
    if (line === undefined) return this.#finish(console);
    if (line === INTERRUPT) {
      this.#giveUp(console);
      return undefined;
    }
    try {
      if (this.#options.human) return await this.#runHuman(line, console);
      const statement = this.#read(line, console);
      return statement === undefined ? undefined : await this.#runStatement(statement, console);
    } catch (error) {
      if (error instanceof UsageError) console.note(error.message);
      else if (error instanceof ConnectionError) this.#gone = error;
      else throw error;
      return error instanceof ConnectionError ? this.#finish(console) : undefined;
    }
  }

  /** @throws UsageError */
  #read(line: string, console: ShellConsole): Statement | undefined {
    try {
      return this.#reader.push(line);
    } finally {
      if (this.#reader.state === 'start') console.remember(this.#reader.line);
    }
  }

  /** What is not complete is not sent; recalled, it goes on. */
  #giveUp(console: ShellConsole): void {
    if (this.#reader.state !== 'start') console.remember(this.#reader.line);
    this.#reader.cancel();
  }

  #prompt(): string {
    if (this.#options.human) return '(hmp) ';
    return { start: '(qmp) ', more: '... ', transaction: 'trans> ' }[this.#reader.state];
  }

  /** The end of input, or of the server, is in order unless something was not complete. */
  #finish(console: ShellConsole): number {
    if (this.#gone !== undefined) {
      console.note(this.#gone.message);
      return this.#isEnding ? 0 : 1;
    }
    if (this.#options.interactive || this.#reader.state === 'start') return 0;
    console.note('the input ends within a command, which is not sent');
    return 2;
  }

  async #runStatement(statement: Statement, console: ShellConsole): Promise<number | undefined> {
    if (statement.kind === 'call') return this.#call(statement, console);
    const [first = '', ...rest] = statement.words;
    if (first === 'exit' && rest.length === 0) return 0;
    if (first === 'help') return this.#help(rest[0], console);
    return this.#call(callOf(statement.words), console);
  }

  async #call(call: Call, console: ShellConsole): Promise<undefined> {
    const { command, args, isOutOfBand, id } = call;
    this.#isEnding = ENDING.test(command);
    const member = isOutOfBand ? 'exec-oob' : 'execute';
    if (this.#options.verbose) console.print(this.#format({ [member]: command, arguments: args }));
    const answered = this.#answer(call).then(async (answer) => {
      console.print(this.#format(id === undefined ? answer : { ...answer, id }));
      if (!('error' in answer) || !hasSizes(args)) return;
      const schema = await this.#loadSchema();
      const hint = schema && sizeHint(call, schema);
      if (hint !== undefined) console.note(hint);
    });
    await this.#interruptible(answered, console);
  }

  async #answer({ command, args, isOutOfBand }: Call): Promise<JsonObject> {
    try {
      return { return: await this.#client.execute(command, args, isOutOfBand) };
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      return { error: { class: error.class, desc: error.message } };
    }
  }

  async #runHuman(line: string, console: ShellConsole): Promise<number | undefined> {
    if (line.trim() === '') return undefined;
    if (line.trim() === 'exit') return 0;
    console.remember(line);
    this.#isEnding = ENDING.test(line.trim());
    const answered = this.#human.command(line).then(
      (text) => {
        const lines = text.replace(/\r?\n$/, '');
        if (lines !== '') console.print(lines);
      },
      (error: unknown) => {
        if (!(error instanceof CommandError)) throw error;
        console.print(`${error.class}: ${error.message}`);
      },
    );
    await this.#interruptible(answered, console);
    return undefined;
  }

  /** Waits, unless the user will not: the answer is then printed when it comes. */
  async #interruptible(answered: Promise<void>, console: ShellConsole): Promise<void> {
    const interrupted = new Promise<void>((resolve) => {
      console.onInterrupt = () => {
        console.note('(not waiting any longer; the answer is printed when it comes)');
        answered.catch((error: unknown) => console.note((error as Error).message));
        resolve();
      };
    });
    try {
      await Promise.race([answered, interrupted]);
    } finally {
      console.onInterrupt = undefined;
    }
  }

  async #help(command: string | undefined, console: ShellConsole): Promise<undefined> {
    console.print(await helpText(command, await this.#loadSchema(), this.#client));
  }

  #loadSchema(): Promise<LiveSchema | undefined> {
    this.#schema ??= askSchema(this.#client);
    return this.#schema;
  }

  #format(value: JsonValue): string {
    return writeJson(value, this.#options.pretty ? 2 : 0);
  }
}

import type { JsonObject, JsonValue } from '../../schema/json.js';
import type { Completion } from './completer.js';

/** The human monitor behind QMP: `human-monitor-command`. */
export const HUMAN_COMMAND = 'human-monitor-command';

type Run = (command: string, args: JsonObject) => Promise<JsonValue>;

/** First words of the lines of a help text; `c|cont` are two. */
const firstWords = (help: string, before: RegExp): string[] =>
  help
    .split(/\r?\n/)
    .map((line) => before.exec(line)?.[1] ?? '')
    .flatMap((names) => names.split('|'))
    .filter((name) => /^[A-Za-z_]/.test(name));

/** Lines for the human monitor, completed by its own help. */
export class HumanMonitor {
  readonly #run: Run;
  #commands: readonly string[] = [];
  #infos: readonly string[] = [];

  constructor(run: Run) {
    this.#run = run;
  }

  /** @throws CommandError when the monitor refuses to take the line at all */
  async command(line: string): Promise<string> {
    const answer = await this.#run(HUMAN_COMMAND, { 'command-line': line });
    return typeof answer === 'string' ? answer : '';
  }

  /** Learns the commands for completion. */
  async load(): Promise<void> {
    this.#commands = firstWords(await this.command('help'), /^(\S+)/);
    this.#infos = firstWords(await this.command('info'), /^info\s+(\S+)/);
  }

  complete(line: string): Completion {
    const info = /^\s*info\s+(\S*)$/.exec(line)?.[1];
    const part = info ?? /^\s*(\S*)$/.exec(line)?.[1];
    if (part === undefined) return { hits: [], part: '' };
    const names = info === undefined ? this.#commands : this.#infos;
    const hits = [...new Set(names)].filter((name) => name.startsWith(part)).sort();
    return { hits: hits.map((name) => `${name} `), part };
  }
}

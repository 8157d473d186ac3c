import {
  clearScreenDown,
  createInterface,
  cursorTo,
  moveCursor,
  type Interface,
} from 'node:readline';
import type { Completion } from './completer.js';
import { Keys, MARK_NO_PASTES, MARK_PASTES } from './keys.js';

/** The user gave up what is being typed, or waiting for an answer. */
export const INTERRUPT = Symbol('interrupt');

/** Where lines come from and answers go. */
export interface ShellConsole {
  /** Shows the prompt and waits; undefined at the end of input. */
  next(prompt: string): Promise<string | typeof INTERRUPT | undefined>;
  /** Prints lines, also while somebody types. */
  print(text: string): void;
  /** Tells what goes wrong, or how to use the shell: nothing that a script would read. */
  note(text: string): void;
  /** Keeps a line that can be recalled and sent again. */
  remember(line: string): void;
  /** Called on Ctrl-C while no line is asked for. */
  onInterrupt: (() => void) | undefined;
  close(): void;
}

export interface TerminalOptions {
  readonly input: NodeJS.ReadableStream;
  readonly output: NodeJS.WritableStream;
  /** Lines typed before, newest first. */
  readonly history: string[];
  complete(line: string): Promise<Completion>;
  /** Told what is to be remembered from one start to the next. */
  onRemember(line: string): void;
}

/** How many lines can be recalled. */
const MAX_PAST = 1000;
/** What a server says must not steer the terminal. */
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;
const harmless = (text: string): string => text.replace(/\r\n/g, '\n').replace(CONTROL, '?');

/** A person at a terminal: lines are edited, and what is printed appears above them. */
export class TerminalConsole implements ShellConsole {
  onInterrupt: (() => void) | undefined;
  readonly #output: NodeJS.WritableStream;
  readonly #lines: Interface;
  readonly #keys: Keys;
  /** Typed ahead. */
  readonly #queue: string[] = [];
  /** Lines to recall, newest first. */
  #past: string[];
  /** The same, as readline keeps it; undefined until it has shown it. */
  #recalled: string[] | undefined;
  readonly #onRemember: (line: string) => void;
  #waiting: ((line: string | typeof INTERRUPT | undefined) => void) | undefined;
  #isClosed = false;

  constructor({ input, output, history, complete, onRemember }: TerminalOptions) {
    this.#output = output;
    this.#past = [...history];
    this.#onRemember = onRemember;
    this.#keys = new Keys(input);
    output.write(MARK_PASTES);
    this.#lines = createInterface({
      input: this.#keys,
      output,
      terminal: true,
      prompt: '',
      history,
      historySize: Math.max(MAX_PAST, history.length),
      removeHistoryDuplicates: true,
      completer: (
        line: string,
        done: (error: Error | null, found: [string[], string]) => void,
      ): void => {
        const finish = (hits: readonly string[], part: string): void => {
          done(null, [[...hits], part]);
          this.#keys.isCompleting = false;
        };
        this.#keys.isCompleting = true;
        complete(line).then(
          ({ hits, part }) => finish(hits, part),
          () => finish([], line),
        );
      },
    });
    // readline adds every line; what is worth recalling is a statement, which may have several.
    this.#lines.on('history', (recalled) => {
      this.#recalled = recalled;
      this.#showPast();
    });
    this.#lines.on('line', (line) => {
      this.#keys.isLineBusy = true;
      if (this.#waiting === undefined) this.#queue.push(line);
      else this.#give(line);
    });
    this.#lines.on('SIGINT', () => this.#interrupt());
    this.#lines.on('close', () => this.#end());
  }

  next(prompt: string): Promise<string | typeof INTERRUPT | undefined> {
    return new Promise((resolve) => {
      const line = this.#queue.shift();
      if (line !== undefined || this.#isClosed) return resolve(line);
      this.#waiting = resolve;
      this.#lines.setPrompt(prompt);
      this.#lines.prompt(true);
      this.#keys.isLineBusy = false;
    });
  }

  print(text: string): void {
    const lines = `${harmless(text)}\n`;
    if (this.#isClosed) {
      this.#output.write(lines);
      return;
    }
    // The line being typed is wiped, and drawn again below. readline moves up from where it left the
    // cursor, so the cursor goes as many rows down again.
    const { rows } = this.#lines.getCursorPos();
    cursorTo(this.#output, 0);
    moveCursor(this.#output, 0, -rows);
    clearScreenDown(this.#output);
    this.#output.write(lines + '\n'.repeat(rows));
    this.#lines.prompt(true);
  }

  note(text: string): void {
    this.print(text);
  }

  remember(line: string): void {
    if (line.trim() === '') return;
    this.#past = [line, ...this.#past.filter((other) => other !== line)].slice(0, MAX_PAST);
    this.#showPast();
    this.#onRemember(line);
  }

  close(): void {
    this.#lines.close();
  }

  #showPast(): void {
    this.#recalled?.splice(0, Infinity, ...this.#past);
  }

  /** From here on until the next line is asked for nothing stands before what is typed. */
  #give(line: string | typeof INTERRUPT | undefined): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    this.#lines.setPrompt('');
    waiting?.(line);
  }

  #interrupt(): void {
    // As typed: to the end of the line, and away with all before it.
    this.#lines.write(null, { ctrl: true, name: 'e' });
    this.#lines.write(null, { ctrl: true, name: 'u' });
    this.#queue.length = 0;
    if (this.#waiting === undefined) {
      this.onInterrupt?.();
      return;
    }
    this.#give(INTERRUPT);
    // Nothing is left of the prompt: the next one may be another.
    this.#lines.prompt(true);
  }

  #end(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#output.write(MARK_NO_PASTES);
    if (this.#waiting !== undefined) this.#output.write('\n');
    this.#give(undefined);
  }
}

/** A script: lines in, lines out, nothing else on the output. */
export class PipeConsole implements ShellConsole {
  onInterrupt: (() => void) | undefined;
  readonly #lines: Interface;
  readonly #iterator: AsyncIterator<string>;
  readonly #out: (text: string) => void;
  readonly #err: (text: string) => void;
  #isClosed = false;

  constructor(
    input: NodeJS.ReadableStream,
    out: (text: string) => void,
    err: (text: string) => void,
  ) {
    this.#lines = createInterface({ input, terminal: false });
    this.#iterator = this.#lines[Symbol.asyncIterator]();
    this.#out = out;
    this.#err = err;
  }

  async next(): Promise<string | undefined> {
    if (this.#isClosed) return undefined;
    const { done, value } = await this.#iterator.next();
    return done === true ? undefined : value;
  }
  print(text: string): void {
    this.#out(`${text.replace(/\r\n/g, '\n')}\n`);
  }
  note(text: string): void {
    this.#err(`qmemctl: ${text}\n`);
  }
  /** A script is kept elsewhere. */
  remember(): void {}
  close(): void {
    this.#isClosed = true;
    this.#lines.close();
  }
}

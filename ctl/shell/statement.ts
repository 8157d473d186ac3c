import type { JsonObject } from '../../schema/json.js';
import { readArguments, UsageError } from '../arguments.js';
import { callOfJson, type Call } from '../call.js';
import { followBrackets, splitWords } from '../words.js';

/** What a complete statement asks for: words may also be meant for the shell itself. */
export type Statement = Call | { readonly kind: 'words'; readonly words: readonly string[] };

/** `more`: inside brackets; `transaction`: between `transaction(` and `)`. */
export type ReaderState = 'start' | 'more' | 'transaction';

const OPEN = 'transaction(';
/** A word between actions that share a line. */
export const SEPARATOR = ';';

/** The actions of a `transaction( ... )`, one a line. */
class Transaction {
  readonly #actions: JsonObject[] = [];
  #problem: UsageError | undefined;

  add([type, ...words]: readonly string[]): void {
    if (type === undefined) return;
    try {
      const action = Object.create(null) as JsonObject;
      action['type'] = type;
      action['data'] = readArguments(words);
      this.#actions.push(action);
    } catch (error) {
      this.spoil(error);
    }
  }

  /** Notes a slip: what follows is still read as actions, and nothing is sent. */
  spoil(error: unknown): void {
    if (!(error instanceof UsageError)) throw error;
    this.#problem ??= error;
  }

  /** @throws UsageError when any action was wrong: all or nothing */
  finish(): Call {
    if (this.#problem !== undefined)
      throw new UsageError(`the transaction is not sent: ${this.#problem.message}`);
    const args = { actions: this.#actions };
    return { kind: 'call', command: 'transaction', args, isOutOfBand: false };
  }
}

/** Lines -> statements. A statement goes on while brackets are open. */
export class StatementReader {
  #text = '';
  #depth = 0;
  #transaction: Transaction | undefined;
  /** What `line` is made of. */
  #pieces: string[] = [];

  /** The last statement as one line that says the same, as far as it has come: for the history. */
  get line(): string {
    return this.#pieces.join('');
  }

  get state(): ReaderState {
    if (this.#depth > 0) return 'more';
    return this.#transaction === undefined ? 'start' : 'transaction';
  }

  /** Forgets what is not complete. */
  cancel(): void {
    this.#text = '';
    this.#depth = 0;
    this.#transaction = undefined;
  }

  /**
   * Adds a line without its end.
   *
   * @returns the statement that it completes, if it does
   * @throws UsageError when the statement is wrong; the next line begins anew
   */
  push(line: string): Statement | undefined {
    this.#keep(line);
    try {
      return this.#push(line);
    } catch (error) {
      this.#text = '';
      this.#depth = 0;
      if (this.#transaction === undefined) throw error;
      this.#transaction.spoil(error);
      return undefined;
    }
  }

  /** No string goes on in the next line, so blanks at its beginning and end mean nothing. */
  #keep(line: string): void {
    if (this.state === 'start') this.#pieces = [line];
    else if (line.trim() !== '') this.#pieces.push(this.#separator(line.trim()), line.trim());
  }
  #separator(next: string): string {
    const isFirst = this.#pieces.at(-1)?.trimEnd() === OPEN;
    return this.state === 'transaction' && !isFirst && next !== ')' ? ` ${SEPARATOR} ` : ' ';
  }

  #push(line: string): Statement | undefined {
    this.#text += this.#text === '' ? line : `\n${line}`;
    // Inside brackets only the new line is looked at, however long the statement grows.
    if (this.#depth > 0) this.#depth = followBrackets(line, 0, this.#depth).depth;
    if (this.#depth > 0) return undefined;
    const { words, depth } = splitWords(this.#text);
    this.#depth = depth;
    if (depth > 0) return undefined;
    this.#text = '';
    return this.#read(words.map(({ text }) => text));
  }

  #read(words: readonly string[]): Statement | undefined {
    const [first = '', ...rest] = words;
    if (this.#transaction !== undefined) return this.#addActions(this.#transaction, words);
    if (words.length === 0) return undefined;
    if (first === OPEN) return this.#addActions((this.#transaction = new Transaction()), rest);
    if (first.startsWith('{')) return callOfJson(words.join(' '));
    return { kind: 'words', words };
  }

  #addActions(transaction: Transaction, words: readonly string[]): Statement | undefined {
    const ends = words.at(-1) === ')';
    const action: string[] = [];
    for (const word of ends ? words.slice(0, -1) : words) {
      if (word !== SEPARATOR) action.push(word);
      else transaction.add(action.splice(0));
    }
    transaction.add(action);
    if (!ends) return undefined;
    this.#transaction = undefined;
    return transaction.finish();
  }
}

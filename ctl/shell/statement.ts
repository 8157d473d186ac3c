import { isJsonObject, type JsonObject, type JsonValue } from '../../schema/json.js';
import { readArguments, UsageError } from '../arguments.js';
import { parseJson } from '../json.js';
import { followBrackets, splitWords } from './words.js';

/** A command whose arguments are read. */
export interface Call {
  readonly kind: 'call';
  readonly command: string;
  readonly args: JsonObject;
  /** Of a command given as JSON. */
  readonly id?: JsonValue;
}
/** What a complete statement asks for: words may also be meant for the shell itself. */
export type Statement = Call | { readonly kind: 'words'; readonly words: readonly string[] };

/** @throws UsageError when the words behind the command are not key=value */
export const callOf = ([command = '', ...words]: readonly string[]): Call => ({
  kind: 'call',
  command,
  args: readArguments(words),
});

/** `more`: inside brackets; `transaction`: between `transaction(` and `)`. */
export type ReaderState = 'start' | 'more' | 'transaction';

const OPEN = 'transaction(';

/** @throws UsageError */
const readJsonCommand = (text: string): Call => {
  let request: JsonValue;
  try {
    request = parseJson(text);
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
  const { execute, arguments: args = {}, id } = isJsonObject(request) ? request : {};
  if (typeof execute !== 'string') throw new UsageError('a command in JSON needs "execute"');
  if (!isJsonObject(args)) throw new UsageError('"arguments" must be an object');
  const other = Object.keys(request as JsonObject).find(
    (key) => !['execute', 'arguments', 'id'].includes(key),
  );
  if (other !== undefined) throw new UsageError(`"${other}" is not a member of a command`);
  return { kind: 'call', command: execute, args, ...(id === undefined ? {} : { id }) };
};

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
    return { kind: 'call', command: 'transaction', args: { actions: this.#actions } };
  }
}

/** Lines -> statements. A statement goes on while brackets are open. */
export class StatementReader {
  #text = '';
  #depth = 0;
  #transaction: Transaction | undefined;

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
    if (first.startsWith('{')) return readJsonCommand(words.join(' '));
    return { kind: 'words', words };
  }

  #addActions(transaction: Transaction, words: readonly string[]): Statement | undefined {
    const ends = words.at(-1) === ')';
    transaction.add(ends ? words.slice(0, -1) : words);
    if (!ends) return undefined;
    this.#transaction = undefined;
    return transaction.finish();
  }
}

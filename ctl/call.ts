import { isJsonObject, type JsonObject, type JsonValue } from '../schema/json.js';
import { readArguments, UsageError } from './arguments.js';
import { parseJson } from './json.js';
import { splitWords } from './words.js';

/** A command whose arguments are read. */
export interface Call {
  readonly kind: 'call';
  readonly command: string;
  readonly args: JsonObject;
  /** Runs ahead of what waits for its turn: `exec-oob`. */
  readonly isOutOfBand: boolean;
  /** Of a command given as JSON. */
  readonly id?: JsonValue;
}

/**
 * What a closing bracket closes. No command begins with one, and what the server says of it would
 * puzzle.
 */
const CLOSES: Readonly<Record<string, string>> = {
  '}': 'open brace',
  ']': 'open bracket',
  ')': 'transaction(',
};

/** @throws UsageError when the words behind the command are not key=value */
export const callOf = ([command = '', ...words]: readonly string[]): Call => {
  const first = command.slice(0, 1);
  const closed = CLOSES[first];
  if (closed !== undefined) throw new UsageError(`'${first}': there is no ${closed} to close`);
  return { kind: 'call', command, args: readArguments(words), isOutOfBand: false };
};

const MEMBERS: readonly string[] = ['execute', 'exec-oob', 'arguments', 'id'];

/** @throws UsageError */
const parseObject = (text: string): JsonObject => {
  try {
    const value = parseJson(text);
    return isJsonObject(value) ? value : {};
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
};

/**
 * Reads a command written as on the wire.
 *
 * @param text strict JSON: `splitWords` gives strings in single quotes the quotes of JSON
 * @throws UsageError
 */
export const callOfJson = (text: string): Call => {
  const request = parseObject(text);
  const { execute, 'exec-oob': outOfBand, arguments: args = {}, id } = request;
  const command = execute ?? outOfBand;
  if (typeof command !== 'string')
    throw new UsageError('a command in JSON needs "execute" or "exec-oob"');
  if (execute !== undefined && outOfBand !== undefined)
    throw new UsageError('a command in JSON has either "execute" or "exec-oob", not both');
  if (!isJsonObject(args)) throw new UsageError('"arguments" must be an object');
  const other = Object.keys(request).find((key) => !MEMBERS.includes(key));
  if (other !== undefined) throw new UsageError(`"${other}" is not a member of a command`);
  const isOutOfBand = outOfBand !== undefined;
  return { kind: 'call', command, args, isOutOfBand, ...(id === undefined ? {} : { id }) };
};

/**
 * Reads the words of a command line: a command and its key=value, or JSON as on the wire.
 *
 * @throws UsageError
 */
export const callOfWords = (words: readonly string[]): Call => {
  const [first = '', ...rest] = words;
  if (!first.trimStart().startsWith('{')) return callOf(words);
  if (rest.length > 0) throw new UsageError(`a command in JSON takes no '${rest[0] ?? ''}'`);
  return callOfJson(
    splitWords(first)
      .words.map(({ text }) => text)
      .join(' '),
  );
};

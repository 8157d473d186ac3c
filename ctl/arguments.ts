import type { JsonObject, JsonValue } from '../schema/json.js';
import { parseJson } from './json.js';

/** A wrong use of the program. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** A value is JSON when it looks like it and is, else text. */
const readValue = (text: string): JsonValue => {
  if (!/^(?:[{["]|-?[0-9]|true$|false$|null$)/.test(text)) return text;
  try {
    return parseJson(text);
  } catch (error) {
    // What only begins like a number (a UUID, a size with a suffix) is text; a broken structure is
    // a slip that the server could not explain.
    if (/^[{["]/.test(text)) throw new UsageError(`'${text}': ${(error as Error).message}`);
    return text;
  }
};

/** A branch of dotted keys, still open for more of them. */
class Branch {
  readonly items = new Map<string, JsonValue | Branch>();
}

const put = (
  branch: Branch,
  [step = '', ...rest]: readonly string[],
  word: string,
  value: JsonValue,
): void => {
  const there = branch.items.get(step);
  if (rest.length === 0) {
    if (there !== undefined) throw new UsageError(`'${word}' sets something that is set already`);
    branch.items.set(step, value);
    return;
  }
  const next = there ?? new Branch();
  if (!(next instanceof Branch))
    throw new UsageError(`'${word}' sets something that is set already`);
  branch.items.set(step, next);
  put(next, rest, word, value);
};

/** Branches with the keys 0, 1, ... are lists. */
const close = (branch: Branch): JsonObject | JsonValue[] => {
  const items = [...branch.items].map(
    ([key, item]) => [key, item instanceof Branch ? close(item) : item] as const,
  );
  if (items.length > 0 && items.every(([key], index) => key === String(index)))
    return items.map(([, item]) => item);
  const object = Object.create(null) as JsonObject;
  for (const [key, item] of items) object[key] = item;
  return object;
};

/**
 * `key=value` words as the arguments of a command. Dotted keys nest: `a.b=1`, and `a.0=x a.1=y` is a
 * list.
 *
 * @throws UsageError naming the word
 */
export const readArguments = (words: readonly string[]): JsonObject => {
  const root = Object.create(null) as JsonObject;
  const top = new Branch();
  for (const word of words) {
    const equals = word.indexOf('=');
    if (equals < 1) throw new UsageError(`'${word}' is not key=value`);
    const steps = word.slice(0, equals).split('.');
    if (steps.includes('')) throw new UsageError(`'${word}' has an empty part in its key`);
    put(top, steps, word, readValue(word.slice(equals + 1)));
  }
  for (const [key, item] of top.items) root[key] = item instanceof Branch ? close(item) : item;
  return root;
};

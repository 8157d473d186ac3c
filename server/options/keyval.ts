/** The two comma-separated notations of QEMU's command line, `,,` standing for a comma in a value. */

/** A bad option: the message names the option as typed, then what is wrong with it. */
export class CommandLineError extends Error {
  /** What is wrong, without the option. */
  readonly problem: string;
  constructor(origin: string, problem: string) {
    super(`${origin}: ${problem}`);
    this.name = 'CommandLineError';
    this.problem = problem;
  }
}

export type Pair = readonly [key: string, value: string];

/** One `key=value` or bare word, and where the next starts. */
interface Piece {
  readonly key: string | undefined;
  readonly text: string;
  readonly next: number;
}

const readPiece = (text: string, from: number): Piece => {
  const head = /^[^=,]*/.exec(text.slice(from))?.[0] ?? '';
  const hasKey = text[from + head.length] === '=';
  let at = hasKey ? from + head.length + 1 : from;
  let value = '';
  for (;;) {
    const comma = text.indexOf(',', at);
    const end = comma < 0 ? text.length : comma;
    value += text.slice(at, end);
    if (text[end + 1] !== ',' || comma < 0)
      return { key: hasKey ? head : undefined, text: value, next: end + 1 };
    value += ',';
    at = end + 2;
  }
};

const pieces = (text: string): Piece[] => {
  const found: Piece[] = [];
  for (let at = 0; at < text.length; at = found.at(-1)?.next ?? text.length)
    found.push(readPiece(text, at));
  return found;
};

const isHelp = (word: string): boolean => word === 'help' || word === '?';

/**
 * The newer notation with `help` among its words, as `-machine q35,help`.
 *
 * @returns the value of `implied`, '' when there is none; undefined when nobody asks for help
 */
export const helpInKeyval = (text: string, implied: string): string | undefined => {
  const words = pieces(text);
  if (!words.some((word) => word.key === undefined && isHelp(word.text))) return undefined;
  const named = words.findLast(
    ({ key, text: value }, index) =>
      key === implied || (index === 0 && key === undefined && !isHelp(value)),
  );
  return named?.text ?? '';
};

/** The same in the older notation, where `driver=help` asks, too. */
export const helpInOpts = (text: string, implied: string): string | undefined => {
  const pairs = parseOpts(text, implied);
  const named = pairs.findLast(([key]) => key === implied)?.[1] ?? '';
  if (isHelp(named)) return '';
  return pairs.some(([key]) => isHelp(key)) ? named : undefined;
};

/**
 * The older notation (`-device`, `-chardev`, `-m`, ...): the first word without `=` is the value of
 * `implied`; a later one is a switch, `NAME` for on and `noNAME` for off.
 */
export const parseOpts = (text: string, implied?: string): Pair[] =>
  pieces(text).map(({ key, text: value }, index) => {
    if (key !== undefined) return [key, value];
    if (index === 0 && implied !== undefined) return [implied, value];
    return value.startsWith('no') ? [value.slice(2), 'off'] : [value, 'on'];
  });

/**
 * The newer notation (`-machine`, `-object`): as above, without switches.
 *
 * @throws CommandLineError when a key is malformed or has no value
 */
export const parseKeyval = (origin: string, text: string, implied: string): Pair[] =>
  pieces(text).map(({ key, text: value }, index) => {
    if (key === undefined && index === 0) return [implied, value];
    if (key === undefined)
      throw new CommandLineError(origin, `Expected '=' after parameter '${value}'`);
    if (!/^[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_][A-Za-z0-9_-]*)*$/.test(key))
      throw new CommandLineError(origin, `Invalid parameter '${key}'`);
    return [key, value];
  });

/** Reads named values one by one; what nobody asked for is an error. */
export class Parameters {
  readonly #origin: string;
  readonly #values: Map<string, string>;

  /** Of a key given twice the last value counts, as in QEMU. */
  constructor(origin: string, pairs: readonly Pair[]) {
    this.#origin = origin;
    this.#values = new Map(pairs);
  }

  take(key: string): string | undefined {
    const value = this.#values.get(key);
    this.#values.delete(key);
    return value;
  }

  /** @throws CommandLineError when the value is neither on nor off */
  takeBool(key: string): boolean | undefined {
    const value = this.take(key);
    return value === undefined ? undefined : readBool(this.#origin, key, value);
  }

  ignore(keys: readonly string[]): void {
    for (const key of keys) this.#values.delete(key);
  }

  /** @throws CommandLineError naming a parameter that was not taken */
  end(): void {
    for (const key of this.#values.keys())
      throw new CommandLineError(this.#origin, `Invalid parameter '${key}'`);
  }
}

/** @throws CommandLineError when `value` is neither on nor off */
export const readBool = (origin: string, key: string, value: string): boolean => {
  if (['on', 'yes', 'true', 'y'].includes(value)) return true;
  if (['off', 'no', 'false', 'n'].includes(value)) return false;
  throw new CommandLineError(origin, `Parameter '${key}' expects 'on' or 'off'`);
};

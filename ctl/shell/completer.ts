import { UsageError } from '../arguments.js';
import { valuesOfNamedType } from '../own-schema.js';
import type { Entry, LiveIds } from './live-ids.js';
import type { LiveSchema } from './live-schema.js';
import { sourceOf, WITH_PATHS, type Source } from './sources.js';
import { SEPARATOR, type ReaderState } from './statement.js';
import { splitWords } from '../words.js';

/** What may stand for `part`, the end of the line; each is whole and begins with it. */
export interface Completion {
  readonly hits: readonly string[];
  readonly part: string;
}

const NOTHING: Completion = { hits: [], part: '' };
/** Words of the shell itself. */
export const SHELL_WORDS: readonly string[] = ['exit', 'help'];

const fitting = (all: readonly string[], part: string, end: string): Completion => ({
  hits: [...new Set(all)]
    .filter((item) => item.startsWith(part))
    .sort()
    .map((item) => item + end),
  part,
});

/** The words of a line: those that are done, and the one being typed. */
interface Typed {
  readonly command: string;
  readonly done: readonly string[];
  readonly part: string;
}

/** Of several actions in a line the one being typed. */
const lastAction = ({ command, done, part }: Typed): Typed => {
  const words = [command, ...done];
  const [first = '', ...rest] = words.slice(words.lastIndexOf(SEPARATOR) + 1);
  return { command: first, done: rest, part };
};

/** Completes lines by what the running server says of itself. */
export class Completer {
  readonly #schema: LiveSchema;
  readonly #ids: LiveIds;

  constructor(schema: LiveSchema, ids: LiveIds) {
    this.#schema = schema;
    this.#ids = ids;
  }

  /** @param line what stands before the cursor */
  async complete(line: string, state: ReaderState): Promise<Completion> {
    if (state === 'more') return NOTHING;
    const typed = this.#typed(line);
    if (typed === undefined) return NOTHING;
    const { command, done, part } = typed;
    if (state === 'transaction') return this.#completeAction(lastAction(typed));
    if (command === '') return fitting(this.#firstWords(), part, ' ');
    if (command === 'help')
      return done.length === 0 ? fitting(this.#schema.commands(), part, ' ') : NOTHING;
    return part.includes('=') ? this.#completeValue(typed) : this.#completeKey(typed);
  }

  #firstWords(): string[] {
    const names = this.#schema.commands();
    return [...names, ...SHELL_WORDS, ...(names.includes('transaction') ? ['transaction('] : [])];
  }

  /** Undefined inside brackets and quotes. */
  #typed(line: string): Typed | undefined {
    try {
      const { words, depth } = splitWords(line);
      if (depth > 0) return undefined;
      const texts = words.map(({ text }) => text);
      const last = words.at(-1);
      const isDone = last === undefined || /\s$/.test(line);
      // Where quotes were taken away, the word is not what stands in the line.
      if (!isDone && line.slice(last.start) !== last.text) return undefined;
      const part = isDone ? '' : (texts.pop() ?? '');
      const [command = '', ...done] = texts;
      return { command, done, part };
    } catch (error) {
      if (error instanceof UsageError) return undefined;
      throw error;
    }
  }

  #completeAction({ command, done, part }: Typed): Completion {
    if (command === '') {
      const members = this.#schema.argumentsOf('transaction', ['actions', '0'], () => undefined);
      const type = members?.find(({ name }) => name === 'type')?.type ?? '';
      return fitting([...this.#schema.valuesOf(type), ')'], part, ' ');
    }
    const { steps, head, tail } = keyOf(part);
    const given = (path: string): string | undefined =>
      path === 'actions.0.type' ? command : undefined;
    const at = ['actions', '0', 'data', ...steps];
    const [key = '', value] = splitOnce(tail);
    const members = this.#schema.argumentsOf('transaction', at, given) ?? [];
    if (value !== undefined) {
      const type = members.find(({ name }) => name === key)?.type ?? '';
      return fitting(this.#schema.valuesOf(type), value, ' ');
    }
    return fitting(this.#keys(members, head, done), part, '');
  }

  async #completeKey({ command, done, part }: Typed): Promise<Completion> {
    const { steps, head } = keyOf(part);
    const given = givenBy(done);
    const known = this.#schema.argumentsOf(command, steps, given) ?? [];
    const keys = this.#keys(known, head, done);
    const driver = given('driver');
    if (command === 'device_add' && driver !== undefined && head === '') {
      const properties = await this.#ids.driverProperties(driver);
      keys.push(...this.#keys(properties.map(untyped), '', done));
    }
    return fitting(keys, part, '');
  }

  /** Keys that are not given yet: `name=`, or `name.` where only parts of it have keys. */
  #keys(
    members: readonly { readonly name: string; readonly type: string }[],
    head: string,
    done: readonly string[],
  ): string[] {
    return members
      .filter(({ name }) => !done.some((word) => word.startsWith(`${head}${name}=`)))
      .map(({ name, type }) => `${head}${name}${this.#schema.isNested(type) ? '.' : '='}`);
  }

  async #completeValue({ command, done, part }: Typed): Promise<Completion> {
    const [path = '', value = ''] = splitOnce(part);
    const { steps, tail: key } = keyOf(path);
    const given = givenBy(done);
    const members = this.#schema.argumentsOf(command, steps, given) ?? [];
    const type = members.find(({ name }) => name === key)?.type ?? '';
    const values = this.#schema.valuesOf(type);
    if (values.length > 0) return fitting(values, value, ' ');
    if (steps[0] === 'events') return fitting(this.#schema.events(), value, ' ');
    const source = sourceOf(command, path) ?? 'text';
    if (WITH_PATHS.has(source) && value.startsWith('/'))
      return fitting(await this.#ids.paths(value), value, '');
    return fitting(await this.#named(source, command, key, given), value, ' ');
  }

  async #named(
    source: Source,
    command: string,
    key: string,
    given: (key: string) => string | undefined,
  ): Promise<readonly string[]> {
    if (source === 'text') return this.#valuesOfProperty(command, key, given);
    if (source !== 'properties') return this.#ids.named(source);
    return (await this.#ids.properties(given('path') ?? '/machine')).map(({ name }) => name);
  }

  /** Where `key` is a property of an object or of a new device: the values of its type. */
  async #valuesOfProperty(
    command: string,
    key: string,
    given: (key: string) => string | undefined,
  ): Promise<readonly string[]> {
    const [path, driver] = [given('path'), given('driver')];
    const isOf = (property: string | undefined) => (entry: Entry) => entry.name === property;
    let type: string | undefined;
    if (command === 'qom-set' && key === 'value' && path !== undefined)
      type = (await this.#ids.properties(path)).find(isOf(given('property')))?.type;
    if (command === 'device_add' && driver !== undefined)
      type = (await this.#ids.driverProperties(driver)).find(isOf(key))?.type;
    return type === undefined ? [] : valuesOfNamedType(type);
  }
}

/** Types of properties are told by name, which says nothing about keys. */
const untyped = ({ name }: { readonly name: string }) => ({ name, type: '' });

const splitOnce = (text: string): [string, string | undefined] => {
  const equals = text.indexOf('=');
  return equals < 0 ? [text, undefined] : [text.slice(0, equals), text.slice(equals + 1)];
};

/** `a.b.c` -> steps a, b; head `a.b.`; tail c. */
const keyOf = (word: string): { steps: string[]; head: string; tail: string } => {
  const [key, value] = splitOnce(word);
  const steps = key.split('.');
  const last = steps.pop() ?? '';
  const head = steps.map((step) => `${step}.`).join('');
  return { steps, head, tail: value === undefined ? last : `${last}=${value}` };
};

const givenBy =
  (words: readonly string[]) =>
  (key: string): string | undefined =>
    words.find((word) => word.startsWith(`${key}=`))?.slice(key.length + 1);

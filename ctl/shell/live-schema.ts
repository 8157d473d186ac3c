import { isJsonObject, type JsonObject, type JsonValue } from '../../schema/json.js';

/** A member of an argument list, as the running server has it. */
export interface Member {
  readonly name: string;
  /** Name of its type: masked, so it says nothing to people. */
  readonly type: string;
  readonly optional: boolean;
}
/** What keys of one level have been given: the tag among them decides which members there are. */
export type Given = (key: string) => string | undefined;

const objects = (value: JsonValue | undefined): JsonObject[] =>
  Array.isArray(value) ? value.filter(isJsonObject) : [];
const text = (value: JsonValue | undefined): string => (typeof value === 'string' ? value : '');
const texts = (value: JsonValue | undefined): string[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];

/** What `query-qmp-schema` returned, for looking things up. */
export class LiveSchema {
  readonly #entities = new Map<string, JsonObject>();

  constructor(answer: JsonValue) {
    for (const entity of objects(answer))
      this.#entities.set(`${text(entity['meta-type'])} ${text(entity['name'])}`, entity);
  }

  /** A server without introspection: names only, of `query-commands`. */
  static ofCommands(answer: JsonValue): LiveSchema {
    return new LiveSchema(
      objects(answer).map((item) => ({ ...item, 'meta-type': 'command', 'arg-type': '' })),
    );
  }

  #names(metaType: string): string[] {
    return [...this.#entities.values()]
      .filter((entity) => entity['meta-type'] === metaType)
      .map((entity) => text(entity['name']))
      .sort();
  }
  commands(): string[] {
    return this.#names('command');
  }
  events(): string[] {
    return this.#names('event');
  }

  /** Members of a command's arguments at the level that `steps` lead to, undefined when unknown. */
  argumentsOf(
    command: string,
    steps: readonly string[],
    given: (path: string) => string | undefined,
  ): Member[] | undefined {
    let type = text(this.#entities.get(`command ${command}`)?.['arg-type']);
    let path = '';
    for (const step of steps) {
      const at = path;
      const next = this.#step(type, step, (key) => given(`${at}${key}`));
      if (next === undefined) return undefined;
      type = next;
      path += `${step}.`;
    }
    return this.membersOf(type, (key) => given(`${path}${key}`));
  }

  #step(type: string, step: string, given: Given): string | undefined {
    const array = this.#entities.get(`array ${type}`);
    if (array !== undefined) return /^[0-9]+$/.test(step) ? text(array['element-type']) : undefined;
    return this.membersOf(type, given)?.find(({ name }) => name === step)?.type;
  }

  /** Members of an object type, with those of the variant that is chosen. */
  membersOf(type: string, given: Given): Member[] | undefined {
    const entity = this.#entities.get(`object ${type}`);
    if (entity === undefined) return undefined;
    const members = objects(entity['members']).map((member) => ({
      name: text(member['name']),
      type: text(member['type']),
      optional: 'default' in member,
    }));
    const chosen = given(text(entity['tag']));
    const variant = objects(entity['variants']).find((item) => text(item['case']) === chosen);
    if (variant === undefined) return members;
    return [...members, ...(this.membersOf(text(variant['type']), () => undefined) ?? [])];
  }

  /** Whether values of the type are objects or lists, whose parts have dotted keys. */
  isNested(type: string): boolean {
    return this.#entities.has(`object ${type}`) || this.#entities.has(`array ${type}`);
  }
  isInteger(type: string): boolean {
    return this.#entities.get(`builtin ${type}`)?.['json-type'] === 'int';
  }

  /** Values of an enumeration or of a boolean, also as alternatives; none for other types. */
  valuesOf(type: string): string[] {
    const enumeration = this.#entities.get(`enum ${type}`);
    if (enumeration !== undefined) return texts(enumeration['values']);
    const alternatives = objects(this.#entities.get(`alternate ${type}`)?.['members']);
    if (alternatives.length > 0)
      return alternatives.flatMap((member) => this.valuesOf(text(member['type'])));
    const isBoolean = this.#entities.get(`builtin ${type}`)?.['json-type'] === 'boolean';
    return isBoolean ? ['false', 'true'] : [];
  }

  /** What sort of value people give for the type. */
  describe(type: string): string {
    const values = this.valuesOf(type);
    if (values.length > 0) return values.join('|');
    const array = this.#entities.get(`array ${type}`);
    if (array !== undefined) return `[${this.describe(text(array['element-type']))}, ...]`;
    if (this.#entities.has(`object ${type}`)) return '{...}';
    return text(this.#entities.get(`builtin ${type}`)?.['json-type']) || 'value';
  }

  /** How a command is called: `name key=TYPE [key=TYPE]`; undefined when there is no such command. */
  usage(command: string): string | undefined {
    const entity = this.#entities.get(`command ${command}`);
    if (entity === undefined) return undefined;
    const members = this.membersOf(text(entity['arg-type']), () => undefined) ?? [];
    const parts = members.map(({ name, type, optional }) => {
      const part = `${name}=${this.describe(type)}`;
      return optional ? `[${part}]` : part;
    });
    return [command, ...parts].join(' ');
  }
}

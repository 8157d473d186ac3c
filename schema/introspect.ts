import type {
  CommandDef,
  EventDef,
  Feature,
  Infer,
  Member,
  Members,
  Type,
  UnionType,
} from './lang.js';
import type { SchemaInfo as SchemaInfoType } from './schema-info.js';

/**
 * The answer of `query-qmp-schema`, computed from the schema modules.
 *
 * @see reference/qmp-protocol.md §7
 */

export type SchemaInfo = Infer<typeof SchemaInfoType>;
/** A module of the schema: what it exports. Everything but commands and events is passed over. */
export type SchemaModule = Readonly<Record<string, unknown>>;
export type Definition = CommandDef | EventDef;

const isDefinition = (value: unknown): value is Definition => {
  const kind = (value as { kind?: unknown } | null | undefined)?.kind;
  return kind === 'command' || kind === 'event';
};

/** Commands and events of all modules, in the order of the modules and of their exports. */
export const definitions = (modules: readonly SchemaModule[]): Definition[] =>
  modules.flatMap((module) => Object.values(module).filter(isDefinition));

type Features = readonly Feature[] | undefined;
/** Types that are described by their kind; objects are described by their members. */
type Described = Exclude<Type, { kind: 'object' | 'lazy' }>;
/** Types that have an entry of their own, by what they are known under. */
type Entry =
  | { readonly kind: 'members'; readonly members: Members; readonly features: Features }
  | { readonly kind: 'type'; readonly type: Described };

const JSON_TYPE = {
  str: 'string',
  number: 'number',
  int: 'int',
  bool: 'boolean',
  null: 'null',
  any: 'value',
} as const;
const isBuiltin = (type: Type): type is Extract<Type, { kind: keyof typeof JSON_TYPE }> =>
  type.kind in JSON_TYPE;

const featuresOf = (features: Features): { features?: string[] } =>
  features === undefined || features.length === 0 ? {} : { features: [...features] };
const resolve = (type: Type): Exclude<Type, { kind: 'lazy' }> =>
  type.kind === 'lazy' ? resolve(type.get()) : type;
/** Features of a member are written on types without a name; named types keep their own. */
const hasName = (type: Type): boolean => !isBuiltin(type) && type.kind !== 'array';
const isUnion = (args: Members | UnionType): args is UnionType =>
  (args as UnionType).kind === 'union';

const isEmpty = (members: Members): boolean => Object.keys(members).length === 0;

class Introspection {
  /** Masked names: named types by their name, implicit objects by identity. */
  readonly #masked = new Map<unknown, string>();
  /** Names that were referred to, and thus described or in `#queue`. */
  readonly #seen = new Set<string>();
  readonly #queue: { name: string; entry: Entry }[] = [];
  readonly #out: SchemaInfo[] = [];

  run(all: readonly Definition[]): SchemaInfo[] {
    for (const definition of all) this.#out.push(this.#definition(definition));
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift())
      this.#out.push(this.#describe(next.name, next.entry));
    return this.#out;
  }

  #definition(definition: Definition): SchemaInfo {
    const head = { name: definition.name, 'meta-type': definition.kind };
    const features = featuresOf(definition.features);
    if (definition.kind === 'event')
      return { ...head, 'arg-type': this.#members(definition.data), ...features };
    const args: Members | UnionType = definition.args;
    return {
      ...head,
      'arg-type': isUnion(args) ? this.#type(args) : this.#members(args),
      'ret-type':
        definition.returns === undefined ? this.#members({}) : this.#type(definition.returns),
      ...(definition.allowOob === true ? { 'allow-oob': true } : {}),
      ...features,
    };
  }

  /** Name of a type, queued for description on its first use; an array comes before its element. */
  #type(given: Type): string {
    const type = resolve(given);
    if (type.kind === 'object') return this.#members(type.members, type);
    const name = this.#use(this.#nameOf(type), { kind: 'type', type });
    if (type.kind === 'array') this.#type(type.item);
    return name;
  }

  #nameOf(given: Type): string {
    const type = resolve(given);
    if (isBuiltin(type)) return type.kind;
    if (type.kind === 'array') return `[${this.#nameOf(type.item)}]`;
    return this.#mask(type.kind === 'object' && isEmpty(type.members) ? '' : type.name);
  }

  /** Name of an object type; all without members are one and the same. */
  #members(members: Members, type?: { name: string; features?: Features }): string {
    const masked = this.#mask(isEmpty(members) ? '' : (type?.name ?? members));
    return this.#use(masked, { kind: 'members', members, features: type?.features });
  }

  #use(name: string, entry: Entry): string {
    if (!this.#seen.has(name)) this.#queue.push({ name, entry });
    this.#seen.add(name);
    return name;
  }

  #mask(key: unknown): string {
    const known = this.#masked.get(key);
    if (known !== undefined) return known;
    const name = String(this.#masked.size);
    this.#masked.set(key, name);
    return name;
  }

  #describe(name: string, entry: Entry): SchemaInfo {
    if (entry.kind === 'type') {
      const features = hasName(entry.type) ? featuresOf(entry.type.features) : {};
      return { ...this.#describeType(name, entry.type), ...features };
    }
    const members = this.#memberList(entry.members);
    return { name, 'meta-type': 'object', members, ...featuresOf(entry.features) };
  }

  #describeType(name: string, type: Described): SchemaInfo {
    if (isBuiltin(type)) return { name, 'meta-type': 'builtin', 'json-type': JSON_TYPE[type.kind] };
    switch (type.kind) {
      case 'array':
        return { name, 'meta-type': 'array', 'element-type': this.#type(type.item) };
      case 'enum':
        return this.#enum(name, type);
      case 'union':
        return this.#union(name, type);
      case 'alternate': {
        const members = Object.values(type.branches).map((branch) => ({
          type: this.#type(branch),
        }));
        return { name, 'meta-type': 'alternate', members };
      }
    }
  }

  #memberList(members: Members) {
    return Object.entries(members).map(([name, member]: [string, Member]) => {
      const type = member.kind === 'opt' ? member.type : member;
      return {
        name,
        type: this.#type(type),
        ...(member.kind === 'opt' ? { default: null } : {}),
        ...(hasName(type) ? {} : featuresOf(type.features)),
      };
    });
  }

  #enum(name: string, type: Extract<Type, { kind: 'enum' }>): SchemaInfo {
    const members = type.values.map((value) => ({
      name: value,
      ...featuresOf(type.valueFeatures?.[value]),
    }));
    return { name, 'meta-type': 'enum', members, values: [...type.values] };
  }

  /** Explicit branches first, then the empty ones, each in its source order. */
  #union(name: string, type: UnionType): SchemaInfo {
    const members = this.#memberList(type.base);
    const tag = type.base[type.discriminator];
    const values = tag?.kind === 'enum' ? tag.values : [];
    const empty = values.filter((value) => !(value in type.branches));
    const variants = [
      ...Object.entries(type.branches).map(([value, branch]) => ({
        case: value,
        type: this.#type(branch),
      })),
      ...empty.map((value) => ({ case: value, type: this.#members({}) })),
    ];
    return { name, 'meta-type': 'object', members, tag: type.discriminator, variants };
  }
}

/** Describes every command and event of `modules` and all types that they refer to. */
export const introspect = (modules: readonly SchemaModule[]): SchemaInfo[] =>
  new Introspection().run(definitions(modules));

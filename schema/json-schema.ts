import type { AlternateType, Member, Members, Type, UnionType } from './lang.js';

/** Schema types -> JSON schema with the keywords `qapiInt` and `qapiKinds` of validate.ts. */

/** A JSON schema; nothing here looks inside. */
type JsonSchema = Record<string, unknown>;

/** JSON kind of a value, the two number kinds of framing being one. */
export const kindOf = (value: unknown): string => {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return typeof value === 'bigint' ? 'number' : typeof value;
};
export const kindOfType = (type: Type): string => {
  switch (type.kind) {
    case 'int':
    case 'number':
      return 'number';
    case 'str':
    case 'enum':
      return 'string';
    case 'bool':
      return 'boolean';
    case 'object':
    case 'union':
      return 'object';
    case 'lazy':
      return kindOfType(type.get());
    case 'null':
    case 'array':
    case 'any':
    case 'alternate':
      return type.kind;
  }
};

/** Kinds that an alternate takes, and its name for the error. */
export interface Kinds {
  readonly kinds: readonly string[];
  readonly name: string;
}

/** Translates schema types to JSON schema in QAPI's order of checks. */
export class SchemaWriter {
  readonly #names = new Map<Type, string>();
  /** Definitions that `lazy` types refer to, to be registered before compiling. */
  readonly pending: { id: string; schema: JsonSchema }[] = [];

  write(type: Type): JsonSchema {
    switch (type.kind) {
      case 'int':
        return { qapiInt: type.width };
      case 'number':
        return { qapiInt: 'number' };
      case 'str':
        return { type: 'string' };
      case 'bool':
        return { type: 'boolean' };
      case 'null':
        return { type: 'null' };
      case 'any':
        return {};
      case 'enum':
        return { type: 'string', enum: [...type.values] };
      case 'array':
        return { type: 'array', items: this.write(type.item) };
      case 'object':
        return this.members(type.members);
      case 'union':
        return this.#union(type);
      case 'alternate':
        return this.#alternate(type);
      case 'lazy':
        return this.#reference(type.get());
    }
  }

  /** One `allOf` entry for each member: ajv stops at the first that fails, as QAPI does. */
  members(members: Members): JsonSchema {
    return { type: 'object', allOf: this.#each(members), ...onlyThese(Object.keys(members)) };
  }

  #each(members: Members): JsonSchema[] {
    return Object.entries(members).map(([name, member]) => this.#member(name, member));
  }

  #member(name: string, member: Member): JsonSchema {
    if (member.kind === 'opt') return { properties: { [name]: this.write(member.type) } };
    return { required: [name], properties: { [name]: this.write(member) } };
  }

  /** The base of a union alone: what else there is belongs to a branch. */
  base(type: UnionType): JsonSchema {
    // `properties` makes ajv report a wrong kind after `allOf`, which passes over other kinds.
    return { type: 'object', allOf: this.#each(type.base), properties: {} };
  }

  /** The members that the value `tag` of the discriminator brings, and no others but the base. */
  branch(type: UnionType, tag: string): JsonSchema {
    const members = type.branches[tag]?.members ?? {};
    const names = [...Object.keys(type.base), ...Object.keys(members)];
    return { type: 'object', allOf: this.#each(members), ...onlyThese(names) };
  }

  #union(type: UnionType): JsonSchema {
    const discriminator = type.base[type.discriminator];
    if (discriminator?.kind !== 'enum') throw new TypeError(`${type.name} has no enum tag`);
    const base = this.base(type);
    const branches = discriminator.values.map((value) => ({
      if: { type: 'object', properties: { [type.discriminator]: { const: value } } },
      then: this.branch(type, value),
    }));
    return { ...base, allOf: [...this.#each(type.base), ...branches] };
  }

  #alternate(type: AlternateType): JsonSchema {
    const branches = Object.values(type.branches);
    const check = (kinds: string[]) => ({ qapiKinds: { kinds, name: type.name } });
    return {
      allOf: [
        check(branches.map(kindOfType)),
        ...branches.map((branch) => ({
          if: check([kindOfType(branch)]),
          then: this.write(branch),
        })),
      ],
    };
  }

  #reference(type: Type): JsonSchema {
    const known = this.#names.get(type);
    if (known !== undefined) return { $ref: known };
    const id = `lazy-${String(this.#names.size)}`;
    this.#names.set(type, id);
    this.pending.push({ id, schema: this.write(type) });
    return { $ref: id };
  }
}

const onlyThese = (names: readonly string[]): JsonSchema => ({
  properties: Object.fromEntries(names.map((name) => [name, true])),
  additionalProperties: false,
});

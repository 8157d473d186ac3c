import type { Definition } from '../schema/introspect.js';
import type { Member, Members, Type, UnionType } from '../schema/lang.js';

/** What the schema that qmemctl comes with says of commands and types; loaded on its first use. */

/** A command or an argument, in words. */
export interface Words {
  readonly doc: string;
  readonly args: ReadonlyMap<string, string>;
}

const load = async () => (await import('../schema/index.js')).modules;
const typeOf = (member: Member): Type => (member.kind === 'opt' ? member.type : member);
const isUnion = (args: Members | UnionType): args is UnionType =>
  (args as UnionType).kind === 'union';
const isNamed = (value: unknown, kind: string, name: string): boolean => {
  const { kind: found, name: own } = (value ?? {}) as { kind?: unknown; name?: unknown };
  return found === kind && own === name;
};

/** @returns undefined for a command that is not qmemd's */
export const wordsOf = async (command: string): Promise<Words | undefined> => {
  const all = (await load()).flatMap((module) => Object.values(module));
  const found = all.find((value) => isNamed(value, 'command', command)) as Definition | undefined;
  if (found?.kind !== 'command') return undefined;
  const given: Members | UnionType = found.args;
  const args = isUnion(given) ? given.base : given;
  const words = Object.entries(args).map(([name, member]) => [name, typeOf(member).doc] as const);
  return { doc: found.doc, args: new Map(words) };
};

/** Values of a boolean or of an enumeration, by the name of its type; none for other types. */
export const valuesOfNamedType = async (type: string): Promise<readonly string[]> => {
  if (type === 'bool') return ['false', 'true'];
  const all = (await load()).flatMap((module) => Object.values(module));
  const found = all.find((value) => isNamed(value, 'enum', type));
  return (found as { values?: readonly string[] } | undefined)?.values ?? [];
};

/** An entry of `query-qmp-schema`, with the members that this comparison reads. */
export interface Entity {
  readonly name: string;
  readonly 'meta-type': string;
  readonly 'arg-type'?: string;
  readonly 'ret-type'?: string;
  readonly 'allow-oob'?: boolean;
  readonly 'element-type'?: string;
  readonly values?: readonly string[];
  readonly members?: readonly {
    readonly name?: string;
    readonly type?: string;
    readonly default?: unknown;
  }[];
  readonly tag?: string;
  readonly variants?: readonly { readonly case: string; readonly type: string }[];
}
type Schema = ReadonlyMap<string, Entity>;

/** Walks the types of two schemas side by side; names of types mean nothing, structure does. */
class Comparison {
  readonly found: string[] = [];
  readonly #left: Schema;
  readonly #right: Schema;
  /** Pairs that are being, or were, compared: types may contain themselves. */
  readonly #seen = new Set<string>();

  constructor(left: Schema, right: Schema) {
    this.#left = left;
    this.#right = right;
  }

  types(path: string, leftName: string | undefined, rightName: string | undefined): void {
    const left = this.#left.get(leftName ?? '');
    const right = this.#right.get(rightName ?? '');
    if (left === undefined || right === undefined) {
      if (left !== right) this.#note(path, left?.['meta-type'], right?.['meta-type']);
      return;
    }
    const pair = `${left.name} ${right.name}`;
    if (this.#seen.has(pair) && left['meta-type'] !== 'builtin') return;
    this.#seen.add(pair);
    if (left['meta-type'] !== right['meta-type']) {
      this.#note(path, left['meta-type'], right['meta-type']);
      return;
    }
    if (left['meta-type'] === 'builtin' && left.name !== right.name)
      this.#note(path, left.name, right.name);
    if (left['meta-type'] === 'array')
      this.types(`${path}[]`, left['element-type'], right['element-type']);
    this.#values(path, left, right);
    this.#members(path, left, right);
    this.#variants(path, left, right);
  }

  #note(path: string, left: unknown, right: unknown): void {
    this.found.push(
      `${path}: QEMU ${String(left ?? 'absent')}, qmemd ${String(right ?? 'absent')}`,
    );
  }
  #values(path: string, left: Entity, right: Entity): void {
    const [ours, theirs] = [new Set(right.values), new Set(left.values)];
    for (const value of theirs)
      if (!ours.has(value)) this.#note(`${path}=${value}`, 'has it', undefined);
    for (const value of ours)
      if (!theirs.has(value)) this.#note(`${path}=${value}`, undefined, 'has it');
  }
  #members(path: string, left: Entity, right: Entity): void {
    // The branches of an alternate have no names; the members of an enumeration are its values.
    if (left['meta-type'] !== 'object') return;
    const ours = new Map(right.members?.map((member) => [member.name, member]));
    const theirs = new Map(left.members?.map((member) => [member.name, member]));
    for (const name of new Set([...theirs.keys(), ...ours.keys()])) {
      const [a, b] = [theirs.get(name), ours.get(name)];
      const at = `${path}.${name ?? ''}`;
      if (a === undefined || b === undefined) {
        this.#note(at, a && optionality(a), b && optionality(b));
        continue;
      }
      if (optionality(a) !== optionality(b)) this.#note(at, optionality(a), optionality(b));
      this.types(at, a.type, b.type);
    }
  }
  #variants(path: string, left: Entity, right: Entity): void {
    if (left.tag !== right.tag) this.#note(`${path} tag`, left.tag, right.tag);
    const ours = new Map(right.variants?.map((variant) => [variant.case, variant.type]));
    for (const { case: name, type } of left.variants ?? [])
      if (ours.has(name)) this.types(`${path}<${name}>`, type, ours.get(name));
  }
}

const optionality = (member: object): string => ('default' in member ? 'optional' : 'required');

/**
 * What the two say differently about the commands and events that both have, one line each.
 *
 * @returns also how many there are
 */
export const schemaDifferences = (
  left: Schema,
  right: Schema,
): { readonly shared: number; readonly found: readonly string[] } => {
  const found: string[] = [];
  let shared = 0;
  for (const entity of left.values()) {
    const other = right.get(entity.name);
    const kind = entity['meta-type'];
    if ((kind !== 'command' && kind !== 'event') || other?.['meta-type'] !== kind) continue;
    shared++;
    // A comparison of its own for each, so that every path is complete.
    const comparison = new Comparison(left, right);
    comparison.types(entity.name, entity['arg-type'], other['arg-type']);
    comparison.types(`${entity.name} ->`, entity['ret-type'], other['ret-type']);
    found.push(...comparison.found);
    if (entity['allow-oob'] !== other['allow-oob']) found.push(`${entity.name}: allow-oob`);
  }
  return { shared, found };
};

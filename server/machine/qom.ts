import type { JsonValue } from '../../schema/json.js';
import { deviceNotFound, refused } from '../../schema/error.js';

/**
 * The QOM tree of one machine: objects with typed properties, children and links.
 *
 * @see reference/pci-and-memory-devices.md §5
 */
export interface QomProperty {
  readonly type: string;
  readonly description?: string;
  /** Absent: not readable. */
  readonly get?: () => JsonValue;
  /** Absent: not writable. @throws QmpError with the property's own rule */
  readonly set?: (value: JsonValue) => void;
  /** For links: the object pointed to, so that paths can go through it. */
  readonly target?: () => QomObject | undefined;
}

export class QomObject {
  readonly typeName: string;
  /** What the object stands for: a device, a bus, a backend; undefined for containers. */
  readonly instance: unknown;
  #parent: QomObject | undefined;
  #name = '';
  readonly #children = new Map<string, QomObject>();
  readonly #properties = new Map<string, QomProperty>();

  constructor(typeName: string, instance?: unknown) {
    this.typeName = typeName;
    this.instance = instance;
  }

  get name(): string {
    return this.#name;
  }
  get parent(): QomObject | undefined {
    return this.#parent;
  }
  /** Canonical path; `/` for the root. */
  get path(): string {
    if (this.#parent === undefined) return '/';
    const above = this.#parent.path;
    return above === '/' ? `/${this.#name}` : `${above}/${this.#name}`;
  }
  get children(): ReadonlyMap<string, QomObject> {
    return this.#children;
  }

  /** Adds `child` under `name`. @throws QmpError when the name is taken */
  addChild(name: string, child: QomObject): QomObject {
    if (name === 'type' || this.#children.has(name) || this.#properties.has(name))
      throw refused(
        `attempt to add duplicate property '${name}' to object (type '${this.typeName}')`,
      );
    child.#parent = this;
    child.#name = name;
    this.#children.set(name, child);
    return child;
  }
  /** Takes this object out of the tree. */
  unparent(): void {
    if (this.#parent !== undefined) this.#parent.#children.delete(this.#name);
    this.#parent = undefined;
  }
  addProperty(name: string, property: QomProperty): void {
    this.#properties.set(name, property);
  }
  removeProperty(name: string): void {
    this.#properties.delete(name);
  }
  /** Own properties hide children of the same name, such as a bus named `realized`. */
  property(name: string): QomProperty | undefined {
    if (name === 'type') return { type: 'string', get: () => this.typeName };
    const own = this.#properties.get(name);
    const child = this.#children.get(name);
    if (own !== undefined || child === undefined) return own;
    return { type: `child<${child.typeName}>`, get: () => child.path, target: () => child };
  }
  /** `type` first, then properties and children in order of creation. */
  list(): { name: string; type: string }[] {
    return [
      { name: 'type', type: 'string' },
      ...[...this.#properties].map(([name, { type }]) => ({ name, type })),
      ...[...this.#children].map(([name, child]) => ({ name, type: `child<${child.typeName}>` })),
    ];
  }

  /** @throws QmpError when the property is missing or not readable */
  get(name: string): JsonValue {
    const property = this.#find(name);
    if (property.get === undefined)
      throw refused(`Property '${this.typeName}.${name}' is not readable`);
    return property.get();
  }
  /** @throws QmpError when the property is missing, not writable or refuses the value */
  set(name: string, value: JsonValue): void {
    const property = this.#find(name);
    if (property.set === undefined)
      throw refused(`Property '${this.typeName}.${name}' is not writable`);
    property.set(value);
  }
  #find(name: string): QomProperty {
    const property = this.property(name);
    if (property === undefined) throw refused(`Property '${this.typeName}.${name}' not found`);
    return property;
  }

  /** Follows children and links. */
  walk(parts: readonly string[]): QomObject | undefined {
    let at: QomObject | undefined = this as QomObject;
    for (const part of parts) at = at?.property(part)?.target?.();
    return at;
  }
}

const partsOf = (path: string): string[] => path.split('/').filter((part) => part !== '');

/** Every object at or below `from` from which `parts` leads to an object that `accepts` takes. */
const partialMatches = (
  from: QomObject,
  parts: readonly string[],
  accepts: (object: QomObject) => boolean,
): Set<QomObject> => {
  const found = new Set<QomObject>();
  const visit = (at: QomObject): void => {
    const hit = at.walk(parts);
    if (hit !== undefined && accepts(hit)) found.add(hit);
    for (const child of at.children.values()) visit(child);
  };
  visit(from);
  return found;
};

export type Resolution =
  | { readonly kind: 'found'; readonly object: QomObject }
  | { readonly kind: 'missing' }
  | { readonly kind: 'ambiguous' };

/** Resolves an absolute path, or a partial one matched at every level of the tree. */
export const resolvePath = (
  root: QomObject,
  path: string,
  accepts: (object: QomObject) => boolean = () => true,
): Resolution => {
  const parts = partsOf(path);
  if (path.startsWith('/')) {
    const object = root.walk(parts);
    return object !== undefined && accepts(object)
      ? { kind: 'found', object }
      : { kind: 'missing' };
  }
  const [object, second] = partialMatches(root, parts, accepts);
  if (object === undefined) return { kind: 'missing' };
  return second === undefined ? { kind: 'found', object } : { kind: 'ambiguous' };
};

/**
 * As `qom-list` finds its object.
 *
 * @throws QmpError DeviceNotFound, or GenericError when a partial path matches more than once
 */
export const findForList = (root: QomObject, path: string): QomObject => {
  const result = resolvePath(root, path);
  if (result.kind === 'ambiguous') throw refused(`Path '${path}' is ambiguous`);
  if (result.kind === 'missing') throw deviceNotFound(path);
  return result.object;
};

/** As `qom-get` and `qom-set` find theirs: ambiguous counts as not found. */
export const findObject = (root: QomObject, path: string): QomObject => {
  const result = resolvePath(root, path);
  if (result.kind !== 'found') throw deviceNotFound(path);
  return result.object;
};

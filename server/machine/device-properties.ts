import type { DeviceType } from '../../devices/core/device.js';
import type { Properties, Property } from '../../devices/core/property.js';
import { commonPciProperties } from '../../devices/pci/properties.js';
import { deviceNotFound, refused } from '../../schema/error.js';
import type { JsonValue } from '../../schema/json.js';
import { resolvePath, type QomObject } from './qom.js';
import type { TypeRegistry } from './type-registry.js';

/** Settings of a new device: strict JSON (QMP, JSON words) or text (key=value). */
export type Settings =
  | { readonly form: 'json'; readonly values: readonly (readonly [string, JsonValue])[] }
  | { readonly form: 'text'; readonly values: readonly (readonly [string, string])[] };

/** Properties that every device has and nobody sets. */
const READ_ONLY = new Set(['type', 'realized', 'hotplugged', 'hotpluggable', 'parent_bus']);

/** Own properties of a type and those that its parents bring. */
export const propertiesOf = (type: DeviceType): Properties =>
  type.interfaces.length > 0 ? { ...type.properties, ...commonPciProperties } : type.properties;

/** Values of one device's properties while it is being set up and afterwards. */
export class PropertyBag {
  readonly type: DeviceType;
  readonly definitions: Properties;
  readonly #values = new Map<string, unknown>();
  /** What links point to, for `qom-get`. */
  readonly #links = new Map<string, QomObject>();
  readonly #root: QomObject;
  readonly #types: TypeRegistry;

  constructor(type: DeviceType, root: QomObject, types: TypeRegistry) {
    this.type = type;
    this.definitions = propertiesOf(type);
    this.#root = root;
    this.#types = types;
    for (const [name, definition] of Object.entries(this.definitions))
      this.#values.set(name, definition.default);
  }

  /** @throws QmpError with the texts of reference/pci-and-memory-devices.md §3.3 and §3.4 */
  setAll(settings: Settings): void {
    if (settings.form === 'json')
      for (const [name, value] of settings.values) this.#setJson(name, value);
    else for (const [name, text] of settings.values) this.#setText(name, text);
  }
  /** Sets one property from text as `-global` does; unknown names are refused. */
  setText(name: string, text: string): void {
    this.#setText(name, text);
  }
  value(name: string): unknown {
    return this.#values.get(name);
  }
  values(): Record<string, unknown> {
    return Object.fromEntries(this.#values);
  }
  /** As `qom-get` answers. */
  show(name: string): JsonValue {
    const definition = this.definitions[name];
    if (definition === undefined) return '';
    if (definition.link !== undefined) return this.#links.get(name)?.path ?? '';
    return definition.show(this.#values.get(name));
  }
  linkTarget(name: string): QomObject | undefined {
    return this.#links.get(name);
  }

  #definition(name: string): Property {
    const definition = Object.hasOwn(this.definitions, name) ? this.definitions[name] : undefined;
    if (definition !== undefined && name !== 'busnr') return definition;
    const known = READ_ONLY.has(name) || definition !== undefined;
    throw refused(
      `Property '${this.type.name}.${name}' ${known ? 'is not writable' : 'not found'}`,
    );
  }
  #setJson(name: string, value: JsonValue): void {
    const definition = this.#definition(name);
    this.#store(name, definition, definition.parse(value, name, this.type.name));
  }
  #setText(name: string, text: string): void {
    const definition = this.#definition(name);
    this.#store(name, definition, definition.parseText(text, name, this.type.name));
  }
  #store(name: string, definition: Property, value: unknown): void {
    if (definition.link === undefined) this.#values.set(name, value);
    else this.#storeLink(name, definition.link, String(value));
  }
  #storeLink(name: string, target: string, path: string): void {
    this.#links.delete(name);
    if (path === '') {
      this.#values.set(name, undefined);
      return;
    }
    const object = this.#resolveLink(name, target, path);
    this.#links.set(name, object);
    this.#values.set(name, object.instance);
  }
  #resolveLink(name: string, target: string, path: string): QomObject {
    const fits = (object: QomObject): boolean => this.#types.isA(object.typeName, target);
    const result = resolvePath(this.#root, path, fits);
    if (result.kind === 'found') return result.object;
    if (result.kind === 'ambiguous')
      throw refused(`Path '${path}' does not uniquely identify an object`);
    if (resolvePath(this.#root, path).kind === 'missing') throw deviceNotFound(path);
    throw refused(`Invalid parameter type for '${name}', expected: ${target}`);
  }
}

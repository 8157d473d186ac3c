import type { DeviceType } from '../../devices/core/device.js';
import { refused } from '../../schema/error.js';

/** A QOM type that is no device model: abstract classes, parts of the board, buses, backends. */
export interface PlainType {
  readonly name: string;
  readonly parent?: string;
  readonly abstract?: boolean;
  /** Properties besides `type`, for `qom-list-properties`. */
  readonly properties?: readonly { readonly name: string; readonly type: string }[];
}

/** Types of one machine: device models by name and alias, and the classes above them. */
export class TypeRegistry {
  readonly #devices = new Map<string, DeviceType>();
  readonly #aliases = new Map<string, string>();
  readonly #plain = new Map<string, PlainType>();

  constructor(devices: readonly DeviceType[], plain: readonly PlainType[]) {
    for (const type of devices) {
      this.#devices.set(type.name, type);
      for (const alias of type.aliases ?? []) this.#aliases.set(alias, type.name);
    }
    for (const type of plain) this.#plain.set(type.name, type);
  }

  /** Names of all types. */
  names(): string[] {
    return [...this.#plain.keys(), ...this.#devices.keys()];
  }
  /** Device types that users can make. */
  creatables(): DeviceType[] {
    return [...this.#devices.values()].filter(
      ({ abstract, userCreatable }) => abstract !== true && userCreatable !== false,
    );
  }
  /** The type that an alias stands for; any other name as it is. */
  resolve(name: string): string {
    return this.#aliases.get(name) ?? name;
  }
  device(name: string): DeviceType | undefined {
    return this.#devices.get(name);
  }
  plainType(name: string): PlainType | undefined {
    return this.#plain.get(name);
  }
  has(name: string): boolean {
    return this.#devices.has(name) || this.#plain.has(name);
  }
  isAbstract(name: string): boolean {
    return (this.#devices.get(name)?.abstract ?? this.#plain.get(name)?.abstract) === true;
  }
  parentOf(name: string): string | undefined {
    return this.#devices.get(name)?.parent ?? this.#plain.get(name)?.parent;
  }
  /** Whether `name` is `ancestor` or below it, or implements it as an interface. */
  isA(name: string, ancestor: string): boolean {
    for (let at: string | undefined = name; at !== undefined; at = this.parentOf(at)) {
      if (at === ancestor) return true;
      const interfaces: readonly string[] = this.#devices.get(at)?.interfaces ?? [];
      if (interfaces.includes(ancestor)) return true;
    }
    return false;
  }

  /**
   * The model that `device_add` names, by name or alias.
   *
   * @throws QmpError with the texts of reference/pci-and-memory-devices.md §3.4
   */
  creatable(given: string): DeviceType {
    const name = this.resolve(given);
    const type = this.#devices.get(name);
    if (type === undefined) {
      if (this.isA(name, 'device')) {
        const kind = this.isAbstract(name) ? 'non-abstract' : 'pluggable';
        throw refused(`Parameter 'driver' expects a ${kind} device type`);
      }
      throw refused(
        name === given
          ? `'${given}' is not a valid device model name`
          : `'${given}' (alias '${name}') is not a valid device model name`,
      );
    }
    if (type.abstract === true)
      throw refused(`Parameter 'driver' expects a non-abstract device type`);
    if (type.userCreatable === false)
      throw refused(`Parameter 'driver' expects a pluggable device type`);
    return type;
  }
}

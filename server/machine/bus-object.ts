import { refused } from '../../schema/error.js';
import { QomObject } from './qom.js';

export interface BusFacts {
  /** ACPI number, undefined while the bus has none; absent: of a kind that never has one. */
  readonly bsel?: () => number | undefined;
  readonly hotplugHandler: () => QomObject | undefined;
}

/**
 * The object that stands for a bus in the tree; the devices on it are links `child[N]`, with N
 * never used again.
 *
 * @see reference/pci-and-memory-devices.md §5
 */
export class BusObject extends QomObject {
  readonly #links = new Map<QomObject, string>();
  #nextChild = 0;

  constructor(bus: { readonly typeName: string }, { bsel, hotplugHandler }: BusFacts) {
    super(bus.typeName, bus);
    this.addProperty('realized', { type: 'bool', get: () => true });
    this.addProperty('hotplug-handler', {
      type: 'link<hotplug-handler>',
      get: () => hotplugHandler()?.path ?? '',
      target: hotplugHandler,
    });
    if (bsel === undefined) return;
    this.addProperty('acpi-pcihp-bsel', {
      type: 'uint32',
      get: () => {
        const number = bsel();
        if (number === undefined)
          throw refused(`Property '${this.typeName}.acpi-pcihp-bsel' not found`);
        return BigInt(number);
      },
    });
  }

  plug(device: QomObject): void {
    const name = `child[${String(this.#nextChild++)}]`;
    this.#links.set(device, name);
    this.addProperty(name, {
      type: `link<${device.typeName}>`,
      get: () => device.path,
      target: () => device,
    });
  }
  unplug(device: QomObject): void {
    const name = this.#links.get(device);
    if (name === undefined) return;
    this.#links.delete(device);
    this.removeProperty(name);
  }
}

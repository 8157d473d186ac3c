import type { CharDevices, CharFrontEnd } from '../../devices/core/char-device.js';
import type { Log } from '../../devices/core/device.js';
import { refused } from '../../schema/error.js';
import type { Limits } from '../limits.js';
import { QomObject } from '../machine/qom.js';
import type { YankInstances } from '../machine/yank-instances.js';
import type { LoadNative } from '../os/native.js';
import type { CharBackend } from './backend.js';
import type { ByteChannel } from './byte-channel.js';

/** What character devices need of the daemon. */
export interface CharServices {
  readonly native: LoadNative;
  readonly limits: Limits;
  readonly log: Log;
  readonly yanks: YankInstances;
}

/** One character device and who uses it. */
export interface Chardev {
  readonly id: string;
  readonly backend: CharBackend;
  /** Where a device of the machine attaches; undefined for a monitor's, which is never free. */
  readonly channel: ByteChannel | undefined;
}

/** The character devices of one machine, in order of creation; objects below `/chardevs`. */
export class CharTable implements CharDevices {
  /** `/chardevs`. */
  readonly container = new QomObject('container');
  /** What opening one needs. */
  readonly services: CharServices;
  readonly #chardevs = new Map<string, Chardev>();
  readonly #claimed = new Set<Chardev>();
  /** Takes one off the list of what can be yanked. */
  readonly #unlist = new Map<Chardev, () => void>();
  #isClosed = false;

  constructor(services: CharServices) {
    this.services = services;
  }

  /** @throws QmpError, as QEMU, when the id is taken or there are too many */
  checkFree(id: string): void {
    if (this.#chardevs.has(id)) throw refused(`Chardev with id '${id}' already exists`);
    const limit = this.services.limits.chardevs;
    if (this.#chardevs.size >= limit)
      throw refused(`Failed to add chardev '${id}': there are ${String(limit)} already, the limit`);
    if (this.#isClosed) throw refused(`Failed to add chardev '${id}': the machine is ending`);
  }

  /** @throws QmpError as `checkFree` */
  add(chardev: Chardev): void {
    this.checkFree(chardev.id);
    const { backend, id } = chardev;
    const object = new QomObject(backend.typeName, backend);
    for (const [name, property] of Object.entries(backend.properties))
      object.addProperty(name, property);
    this.container.addChild(id, object);
    this.#chardevs.set(id, chardev);
    this.#list(chardev);
  }

  get(id: string): Chardev | undefined {
    return this.#chardevs.get(id);
  }

  /** `chardev-remove`. @throws QmpError when there is none, or somebody uses it */
  async remove(id: string): Promise<void> {
    const chardev = this.#chardevs.get(id);
    if (chardev === undefined) throw refused(`Chardev '${id}' not found`);
    if (this.isUsed(chardev)) throw refused(`Chardev '${id}' is busy`);
    this.#chardevs.delete(id);
    this.container.children.get(id)?.unparent();
    await this.#close(chardev);
  }

  claim(id: string, property: string): CharFrontEnd {
    const chardev = this.#chardevs.get(id);
    if (chardev === undefined) throw refused(`Property '${property}' can't find value '${id}'`);
    if (chardev.channel === undefined || this.#claimed.has(chardev))
      throw refused(`Property '${property}' can't take value '${id}': Device '${id}' is in use`);
    this.#claimed.add(chardev);
    return chardev.channel.attach(() => this.#claimed.delete(chardev));
  }

  /** Whether a monitor or a device is the front end. */
  isUsed(chardev: Chardev): boolean {
    return chardev.channel === undefined || this.#claimed.has(chardev);
  }

  list(): readonly Chardev[] {
    return [...this.#chardevs.values()];
  }

  /** Closes all. Safe to call twice. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const all = this.list();
    this.#chardevs.clear();
    for (const chardev of all) await this.#close(chardev);
  }

  /** As QEMU: of a device's one the peer is cut, and who waits is served next. */
  #list(chardev: Chardev): void {
    const { backend, channel, id } = chardev;
    const { cut } = backend;
    if (cut === undefined) return;
    const instance = { type: 'chardev', id } as const;
    const unlist = this.services.yanks.add(instance, channel ? () => channel.cut() : cut);
    this.#unlist.set(chardev, unlist);
  }
  async #close(chardev: Chardev): Promise<void> {
    this.#unlist.get(chardev)?.();
    this.#unlist.delete(chardev);
    await close(chardev);
  }
}

/** Closes both sides. */
export const close = async ({ backend, channel }: Chardev): Promise<void> => {
  await backend.close();
  channel?.close();
};

import { prepareBackend, type MemoryBackend } from '../../devices/backends/memory-backend.js';
import type { HostMemory, HostMemoryService } from '../../devices/core/host-memory.js';
import type { Log } from '../../devices/core/device.js';
import { refused } from '../../schema/error.js';
import type { JsonObject } from '../../schema/json.js';
import type { ArgsOf, Infer } from '../../schema/lang.js';
import { objectAdd, type IothreadProperties, type Memdev } from '../../schema/memory.js';
import { checkArguments } from '../../schema/validate.js';
import { isIdentifier } from './identifier.js';
import { QomObject } from './qom.js';

type ObjectArguments = ArgsOf<typeof objectAdd>;
type IothreadArguments = Infer<typeof IothreadProperties>;
type BackendArguments = Parameters<typeof prepareBackend>[0];

export interface ObjectTableOptions {
  /** `/objects`. */
  readonly container: QomObject;
  readonly hostMemory: HostMemoryService;
  readonly log: Log;
  /** Default of `prealloc-threads`. */
  readonly cpuCount: number;
}

const isBackend = (args: ObjectArguments): args is ObjectArguments & BackendArguments =>
  args['qom-type'].startsWith('memory-backend-');

/** User-creatable objects of one machine: memory backends, and others that are kept without effect. */
export class ObjectTable {
  readonly #options: ObjectTableOptions;
  readonly #backends = new Map<string, MemoryBackend>();
  #ram: MemoryBackend | undefined;

  constructor(options: ObjectTableOptions) {
    this.#options = options;
  }

  /** Guest memory; set up on first touch. */
  get ram(): HostMemory {
    if (this.#ram === undefined) throw new Error('the machine has no memory');
    return this.#ram.memory;
  }
  /** `object-add`. @throws QmpError with the texts of reference/pci-and-memory-devices.md §4.4 */
  add(args: ObjectArguments): void {
    const { id } = args;
    if (!isIdentifier(id)) throw refused(`Parameter 'id' expects an identifier`);
    if (!isBackend(args)) {
      this.#options.container.addChild(id, new QomObject(args['qom-type'], args));
      return;
    }
    const prepared = prepareBackend(args, this.#options);
    this.#checkFree(id);
    this.#adopt(prepared.complete());
  }
  /** As `add`, with arguments that nobody has checked. */
  addUnchecked(args: JsonObject): void {
    this.add(checkArguments(objectAdd, args));
  }
  /** `object-del`. @throws QmpError when there is none, or a device uses it */
  remove(id: string): void {
    const object = this.#options.container.children.get(id);
    if (object === undefined) throw refused(`object '${id}' not found`);
    const backend = this.#backends.get(id);
    if (backend?.inUse === true) throw refused(`object '${id}' is in use, can not be deleted`);
    object.unparent();
    this.#backends.delete(id);
    backend?.close();
  }
  /** The iothread objects: id and properties. */
  iothreads(): { readonly id: string; readonly args: IothreadArguments }[] {
    return [...this.#options.container.children]
      .filter(([, object]) => object.typeName === 'iothread')
      .map(([id, object]) => ({ id, args: object.instance as IothreadArguments }));
  }
  memdevs(): Infer<typeof Memdev>[] {
    return [...this.#backends.values()].map((backend) => backend.info());
  }

  /**
   * The memory of the machine: the backend that `-machine memory-backend=` names, or one of our own
   * that costs nothing until somebody touches it.
   *
   * @throws QmpError when the named backend is missing or has another size
   */
  claimRam(name: string, size: bigint, given: string | undefined): void {
    if (given !== undefined) {
      const backend = this.#backends.get(given);
      if (backend === undefined) throw refused(`Memory backend '${given}' not found`);
      if (backend.size !== size)
        throw refused(
          `Machine memory size does not match the size of the memory backend '${given}'`,
        );
      this.#ram = backend;
    } else {
      const args = { 'qom-type': 'memory-backend-ram', id: name, size } as const;
      this.#checkFree(name);
      this.#ram = prepareBackend(args, { ...this.#options, deferred: true }).complete();
      this.#adopt(this.#ram);
    }
    this.#ram.claim('/machine');
  }
  /** Gives all memory back. */
  close(): void {
    for (const backend of this.#backends.values()) backend.close();
    this.#backends.clear();
  }

  #checkFree(id: string): void {
    if (this.#options.container.children.has(id))
      throw refused(`attempt to add duplicate property '${id}' to object (type 'container')`);
  }
  #adopt(backend: MemoryBackend): void {
    const object = new QomObject(backend.typeName, backend);
    for (const { name, type } of backend.listProperties())
      object.addProperty(name, {
        type,
        get: () => backend.getProperty(name),
        set: (value) => backend.setProperty(name, value),
      });
    this.#options.container.addChild(backend.id, object);
    this.#backends.set(backend.id, backend);
  }
}

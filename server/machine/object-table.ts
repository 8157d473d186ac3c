import { prepareBackend, type MemoryBackend } from '../../devices/backends/memory-backend.js';
import type { HostMemory, HostMemoryService } from '../../devices/core/host-memory.js';
import type { Log } from '../../devices/core/device.js';
import { refused } from '../../schema/error.js';
import type { JsonObject } from '../../schema/json.js';
import type { ArgsOf, Infer } from '../../schema/lang.js';
import { objectAdd, type IothreadProperties, type Memdev } from '../../schema/memory.js';
import { checkArguments } from '../../schema/validate.js';
import { isIdentifier } from './identifier.js';
import { NodeMemory } from './node-memory.js';
import { checkProperties, checkWhole } from './kept-objects.js';
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
  #ram: (() => HostMemory) | undefined;

  constructor(options: ObjectTableOptions) {
    this.#options = options;
  }

  /** Guest memory; set up on first touch. */
  get ram(): HostMemory {
    if (this.#ram === undefined) throw new Error('the machine has no memory');
    return this.#ram();
  }
  /** `object-add`. @throws QmpError with the texts of reference/pci-and-memory-devices.md §4.4 */
  add(args: ObjectArguments): void {
    const { id } = args;
    if (!isIdentifier(id)) throw refused(`Parameter 'id' expects an identifier`);
    if (!isBackend(args)) {
      checkProperties(args);
      this.#checkFree(id);
      checkWhole(args);
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
  /** The memory backends, that of the machine itself included. */
  get backends(): Iterable<MemoryBackend> {
    return this.#backends.values();
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
      backend.claim('/machine');
      this.#ram = () => backend.memory;
    } else {
      const args = { 'qom-type': 'memory-backend-ram', id: name, size } as const;
      this.#checkFree(name);
      const backend = prepareBackend(args, { ...this.#options, deferred: true }).complete();
      this.#adopt(backend);
      backend.claim('/machine');
      this.#ram = () => backend.memory;
    }
  }
  /**
   * The memory of the machine made of the backends of its NUMA nodes, in their order.
   *
   * @throws QmpError when one comes twice or is in use, or all together have another size
   */
  claimNodes(size: bigint, ids: readonly string[]): void {
    const twice = ids.find((id, index) => ids.indexOf(id) !== index);
    if (twice !== undefined) throw refused(`memory backend ${twice} can't be used multiple times.`);
    const backends = ids.map((id) => this.#findBackend(id));
    const total = backends.reduce((sum, backend) => sum + backend.size, 0n);
    if (total !== size)
      throw refused(
        `total memory for NUMA nodes (0x${total.toString(16)}) should equal RAM size (0x${size.toString(16)})`,
      );
    for (const backend of backends) backend.claim('/machine');
    const memory = new NodeMemory(backends.map((backend) => backend.memory));
    this.#ram = () => memory;
  }
  /** Bytes of a memory backend. @throws QmpError when there is none */
  backendSize(id: string): bigint {
    return this.#findBackend(id).size;
  }
  /** @throws QmpError when no memory backend has this id */
  checkBackend(id: string): void {
    this.#findBackend(id);
  }
  /** Gives all memory back. */
  close(): void {
    for (const backend of this.#backends.values()) backend.close();
    this.#backends.clear();
  }

  #findBackend(id: string): MemoryBackend {
    const backend = this.#backends.get(id);
    if (backend === undefined) throw refused(`memdev=${id} is ambiguous`);
    return backend;
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

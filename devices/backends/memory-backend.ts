import { refused } from '../../schema/error.js';
import type { JsonValue } from '../../schema/json.js';
import type { Infer } from '../../schema/lang.js';
import type { Memdev } from '../../schema/memory.js';
import type { Log } from '../core/device.js';
import { HostError } from '../core/host-memory.js';
import type { HostMapping, HostMemoryService } from '../core/host-memory.js';
import type { MemdevBackend } from '../core/memdev.js';
import { withDefaults } from './arguments.js';
import type { BackendArguments, BackendSettings } from './arguments.js';
import {
  PREALLOC_WITHOUT_RESERVE,
  backendProperties,
  checkSetting,
  parseSetting,
  showSetting,
} from './properties.js';
import { createStorage, preallocate } from './storage.js';
import type { Storage } from './storage.js';

export interface BackendServices {
  readonly hostMemory: HostMemoryService;
  readonly log: Log;
  /** Default of `prealloc-threads`. Default 1. */
  readonly cpuCount?: number;
  /** Set the memory up on first use; for memory of the machine that may never be touched. */
  readonly deferred?: boolean;
}

/** Host memory under `/objects`, used by one device at a time. */
export class MemoryBackend implements MemdevBackend {
  readonly id: string;
  readonly typeName: string;
  readonly #services: BackendServices;
  readonly #settings: BackendSettings;
  #storage: Storage | undefined;
  #owner: string | undefined;
  #closed = false;

  /** Use `prepareBackend`, which checks the settings first. @throws QmpError */
  constructor(settings: BackendSettings, services: BackendServices) {
    this.id = settings.id;
    this.typeName = settings['qom-type'];
    this.#settings = settings;
    this.#services = services;
    if (services.deferred !== true) this.#storage = createStorage(settings, services.hostMemory);
  }

  get memory(): HostMapping {
    if (this.#closed) throw new Error(`memory backend ${this.id} is closed`);
    this.#storage ??= createStorage(this.#settings, this.#services.hostMemory);
    return this.#storage.memory;
  }

  get size(): bigint {
    return this.#settings.size;
  }
  /** False for deferred memory that nobody has used yet: it reads 0. */
  get isSetUp(): boolean {
    return this.#storage !== undefined;
  }

  /** Whether a device holds it; `object-del` refuses then. */
  get inUse(): boolean {
    return this.#owner !== undefined;
  }

  claim(owner: string): void {
    if (this.#owner !== undefined) throw refused(`can't use already busy memdev: ${this.id}`);
    this.#owner = owner;
  }

  release(): void {
    this.#owner = undefined;
  }

  /** Its element of `query-memdev`. */
  info(): Infer<typeof Memdev> {
    const { size, merge, dump, prealloc, share, reserve, policy } = this.#settings;
    const nodes = [...this.#settings['host-nodes']];
    return {
      id: this.id,
      size,
      merge,
      dump,
      prealloc,
      share,
      reserve,
      'host-nodes': nodes,
      policy,
    };
  }

  /** Names and QOM types, for `qom-list`. */
  listProperties(): readonly { readonly name: string; readonly type: string }[] {
    const own = backendProperties(this.typeName).map(({ name, qomType: type }) => ({ name, type }));
    return [...own, { name: this.#regionName, type: 'child<memory-region>' }];
  }

  /** @throws QmpError when there is no such property */
  getProperty(name: string): JsonValue {
    if (name === this.#regionName) return `/objects/${this.id}/${name}`;
    return showSetting(this.#settings[this.#find(name).name]);
  }

  /** @throws QmpError with the texts of reference/pci-and-memory-devices.md §4.2; nothing changed */
  setProperty(name: string, given: JsonValue): void {
    if (name === 'type' || name === this.#regionName)
      throw refused(`Property '${this.typeName}.${name}' is not writable`);
    const parsed = parseSetting(this.#find(name), this.typeName, given);
    this.#apply(name, parsed);
    // prealloc can be switched on only.
    if (name !== 'prealloc' || parsed === true)
      Object.assign(this.#settings, { [name]: parsed } as Partial<BackendSettings>);
  }

  /** Whether others can map the same bytes. */
  get shared(): boolean {
    return this.#settings.share;
  }
  get isNamed(): boolean {
    return this.shared && this.typeName === 'memory-backend-file';
  }
  /** QOM path of the device that holds it; undefined when nobody does. */
  get owner(): string | undefined {
    return this.#owner;
  }

  async flush(): Promise<void> {
    await this.#storage?.memory.flush();
  }

  /** Gives the memory back; a file stays, its content too unless `discard-data`. Safe to call twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#settings['discard-data']) this.#discard();
    this.#storage?.close();
  }

  get #regionName(): string {
    return `${this.id}[0]`;
  }

  #find(name: string): ReturnType<typeof backendProperties>[number] {
    const found = backendProperties(this.typeName).find((property) => property.name === name);
    if (found === undefined) throw refused(`Property '${this.typeName}.${name}' not found`);
    return found;
  }

  #apply(name: string, parsed: unknown): void {
    if (name === 'prealloc' && parsed === true && !this.#settings.prealloc) {
      if (!this.#settings.reserve) throw refused(PREALLOC_WITHOUT_RESERVE);
      preallocate(this.memory, this.id);
    }
    if (name === 'merge') this.memory.advise({ merge: parsed === true });
    if (name === 'dump') this.memory.advise({ dump: parsed === true });
  }

  #discard(): void {
    try {
      this.#storage?.discard();
    } catch (error) {
      // File systems that cannot punch holes keep the content.
      if (!(error instanceof HostError)) throw error;
      this.#services.log.warn({ id: this.id, reason: error.message }, 'discard-data failed');
    }
  }
}

/** A backend whose settings have been checked; its memory is not yet there. */
export interface PreparedBackend {
  /** @throws QmpError when the host or a rule refuses; nothing stays behind */
  complete(): MemoryBackend;
}

/**
 * The first half of `object-add`: what setters of properties refuse. The check for a duplicate id
 * comes between the halves.
 *
 * @throws QmpError with the texts of reference/pci-and-memory-devices.md §4.4
 */
export const prepareBackend = (
  given: BackendArguments,
  services: BackendServices,
): PreparedBackend => {
  for (const [name, setting] of Object.entries(given))
    checkSetting(given['qom-type'], name, setting);
  if (given.prealloc === true && given.reserve === false) throw refused(PREALLOC_WITHOUT_RESERVE);
  const settings = withDefaults(given, services.cpuCount ?? 1);
  return { complete: () => new MemoryBackend(settings, services) };
};

/** Both halves at once. @throws QmpError */
export const createBackend = (given: BackendArguments, services: BackendServices): MemoryBackend =>
  prepareBackend(given, services).complete();

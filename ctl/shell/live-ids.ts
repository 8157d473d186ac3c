import { isJsonObject, type JsonObject, type JsonValue } from '../../schema/json.js';
import type { Source } from './sources.js';

/** Runs a command for completion; undefined when it is refused or takes too long. */
export type Ask = (command: string, args: JsonObject) => Promise<JsonValue | undefined>;

export interface Entry {
  readonly name: string;
  readonly type: string;
}

/** Where a machine keeps its devices. */
const DEVICE_FOLDERS = ['peripheral', 'peripheral-anon', 'unattached'];

/** Commands that list things, and the member that names each. */
const LISTS = {
  'block-jobs': ['query-block-jobs', 'device'],
  blocks: ['query-block', 'device'],
  chardevs: ['query-chardev', 'label'],
  exports: ['query-block-exports', 'id'],
  iothreads: ['query-iothreads', 'id'],
  jobs: ['query-jobs', 'id'],
  'network-cards': ['query-rx-filter', 'name'],
  nodes: ['query-named-block-nodes', 'node-name'],
  options: ['query-command-line-options', 'option'],
  types: ['qom-list-types', 'name'],
  virtio: ['x-query-virtio', 'path'],
} as const;

/** Names in the object tree of the running machine, asked anew each time. */
export class LiveIds {
  readonly #ask: Ask;

  constructor(ask: Ask) {
    this.#ask = ask;
  }

  async #list(command: string, args: JsonObject): Promise<Entry[]> {
    const answer = await this.#ask(command, args);
    if (!Array.isArray(answer)) return [];
    return answer
      .filter(isJsonObject)
      .map((item) => ({ name: String(item['name']), type: String(item['type'] ?? '') }));
  }
  async #children(path: string): Promise<Entry[]> {
    const entries = await this.#list('qom-list', { path });
    return entries.filter(({ type }) => type.startsWith('child<'));
  }

  /** Ids given to devices. */
  async devices(): Promise<string[]> {
    return (await this.#children('/machine/peripheral')).map(({ name }) => name);
  }
  /** Ids of objects, memory backends among them. */
  async objects(): Promise<string[]> {
    return (await this.#children('/objects')).map(({ name }) => name);
  }
  /** Buses of the board and of all devices, with and without an id. */
  async buses(): Promise<string[]> {
    const owners = await this.#busOwners();
    const lists = await Promise.all(owners.map((path) => this.#children(path)));
    const names = lists.flatMap((children) =>
      children.filter(({ type }) => /bus>$|<PCIE?>$/i.test(type)).map(({ name }) => name),
    );
    return [...new Set(names)];
  }
  /** Paths of what can have buses: the parts of the machine, devices wherever they are kept. */
  async #busOwners(): Promise<string[]> {
    const parts = await this.#children('/machine');
    const owners = parts.map(async ({ name }) => {
      const path = `/machine/${name}`;
      if (!DEVICE_FOLDERS.includes(name)) return [path];
      return (await this.#children(path)).map((device) => `${path}/${device.name}`);
    });
    return (await Promise.all(owners)).flat();
  }
  /** Types that `device_add` takes. */
  async drivers(): Promise<string[]> {
    const types = await this.#list('qom-list-types', { implements: 'device', abstract: false });
    return types.map(({ name }) => name);
  }
  /** Properties that a device of the type can be given. */
  driverProperties(driver: string): Promise<Entry[]> {
    return this.#list('device-list-properties', { typename: driver });
  }
  /** Properties of an object that are no children. */
  async properties(path: string): Promise<Entry[]> {
    const all = await this.#list('qom-list', { path });
    return all.filter(({ type }) => !type.startsWith('child<'));
  }
  /** What a text may name, but for properties, which are those of an object. */
  async named(source: Exclude<Source, 'properties' | 'text'>): Promise<readonly string[]> {
    if (source === 'buses') return this.buses();
    if (source === 'device-types') return this.drivers();
    if (source === 'devices') return this.devices();
    if (source === 'devices-and-objects')
      return [...(await this.devices()), ...(await this.objects())];
    if (source === 'objects') return this.objects();
    if (source === 'tree') return ['/machine', '/objects'];
    const [command, member] = LISTS[source];
    return this.#members(command, member);
  }
  async #members(command: string, member: string): Promise<string[]> {
    const answer = await this.#ask(command, {});
    if (!Array.isArray(answer)) return [];
    return answer
      .filter(isJsonObject)
      .map((item) => item[member])
      .filter((name) => typeof name === 'string' && name !== '') as string[];
  }
  /** Absolute paths that begin with what is typed. */
  async paths(typed: string): Promise<string[]> {
    const parent = typed.slice(0, typed.lastIndexOf('/') + 1);
    if (parent === '') return ['/'];
    const children = await this.#children(parent.replace(/(.)\/$/, '$1'));
    return children.map(({ name }) => parent + name);
  }
}

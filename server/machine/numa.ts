import { refused } from '../../schema/error.js';

/** Most nodes that a machine can have. */
export const MAX_NODES = 128;
const LOCAL_DISTANCE = 10;

/** The NUMA nodes of a machine and their distances, as `-numa` and `set-numa-node` gave them. */
export class NumaNodes {
  /** Number of each node and the id of its memory backend, if it has one of its own. */
  readonly #nodes = new Map<number, string | undefined>();
  readonly #distances = new Map<string, number>();

  /** The nodes by number. */
  get nodes(): readonly { readonly id: number; readonly memdev: string | undefined }[] {
    return [...this.#nodes].map(([id, memdev]) => ({ id, memdev })).sort((a, b) => a.id - b.id);
  }

  /** @throws QmpError when the node exists or the number is too big */
  newId(given: number | undefined): number {
    const id = given ?? this.#nodes.size;
    if (id >= MAX_NODES) throw refused(`Max number of NUMA nodes reached: ${String(id)}`);
    if (this.#nodes.has(id)) throw refused(`Duplicate NUMA nodeid: ${String(id)}`);
    return id;
  }

  /** @throws QmpError as `newId` */
  addNode(given: number | undefined, memdev: string | undefined): void {
    this.#nodes.set(this.newId(given), memdev);
  }

  /** @throws QmpError when a node is missing or the distance is bad */
  setDistance(src: number, dst: number, value: number): void {
    for (const [name, id] of [
      ['src', src],
      ['dst', dst],
    ] as const)
      if (id >= MAX_NODES)
        throw refused(
          `Parameter '${name}' expects an integer between 0 and ${String(MAX_NODES - 1)}`,
        );
    if (!this.#nodes.has(src) || !this.#nodes.has(dst))
      throw refused(
        `Source/Destination NUMA node is missing. Please use '-numa node' option to declare it first.`,
      );
    if (value < LOCAL_DISTANCE)
      throw refused(
        `NUMA distance (${String(value)}) is invalid, it shouldn't be less than ${String(LOCAL_DISTANCE)}.`,
      );
    if (src === dst && value !== LOCAL_DISTANCE)
      throw refused(`Local distance of node ${String(src)} should be ${String(LOCAL_DISTANCE)}.`);
    this.#distances.set(`${String(src)} ${String(dst)}`, value);
  }

  /** A CPU of the node; there is none that could match. @throws QmpError always */
  addCpu(node: bigint): never {
    const id = String(node);
    if (!this.#nodes.has(Number(node)))
      throw refused(
        `Invalid node-id=${id}, NUMA node must be defined with -numa node,nodeid=ID before it's used with -numa cpu,node-id=ID`,
      );
    throw refused('no match found');
  }

  /** @throws QmpError when the numbers of the nodes have a gap */
  check(): void {
    for (let id = 0; id < this.#nodes.size; id++)
      if (!this.#nodes.has(id)) throw refused(`numa: Node ID missing: ${String(id)}`);
  }
}

import { constants } from 'node:os';
import { type QmpError, refused } from '../../schema/error.js';
import { HostError } from '../core/host-memory.js';
import type { SharedObject, SharedObjects } from '../core/shared-object.js';
import { emptyState, HEADS, isForeign, LAYOUT, readLayout, UNASSIGNED } from './layout.js';
import { OwnerMap } from './owner-map.js';
import type { BlockRange, Conflict, OwnerRun } from './owner-map.js';
import { TagTable } from './tag-table.js';

/** Locks of a state object; the head of number h has HEAD + h for as long as it lives. */
const LOCK = { LIFE: 0, MAP: 1, HEAD: 8 } as const;
const LIFE_TIMEOUT_MS = 2000;
/** A claim takes the map for a millisecond; who keeps it longer was stopped in the middle. */
const MAP_TIMEOUT_MS = 1000;
const ATTACH_TRIES = 100;

export interface AttachOptions {
  /** Name of the shared object. */
  readonly name: string;
  readonly head: number;
  /** Blocks of the device's dynamic capacity. */
  readonly blocks: number;
  /** Create the object when there is none. */
  readonly init: boolean;
  /** Keep what a dead predecessor of this head owned, instead of freeing it. */
  readonly adopt: boolean;
  /** Whether the device has static memory too, in front of the dynamic capacity. */
  readonly hasStatic?: boolean;
}

export interface HeadStatus {
  readonly head: number;
  /** `dead`: it owns blocks or is entered in the map, but nobody holds its lock. */
  readonly state: 'attached' | 'dead' | 'free';
  /** Blocks that it owns, alone or with others. */
  readonly blocks: number;
}

/**
 * One head's attachment to the shared state of a pool. Every head has its own, also within one
 * process; what they agree on lies in the object.
 *
 * @see reference/cxl.md §9.5, §9.6
 */
export class Pool {
  readonly head: number;
  readonly #object: SharedObject;
  readonly #map: OwnerMap;
  readonly #tags: TagTable;
  #attached = true;

  private constructor(head: number, object: SharedObject, map: OwnerMap, tags: TagTable) {
    this.head = head;
    this.#object = object;
    this.#map = map;
    this.#tags = tags;
  }

  /**
   * Takes the head's place in a pool.
   *
   * @throws QmpError GenericError when the object is missing, damaged, of another size, or the head
   *   is taken; nothing is changed then
   */
  static attach(objects: SharedObjects, options: AttachOptions): Pool {
    for (let tries = 0; tries < ATTACH_TRIES; tries++) {
      const object = openOrCreate(objects, options);
      if (object === undefined) continue;
      const pool = Pool.#tryEnter(object, options, objects);
      if (pool !== undefined) return pool;
    }
    throw refused(`mhsld state '${options.name}' comes and goes, attaching was given up`);
  }

  /** Undefined when the object was removed before it could be locked. */
  static #tryEnter(
    object: SharedObject,
    options: AttachOptions,
    objects: SharedObjects,
  ): Pool | undefined {
    let pool: Pool | undefined;
    try {
      if (!object.lock(LOCK.LIFE, LIFE_TIMEOUT_MS)) throw isKept(object.name);
      if (object.isLinked())
        pool = Pool.#enter(object, options, new TagTable(objects, object.name));
    } finally {
      if (pool === undefined) object.close();
    }
    return pool;
  }

  static #enter(
    object: SharedObject,
    { head, blocks, adopt, hasStatic = false }: AttachOptions,
    tags: TagTable,
  ): Pool {
    const map = new OwnerMap(object, readLayout(object, blocks));
    if (hasStatic && isForeign(object))
      throw refused(
        `mhsld state '${object.name}' was made by a program that counts blocks from the start of static memory, a device with static memory cannot join it`,
      );
    if (!object.lock(LOCK.HEAD + head))
      throw refused(`head ${String(head)} of mhsld state '${object.name}' is in use`);
    if (!adopt) map.releaseAll(head);
    object.bytes.store(LAYOUT.LD_MAP.offset + head, head);
    object.unlock(LOCK.LIFE);
    return new Pool(head, object, map, tags);
  }

  get name(): string {
    return this.#object.name;
  }
  get blocks(): number {
    return this.#map.blocks;
  }

  /**
   * Makes free blocks this head's own, all of them or none, as one transaction among all heads.
   *
   * @returns what was in the way
   * @throws QmpError GenericError when the state object was cut, or another process keeps it locked
   */
  claim(ranges: readonly BlockRange[]): Conflict | undefined {
    return this.#transaction(() => {
      const conflict = this.#map.claim(this.head, ranges);
      if (conflict === undefined) this.#tags.forget(ranges);
      return conflict;
    });
  }

  /**
   * Joins the owners of the blocks that carry a tag.
   *
   * @param tag 32 hexadecimal digits
   * @returns the blocks in the order of the tag, or why they cannot be joined
   * @throws QmpError as `claim`
   */
  share(tag: string): readonly BlockRange[] | Conflict | 'unknown' {
    return this.#transaction(() => {
      const ranges = this.#tags.find(tag).filter((range) => this.#map.contains(range));
      if (ranges.length === 0) return 'unknown';
      return this.#map.share(this.head, ranges) ?? ranges;
    });
  }

  /**
   * Lets other heads join blocks of this one by a tag.
   *
   * @returns false when there is no room for more tags
   * @throws QmpError as `claim`
   */
  tag(tag: string, ranges: readonly BlockRange[]): boolean {
    return this.#transaction(() => this.#tags.put(tag, ranges));
  }

  /** Lets go of blocks; those of other heads stay as they are. */
  release(ranges: readonly BlockRange[]): void {
    if (!this.#object.isWhole()) return;
    for (const range of ranges) this.#map.release(this.head, range);
  }

  /** Whether this head owns every block of a range. */
  owns(range: BlockRange): boolean {
    return this.#map.contains(range) && this.#map.owns(this.head, range);
  }

  /** Whether this head owns a block; for every access to memory. */
  ownsBlock(block: number): boolean {
    return (this.#map.mask(block) & (1 << this.head)) !== 0;
  }

  /** Who owns what, ascending; free blocks are left out. */
  owners(): OwnerRun[] {
    return this.#object.isWhole() ? this.#map.runs() : [];
  }

  /** All heads of the pool. */
  heads(): HeadStatus[] {
    const runs = this.owners();
    return Array.from({ length: HEADS }, (_, head) => {
      const owned = runs.filter(({ heads }) => heads.includes(head));
      const blocks = owned.reduce((sum, { count }) => sum + count, 0);
      return { head, state: this.#stateOf(head, blocks), blocks };
    });
  }

  /** Head of each logical device, UNASSIGNED for none. */
  logicalDevices(): Uint8Array {
    if (!this.#object.isWhole()) return new Uint8Array(HEADS).fill(UNASSIGNED);
    return this.#object.bytes.copy(LAYOUT.LD_MAP.offset, LAYOUT.LD_MAP.size);
  }

  /**
   * Frees everything that a dead head owns.
   *
   * @returns the number of blocks that it owned
   * @throws QmpError GenericError when there is no such head, it lives, or the object was cut
   */
  freeHead(head: number): number {
    if (head >= HEADS)
      throw refused(
        `mhsld state '${this.name}' has heads 0 to ${String(HEADS - 1)}, no ${String(head)}`,
      );
    this.#checkWhole();
    return this.#locked(LOCK.LIFE, LIFE_TIMEOUT_MS, () => {
      const { state, blocks } = this.heads()[head] ?? { state: 'free', blocks: 0 };
      if (state === 'attached')
        throw refused(`head ${String(head)} of mhsld state '${this.name}' is attached`);
      this.#map.releaseAll(head);
      this.#object.bytes.store(LAYOUT.LD_MAP.offset + head, UNASSIGNED);
      return blocks;
    });
  }

  /**
   * Gives up the head's place and all that it owns; the last one removes the object, unless a dead
   * head still owns blocks in it. Safe to call twice.
   */
  detach(): void {
    const object = this.#object;
    if (this.#attached && object.isWhole()) {
      this.#map.releaseAll(this.head);
      object.bytes.store(LAYOUT.LD_MAP.offset + this.head, UNASSIGNED);
      if (object.lock(LOCK.LIFE, LIFE_TIMEOUT_MS)) this.#removeWhenLast();
    }
    this.leave();
  }

  /** Leaves as a killed process does: what the head owns stays its own. Safe to call twice. */
  leave(): void {
    this.#attached = false;
    this.#tags.close();
    this.#object.close();
  }

  #removeWhenLast(): void {
    const others = Array.from({ length: HEADS }, (_, head) => head).filter(
      (head) => head !== this.head,
    );
    if (others.some((head) => this.#object.isLocked(LOCK.HEAD + head))) return;
    if (this.#map.runs().length > 0 || !this.#object.isLinked()) return;
    this.#tags.unlink();
    this.#object.unlink();
  }

  #stateOf(head: number, blocks: number): HeadStatus['state'] {
    if (head === this.head || this.#object.isLocked(LOCK.HEAD + head)) return 'attached';
    if (!this.#object.isWhole()) return 'free';
    const entry = this.#object.bytes.load(LAYOUT.LD_MAP.offset + head);
    return blocks > 0 || entry === head ? 'dead' : 'free';
  }

  #transaction<T>(run: () => T): T {
    this.#checkWhole();
    return this.#locked(LOCK.MAP, MAP_TIMEOUT_MS, run);
  }

  #checkWhole(): void {
    if (!this.#object.isWhole())
      throw refused(`mhsld state '${this.name}' has lost bytes since it was opened`);
  }
  #locked<T>(number: number, timeoutMs: number, run: () => T): T {
    if (!this.#object.lock(number, timeoutMs)) throw isKept(this.name);
    try {
      return run();
    } finally {
      this.#object.unlock(number);
    }
  }
}

const isKept = (name: string): QmpError =>
  refused(`mhsld state '${name}' is kept locked by another process`);

/** Undefined when somebody else was faster. */
const openOrCreate = (
  objects: SharedObjects,
  { name, blocks, init }: AttachOptions,
): SharedObject | undefined => {
  try {
    return objects.open(name);
  } catch (error) {
    if (!isCode(error, 'ENOENT') || !init) throw openRefusal(name, error);
  }
  try {
    return objects.create(name, emptyState(blocks));
  } catch (error) {
    if (isCode(error, 'EEXIST')) return undefined;
    throw openRefusal(name, error);
  }
};

const isCode = (error: unknown, code: string): boolean =>
  error instanceof HostError && error.code === code;

const openRefusal = (name: string, error: unknown): unknown => {
  if (!(error instanceof HostError)) return error;
  if (error.code === 'ENOTSUP') return refused(error.message, error);
  if (error.code === 'EINVAL')
    return refused(`mhsld state '${name}' is empty or no regular file`, error);
  const errno = (constants.errno as Readonly<Record<string, number>>)[error.code] ?? 0;
  return refused(`failed to open mhsld state errno ${String(errno)}`, error);
};

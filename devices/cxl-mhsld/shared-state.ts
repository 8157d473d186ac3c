import { constants } from 'node:os';
import { type QmpError, refused } from '../../schema/error.js';
import { HostError } from '../core/host-memory.js';
import type { SharedObject, SharedObjects } from '../core/shared-object.js';
import { emptyState, readLayout } from './layout.js';
import { MoveTable } from './move-table.js';
import { OwnerMap } from './owner-map.js';
import { TagTable } from './tag-table.js';

/** Locks of a state object, besides those of the heads (`place.ts`). */
const LOCK = { LIFE: 0, MAP: 1 } as const;
const LIFE_TIMEOUT_MS = 2000;
/** A claim takes the map for a millisecond; who keeps it longer was stopped in the middle. */
const MAP_TIMEOUT_MS = 1000;

/** The shared state of a pool, as one head has it open. */
export class SharedState {
  readonly object: SharedObject;
  readonly map: OwnerMap;
  readonly tags: TagTable;
  readonly moves: MoveTable;

  /** @throws QmpError when the object is no state of so many blocks */
  constructor(objects: SharedObjects, object: SharedObject, blocks: number) {
    this.object = object;
    this.map = new OwnerMap(object, readLayout(object, blocks));
    this.tags = new TagTable(objects, object.name);
    this.moves = new MoveTable(object);
  }

  get name(): string {
    return this.object.name;
  }
  get isWhole(): boolean {
    return this.object.isWhole();
  }

  /**
   * Runs while no head comes, goes or moves.
   *
   * @throws QmpError when the object was cut, or another process keeps the lock
   */
  alone<T>(run: () => T): T {
    return this.#locked(LOCK.LIFE, LIFE_TIMEOUT_MS, run);
  }
  /** Runs while no other head claims blocks. @throws QmpError as `alone` */
  claiming<T>(run: () => T): T {
    return this.#locked(LOCK.MAP, MAP_TIMEOUT_MS, run);
  }

  /** Removes the object and what belongs to it. */
  unlink(): void {
    this.tags.unlink();
    this.object.unlink();
  }
  close(): void {
    this.tags.close();
    this.object.close();
  }

  #locked<T>(number: number, timeoutMs: number, run: () => T): T {
    if (!this.isWhole)
      throw refused(`mhsld state '${this.name}' has lost bytes since it was opened`);
    if (!this.object.lock(number, timeoutMs)) throw isKept(this.name);
    try {
      return run();
    } finally {
      this.object.unlock(number);
    }
  }
}

const isKept = (name: string): QmpError =>
  refused(`mhsld state '${name}' is kept locked by another process`);

export interface OpenOptions {
  /** Name of the shared object. */
  readonly name: string;
  /** Blocks of the device's dynamic capacity. */
  readonly blocks: number;
  /** Create the object when there is none. */
  readonly init: boolean;
}

/**
 * Opens the state of a pool, or makes it, and runs `enter` while no head comes or goes.
 *
 * @returns what `enter` does; undefined when somebody else was faster, and it is to be tried again
 * @throws QmpError and closes the object
 */
export const openState = <T>(
  objects: SharedObjects,
  options: OpenOptions,
  enter: (state: SharedState) => T,
): T | undefined => {
  const object = openOrCreate(objects, options);
  if (object === undefined) return undefined;
  let entered = false;
  try {
    if (!object.lock(LOCK.LIFE, LIFE_TIMEOUT_MS)) throw isKept(object.name);
    // Gone before it could be locked: the next one is another object.
    if (!object.isLinked()) return undefined;
    const result = enter(new SharedState(objects, object, options.blocks));
    object.unlock(LOCK.LIFE);
    entered = true;
    return result;
  } finally {
    if (!entered) object.close();
  }
};

/** Undefined when somebody else was faster. */
const openOrCreate = (
  objects: SharedObjects,
  { name, blocks, init }: OpenOptions,
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

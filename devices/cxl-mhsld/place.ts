import type { SharedObject } from '../core/shared-object.js';

/**
 * Every head has two chairs, each a lock: the number of the first lock of all heads. One is for the
 * machine that has the head; on the other one the next machine waits while the head migrates with its
 * number. So there is no moment at which a head that migrates looks dead.
 */
const CHAIRS = [8, 16] as const;

/**
 * `seated`: the head is this machine's. `waiting`: it is another one's, from which it may migrate.
 * `given`: what it owns is made over. `moved`: it has migrated away with its number.
 */
export type Standing = 'seated' | 'waiting' | 'given' | 'moved';

/**
 * How many machines are at a head: one that has it, and one that waits for it.
 *
 * @param own place of the one that asks, which its own locks do not show
 */
export const machinesAt = (object: SharedObject, head: number, own?: Place): number => {
  const others = CHAIRS.filter((chair) => object.isLocked(chair + head)).length;
  return own?.head === head && own.standing !== 'moved' ? others + 1 : others;
};

/** The place that one open object has at a head. The lock of life is held where it changes. */
export class Place {
  readonly head: number;
  standing: Standing;
  readonly #object: SharedObject;
  readonly #chair: number;

  private constructor(object: SharedObject, head: number, chair: number, standing: Standing) {
    this.head = head;
    this.#object = object;
    this.#chair = chair;
    this.standing = standing;
  }

  /**
   * Takes a chair of a head.
   *
   * @param wait be content with waiting when the head is somebody's
   * @returns undefined when there is none
   */
  static take(object: SharedObject, head: number, wait: boolean): Place | undefined {
    const used = machinesAt(object, head);
    if (used > (wait ? 1 : 0)) return undefined;
    const chair = CHAIRS.find((first) => object.lock(first + head));
    if (chair === undefined) return undefined;
    return new Place(object, head, chair, used === 0 ? 'seated' : 'waiting');
  }

  /** Whether another machine is at the head too. */
  get isShared(): boolean {
    return machinesAt(this.#object, this.head) > 0;
  }
  /** Leaves the head to the machine that it migrated to. */
  leave(): void {
    this.standing = 'moved';
    this.#object.unlock(this.#chair + this.head);
  }
}

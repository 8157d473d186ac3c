import { QmpError, refused } from '../../schema/error.js';
import type { SharedObjects } from '../core/shared-object.js';
import { HeadMove, moveInTheWay, settleMoves } from './head-move.js';
import { HEADS, isForeign, LAYOUT, UNASSIGNED } from './layout.js';
import type { Move } from './move-table.js';
import type { BlockRange, Conflict, OwnerRun } from './owner-map.js';
import { machinesAt, Place } from './place.js';
import { openState, type OpenOptions, type SharedState } from './shared-state.js';

const ATTACH_TRIES = 100;

export interface AttachOptions extends OpenOptions {
  readonly head: number;
  /** Keep what a dead predecessor of this head owned, instead of freeing it. */
  readonly adopt: boolean;
  /** Whether the device has static memory too, in front of the dynamic capacity. */
  readonly hasStatic?: boolean;
  /** Wait, when the head is another machine's: it is to migrate to this one. */
  readonly wait?: boolean;
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
  /** How what it owns becomes another head's. */
  readonly move: HeadMove;
  readonly #state: SharedState;
  readonly #place: Place;
  readonly #adopt: boolean;
  #attached = true;

  private constructor(state: SharedState, place: Place, adopt: boolean) {
    this.head = place.head;
    this.#state = state;
    this.#place = place;
    this.#adopt = adopt;
    this.move = new HeadMove(state, place);
  }

  /**
   * Takes the head's place in a pool, or with `wait` a place from which it may be taken over.
   *
   * @throws QmpError GenericError when the object is missing, damaged, of another size, or the head
   *   is taken; nothing is changed then
   */
  static attach(objects: SharedObjects, options: AttachOptions): Pool {
    for (let tries = 0; tries < ATTACH_TRIES; tries++) {
      const pool = openState(objects, options, (state) => Pool.#enter(state, options));
      if (pool !== undefined) return pool;
    }
    throw refused(`mhsld state '${options.name}' comes and goes, attaching was given up`);
  }

  static #enter(
    state: SharedState,
    { head, adopt, hasStatic = false, wait = false }: AttachOptions,
  ): Pool {
    const { name, object } = state;
    if (hasStatic && isForeign(object))
      throw refused(
        `mhsld state '${name}' was made by a program that counts blocks from the start of static memory, a device with static memory cannot join it`,
      );
    settleMoves(state);
    const place = Place.take(object, head, wait);
    if (place === undefined) throw inUse(name, head);
    const pool = new Pool(state, place, adopt);
    if (place.standing === 'seated') pool.#begin();
    return pool;
  }

  /** The head is this machine's from now on. @throws QmpError when a move of it is not over */
  #begin(): void {
    const { head } = this;
    const busy = moveInTheWay(this.#state, ({ from, to }) => from === head || to === head);
    if (busy !== undefined) throw busy;
    if (!this.#adopt) this.#state.map.releaseAll(head);
    this.#state.object.bytes.store(LAYOUT.LD_MAP.offset + head, head);
    this.#place.standing = 'seated';
  }

  get name(): string {
    return this.#state.name;
  }
  get blocks(): number {
    return this.#state.map.blocks;
  }
  /** Whether another machine has this head, which may migrate to this one. */
  get isWaiting(): boolean {
    return this.#place.standing === 'waiting';
  }

  /**
   * Makes free blocks this head's own, all of them or none, as one transaction among all heads.
   *
   * @returns what was in the way
   * @throws QmpError GenericError when the state object was cut, another process keeps it locked, or
   *   the head migrates
   */
  claim(ranges: readonly BlockRange[]): Conflict | undefined {
    return this.#transaction(() => {
      const conflict = this.#state.map.claim(this.head, ranges);
      if (conflict === undefined) this.#state.tags.forget(ranges);
      return conflict;
    });
  }

  /**
   * Makes blocks this head's own that a saved state has. While they are about to move here, they
   * stay whose they are: then it is only looked whether they are there.
   *
   * @returns what is in the way
   * @throws QmpError as `claim`
   */
  restore(ranges: readonly BlockRange[]): Conflict | undefined {
    if (this.move.isExpecting) return this.move.missing(ranges);
    return ranges.length === 0 ? undefined : this.claim(ranges);
  }
  /** Has the head that it waited for, after the other machine went. @throws QmpError if it did not */
  #sitDown(): void {
    this.#state.alone(() => {
      settleMoves(this.#state, this.#place);
      if (this.#place.isShared) throw inUse(this.name, this.head);
      this.#begin();
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
    const { map, tags } = this.#state;
    return this.#transaction(() => {
      const ranges = tags.find(tag).filter((range) => map.contains(range));
      if (ranges.length === 0) return 'unknown';
      return map.share(this.head, ranges) ?? ranges;
    });
  }

  /**
   * Lets other heads join blocks of this one by a tag.
   *
   * @returns false when there is no room for more tags
   * @throws QmpError as `claim`
   */
  tag(tag: string, ranges: readonly BlockRange[]): boolean {
    return this.#transaction(() => this.#state.tags.put(tag, ranges));
  }

  /** Lets go of blocks; those of other heads stay as they are. */
  release(ranges: readonly BlockRange[]): void {
    if (!this.#isSeated || !this.#state.isWhole) return;
    for (const range of ranges) this.#state.map.release(this.head, range);
  }

  /** Whether this head owns every block of a range. */
  owns(range: BlockRange): boolean {
    const { map } = this.#state;
    return this.#isSeated && map.contains(range) && map.owns(this.head, range);
  }

  /** Whether this head owns a block; for every access to memory. */
  ownsBlock(block: number): boolean {
    return this.#isSeated && (this.#state.map.mask(block) & (1 << this.head)) !== 0;
  }

  /** Who owns what, ascending; free blocks are left out. */
  owners(): OwnerRun[] {
    return this.#state.isWhole ? this.#state.map.runs() : [];
  }

  /** Moves of heads that are under way. */
  moves(): readonly Move[] {
    return this.#state.isWhole ? this.#state.moves.list() : [];
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
    const { object, isWhole } = this.#state;
    if (!isWhole) return new Uint8Array(HEADS).fill(UNASSIGNED);
    return object.bytes.copy(LAYOUT.LD_MAP.offset, LAYOUT.LD_MAP.size);
  }

  /**
   * Frees everything that a dead head owns.
   *
   * @returns the number of blocks that it owned
   * @throws QmpError GenericError when there is no such head, it lives or is being moved, or the
   *   object was cut
   */
  freeHead(head: number): number {
    if (head >= HEADS)
      throw refused(
        `mhsld state '${this.name}' has heads 0 to ${String(HEADS - 1)}, no ${String(head)}`,
      );
    const { map, object } = this.#state;
    return this.#state.alone(() => {
      settleMoves(this.#state, this.#place);
      const { state, blocks } = this.heads()[head] ?? { state: 'free', blocks: 0 };
      if (state === 'attached')
        throw refused(`head ${String(head)} of mhsld state '${this.name}' is attached`);
      const busy = moveInTheWay(this.#state, ({ from, to }) => from === head || to === head);
      if (busy !== undefined) throw busy;
      map.releaseAll(head);
      object.bytes.store(LAYOUT.LD_MAP.offset + head, UNASSIGNED);
      return blocks;
    });
  }

  /**
   * Gives up the head's place and all that it owns; the last one removes the object, unless a dead
   * head still owns blocks in it. What migrated away is not touched. Safe to call twice.
   */
  detach(): void {
    if (this.#attached && this.#state.isWhole)
      try {
        if (!this.move.takeBack()) this.move.letGo();
        this.move.abandon();
        if (this.#isSeated) this.#giveUp();
        this.#state.alone(() => this.#removeWhenLast());
      } catch (error) {
        if (!(error instanceof QmpError)) throw error;
        // Somebody keeps the object locked: what is left is found as that of a dead head.
      }
    this.leave();
  }
  #giveUp(): void {
    const { map, object, moves } = this.#state;
    map.releaseAll(this.head);
    object.bytes.store(LAYOUT.LD_MAP.offset + this.head, UNASSIGNED);
    if (moves.list().some(({ from, to }) => from === this.head || to === this.head))
      this.#state.alone(() => {
        for (const { from, to } of moves.list())
          if (from === this.head || to === this.head) moves.remove(from);
      });
  }

  /** Leaves as a killed process does: what the head owns stays its own. Safe to call twice. */
  leave(): void {
    this.#attached = false;
    this.#state.close();
  }

  #removeWhenLast(): void {
    const { object, map } = this.#state;
    const all = Array.from({ length: HEADS }, (_, head) => head);
    if (all.some((head) => machinesAt(object, head) > 0)) return;
    if (map.runs().length > 0 || !object.isLinked()) return;
    this.#state.unlink();
  }

  get #isSeated(): boolean {
    return this.#place.standing === 'seated';
  }

  #stateOf(head: number, blocks: number): HeadStatus['state'] {
    const { object, isWhole } = this.#state;
    if (machinesAt(object, head, this.#place) > 0) return 'attached';
    if (!isWhole) return 'free';
    const entry = object.bytes.load(LAYOUT.LD_MAP.offset + head);
    return blocks > 0 || entry === head ? 'dead' : 'free';
  }

  #transaction<T>(run: () => T): T {
    if (this.isWaiting && !this.move.isExpecting) this.#sitDown();
    const { standing } = this.#place;
    if (standing !== 'seated' || this.move.isExpecting)
      throw refused(
        `head ${String(this.head)} of mhsld state '${this.name}' ${standing === 'moved' ? 'has migrated away' : 'is migrating'}`,
      );
    return this.#state.claiming(run);
  }
}

const inUse = (name: string, head: number): QmpError =>
  refused(`head ${String(head)} of mhsld state '${name}' is in use`);

import { refused, type QmpError } from '../../schema/error.js';
import { LAYOUT } from './layout.js';
import type { Move } from './move-table.js';
import type { BlockRange, Conflict } from './owner-map.js';
import { machinesAt, type Place } from './place.js';
import type { SharedState } from './shared-state.js';

/**
 * Ends moves of which nobody is left who would: what was given and not taken goes back.
 *
 * @param place of the head that looks, if it has one; under the lock of life
 */
export const settleMoves = ({ moves, map, object }: SharedState, place?: Place): void => {
  const at = (head: number): number => machinesAt(object, head, place);
  const isOver = ({ from, to, phase }: Move): boolean => {
    // With one of two machines left, that one knows whether what was given is going to be taken.
    if (from === to) return at(to) < (phase === 'given' ? 1 : 2);
    if (phase === 'given') return at(to) === 0;
    return at(from) === 0 || (phase === 'waiting' && at(to) === 0);
  };
  for (const move of moves.list().filter(isOver)) {
    if (move.phase === 'given') map.move(move.to, move.from);
    moves.remove(move.from);
  }
};

/** @returns why a head cannot be touched, when a move of it is under way */
export const moveInTheWay = (
  { moves, name }: SharedState,
  isMeant: (move: Move) => boolean,
): QmpError | undefined => {
  const move = moves.list().find(isMeant);
  if (move === undefined) return undefined;
  const { from, to } = move;
  return refused(
    `head ${String(from)} of mhsld state '${name}' is being moved to head ${String(to)}`,
  );
};

/**
 * What one head does when it migrates: everything that it owns becomes another head's, or stays with
 * its number, which then is another machine's. Blocks change owners by one atomic step each; what was
 * begun stands in the state object before that, so that whoever survives ends it.
 */
export class HeadMove {
  readonly #state: SharedState;
  readonly #place: Place;
  /** Source: what it had when it gave it, and to whom. */
  #given: { readonly to: number; readonly ranges: readonly BlockRange[] } | undefined;
  /** Destination: whose blocks it waits for. */
  #from: number | undefined;

  constructor(state: SharedState, place: Place) {
    this.#state = state;
    this.#place = place;
  }

  /** Destination: whether it waits for the blocks of a head. */
  get isExpecting(): boolean {
    return this.#from !== undefined;
  }

  /** Destination: waits for what a head owns. @throws QmpError and changes nothing */
  expect(from: number): void {
    const { head } = this.#place;
    this.#state.alone(() => {
      settleMoves(this.#state, this.#place);
      this.#checkSource(from);
      const { moves, map } = this.#state;
      const gone = moves.of(head);
      // It was this head's, which has let go of it: only one with its own number tells nothing yet.
      if (gone?.phase === 'taken' && gone.to !== head) moves.remove(head);
      const busy = moveInTheWay(this.#state, (move) =>
        [move.from, move.to].some((other) => other === from || other === head),
      );
      if (busy !== undefined) throw busy;
      if (from !== head && map.ownsAny(head))
        throw refused(`${this.#name(head)} owns blocks, it cannot take those of ${String(from)}`);
      if (!moves.put({ from, to: head, phase: 'waiting' }))
        throw refused(`mhsld state '${this.#state.name}' has no room for one more move`);
      this.#from = from;
    });
  }
  /** @throws QmpError when what `from` owns cannot come here */
  #checkSource(from: number): void {
    const { head, standing } = this.#place;
    if (standing === 'given' || standing === 'moved')
      throw refused(`${this.#name(head)} is migrating itself`);
    if (standing === 'waiting' && from !== head)
      throw refused(
        `${this.#name(head)} is in use, what head ${String(from)} owns cannot move to it`,
      );
    const other = from === head ? this.#place.isShared : machinesAt(this.#state.object, from) > 0;
    if (!other) throw refused(`${this.#name(from)} is not attached`);
  }

  /** Destination: which of these blocks the head that it waits for does not own. */
  missing(ranges: readonly BlockRange[]): Conflict | undefined {
    const from = this.#from;
    return from === undefined ? undefined : this.#state.map.missing(from, ranges);
  }

  /** Source: makes over everything. @throws QmpError and changes nothing */
  give(): void {
    const { head } = this.#place;
    const { moves, map } = this.#state;
    this.#state.alone(() => {
      const move = moves.of(head);
      if (this.#place.standing !== 'seated' || move?.phase !== 'waiting' || !this.#lives(move))
        throw refused(`nobody waits for what ${this.#name(head)} owns`);
      if (move.to !== head && map.ownsAny(move.to))
        throw refused(
          `${this.#name(move.to)} owns blocks, it cannot take those of ${String(head)}`,
        );
      const ranges = map.runs().filter(({ heads }) => heads.includes(head));
      this.#given = { to: move.to, ranges };
      this.#place.standing = 'given';
      moves.put({ ...move, phase: 'given' });
      if (move.to !== head) map.move(head, move.to);
    });
  }

  /** Destination: has what was given, for good. @throws QmpError when it was taken back */
  take(): void {
    const from = this.#from;
    const { head } = this.#place;
    const { moves, map, object } = this.#state;
    this.#state.alone(() => {
      const move = from === undefined ? undefined : moves.of(from);
      if (move?.phase !== 'given' || move.to !== head)
        throw refused(`${this.#name(head)} was not given what it waits for`);
      if (move.from !== head) map.move(move.from, head);
      moves.put({ ...move, phase: 'taken' });
      object.bytes.store(LAYOUT.LD_MAP.offset + head, head);
      this.#place.standing = 'seated';
      this.#from = undefined;
      settleMoves(this.#state, this.#place);
    });
  }

  /**
   * Source: has again what it gave.
   *
   * @returns false when it was taken, and by one that lives
   * @throws QmpError when another process keeps the object locked
   */
  takeBack(): boolean {
    const { head, standing } = this.#place;
    const { moves, isWhole } = this.#state;
    if (!isWhole) return true;
    if (standing === 'given') return this.#state.alone(() => this.#undo());
    if (standing === 'seated' && moves.of(head)?.phase === 'waiting')
      this.#state.alone(() => {
        if (moves.of(head)?.phase === 'waiting') moves.remove(head);
      });
    return true;
  }
  #undo(): boolean {
    const { head } = this.#place;
    const { moves, map } = this.#state;
    const { ranges = [] } = this.#given ?? {};
    const move = moves.of(head);
    if (move?.phase === 'taken' && this.#lives(move)) return false;
    if (move !== undefined) {
      // Who finds this undone in part goes on with it.
      moves.put({ ...move, phase: 'given' });
      map.move(move.to, head);
      moves.remove(head);
    }
    // Whoever took it may have come and gone meanwhile.
    if (!ranges.every((range) => map.owns(head, range))) return false;
    for (const range of gaps(ranges, map.blocks)) map.release(head, range);
    this.#place.standing = 'seated';
    this.#given = undefined;
    return true;
  }

  /** Destination: waits no more; what it was given goes back. @throws QmpError as `takeBack` */
  abandon(): void {
    const from = this.#from;
    const { moves, map, isWhole } = this.#state;
    if (from === undefined) return;
    this.#from = undefined;
    if (isWhole)
      this.#state.alone(() => {
        const move = moves.of(from);
        if (move?.to !== this.#place.head || move.phase === 'taken') return;
        if (move.phase === 'given') map.move(move.to, from);
        moves.remove(from);
      });
  }

  /** Source: what it gave is somebody else's. @throws QmpError as `takeBack`; it is gone all the same */
  letGo(): void {
    const { head } = this.#place;
    if (this.#given === undefined) return;
    const { to } = this.#given;
    this.#given = undefined;
    if (to === head) this.#place.leave();
    else this.#place.standing = 'seated';
    this.forget();
  }

  /** Source: clears what tells that it was taken. @throws QmpError as `takeBack` */
  forget(): void {
    const { head } = this.#place;
    const { moves, isWhole } = this.#state;
    if (isWhole && moves.of(head)?.phase === 'taken') this.#state.alone(() => moves.remove(head));
  }

  /** Whether the machine that a move leads to is there. */
  #lives({ from, to }: Move): boolean {
    return from === to ? this.#place.isShared : machinesAt(this.#state.object, to) > 0;
  }
  #name(head: number): string {
    return `head ${String(head)} of mhsld state '${this.#state.name}'`;
  }
}

/** What lies between ascending ranges. */
const gaps = (ranges: readonly BlockRange[], blocks: number): BlockRange[] => {
  const starts = [0, ...ranges.map(({ first, count }) => first + count)];
  const ends = [...ranges.map(({ first }) => first), blocks];
  return starts.flatMap((first, i) => {
    const count = (ends[i] ?? blocks) - first;
    return count > 0 ? [{ first, count }] : [];
  });
};

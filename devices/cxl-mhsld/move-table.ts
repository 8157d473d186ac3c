import type { SharedObject } from '../core/shared-object.js';
import { LAYOUT } from './layout.js';

/**
 * How far a move is. `waiting`: `to` waits for it, nothing has changed. `given`: `from` makes over
 * its blocks, or has done so; who learns that `to` is dead makes them over to `from` again. `taken`:
 * they are those of `to`; `from` has not seen it yet.
 */
export type MovePhase = 'waiting' | 'given' | 'taken';

const PHASES = [undefined, 'waiting', 'given', 'taken'] as const;

/** What one head owns becomes another one's, or that of the same head in another machine. */
export interface Move {
  readonly from: number;
  readonly to: number;
  readonly phase: MovePhase;
}
interface Entry extends Move {
  readonly at: number;
}

/**
 * The moves from head to head that are under way, in the state object: whoever is left after the
 * others were killed finds there what was begun. All of it under the lock of life; an entry changes
 * in one step.
 */
export class MoveTable {
  readonly #object: SharedObject;

  constructor(object: SharedObject) {
    this.#object = object;
  }

  list(): readonly Move[] {
    return this.#entries().map(({ from, to, phase }) => ({ from, to, phase }));
  }
  /** The move of what `from` owns. */
  of(from: number): Move | undefined {
    return this.#entries().find((entry) => entry.from === from);
  }

  /** Enters a move, or how far it has come. @returns false when there is no room for another one */
  put(move: Move): boolean {
    const at = this.#entries().find(({ from }) => from === move.from)?.at ?? this.#free();
    if (at === undefined) return false;
    this.#object.bytes.store(at, (PHASES.indexOf(move.phase) << 6) | (move.from << 3) | move.to);
    return true;
  }
  /** Forgets the move of what `from` owns. */
  remove(from: number): void {
    for (const entry of this.#entries())
      if (entry.from === from) this.#object.bytes.store(entry.at, 0);
  }

  #entries(): Entry[] {
    const { offset, size } = LAYOUT.MOVES;
    return [...this.#object.bytes.copy(offset, size)].flatMap((byte, i) => {
      const phase = PHASES[byte >> 6];
      if (phase === undefined) return [];
      return [{ from: (byte >> 3) & 7, to: byte & 7, phase, at: offset + i }];
    });
  }
  #free(): number | undefined {
    const { offset, size } = LAYOUT.MOVES;
    const used = new Set(this.#entries().map(({ at }) => at));
    return Array.from({ length: size }, (_, i) => offset + i).find((at) => !used.has(at));
  }
}

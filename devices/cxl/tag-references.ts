import type { DeviceState, StateValue } from '../core/device.js';
import { fields, list, text } from '../core/saved-state.js';
import type { Interval } from '../core/interval-set.js';
import { IntervalSet } from '../core/interval-set.js';
import { contains, overlap, saveExtents, savedExtents, subtract, type Extent } from './extents.js';

/** Saved references that fit. */
export interface LoadedReferences {
  readonly held: readonly Extent[];
  apply(): void;
}

/** Tags that the fabric manager can refer to at one time. */
export const REFERENCE_LIMIT = 512;

/**
 * Tags that the fabric manager refers to. Capacity under such a tag is neither erased nor free for
 * others when its host gives it back; it is held until the reference is removed.
 *
 * @see CXL 3.1 §7.6.7.6.7, §7.6.7.6.8
 */
export class TagReferences {
  #tags: ReadonlySet<string> = new Set();
  #held: readonly Extent[] = [];

  /** Tags that are referred to. */
  get tags(): ReadonlySet<string> {
    return this.#tags;
  }
  /** Capacity that nobody has, kept for its tag. */
  get held(): readonly Extent[] {
    return this.#held;
  }
  get isFull(): boolean {
    return this.#tags.size >= REFERENCE_LIMIT;
  }

  add(tag: string): void {
    this.#tags = new Set([...this.#tags, tag]);
  }
  /** @returns what was held for it, which is free now */
  remove(tag: string): readonly Extent[] {
    this.#tags = new Set([...this.#tags].filter((other) => other !== tag));
    const freed = this.#held.filter((extent) => extent.tag === tag);
    this.#held = this.#held.filter((extent) => extent.tag !== tag);
    return freed;
  }
  /** Forgets every reference; returns what was held. */
  clear(): readonly Extent[] {
    return [...this.#tags].flatMap((tag) => [...this.remove(tag)]);
  }

  /** Keeps those of `gone` whose tags are referred to; returns the others. */
  keep(gone: readonly Extent[]): readonly Extent[] {
    if (this.#tags.size === 0) return gone;
    this.#held = [...this.#held, ...gone.filter(({ tag }) => this.#tags.has(tag))];
    return gone.filter(({ tag }) => !this.#tags.has(tag));
  }
  /** Whether capacity to be offered is held: not at all, for the same tags, or otherwise. */
  standing(extents: readonly Extent[]): 'free' | 'own' | 'other' {
    const touches = (extent: Extent): boolean => this.#held.some((one) => overlap(one, extent));
    if (!extents.some(touches)) return 'free';
    const own = (extent: Extent): boolean =>
      this.#held.some((one) => one.tag === extent.tag && contains(one, extent));
    return extents.every(own) ? 'own' : 'other';
  }
  /** These are offered again. */
  take(extents: readonly Extent[]): void {
    for (const extent of extents) this.#held = this.#held.flatMap((one) => subtract(one, extent));
  }
  /** The parts of `range` that are not held. */
  gaps(range: Interval): readonly Interval[] {
    return this.#held.length === 0 ? [range] : new IntervalSet(this.#held).gaps(range);
  }

  save(): DeviceState {
    return { tags: [...this.#tags], held: saveExtents(this.#held) };
  }
  /** Checks a saved state; what it holds and what applies it. @throws QmpError when it does not fit */
  prepareLoad(state: StateValue | undefined): LoadedReferences {
    const { tags, held } = savedReferences(state, 'saved references to tags');
    return {
      held,
      apply: () => {
        this.#tags = new Set(tags);
        this.#held = held;
      },
    };
  }
}

const savedReferences = fields({
  tags: list(text(/^[0-9a-f]{32}$/), REFERENCE_LIMIT),
  held: savedExtents,
});

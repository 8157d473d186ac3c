import type { EventNotifier, EventNotifiers } from '../core/event-notifier.js';
import type { PeerInfo } from './server-view.js';

/** Counters that one device holds of all peers together; more are closed as they come. */
export const MAX_COUNTERS = 8192;

export interface PeersOptions {
  readonly notifiers: EventNotifiers;
  /** Vectors of each peer; further ones that the server announces are not wanted. */
  readonly vectors: number;
}

/** The event counters of every peer, own ones included: one per vector, in vector order. */
export class Peers {
  readonly #options: PeersOptions;
  readonly #counters = new Map<number, EventNotifier[]>();
  #held = 0;

  constructor(options: PeersOptions) {
    this.#options = options;
  }

  /** Ids with the number of vectors that can be rung, by id. */
  get list(): PeerInfo[] {
    const all = [...this.#counters].map(([id, counters]) => ({ id, vectors: counters.length }));
    return all.sort((a, b) => a.id - b.id);
  }

  /**
   * Takes over the counter of a peer's next vector.
   *
   * @returns the vector and its counter
   * @throws Error in plain words when it is one too many or of no use; it is closed then
   */
  add(id: number, descriptor: number): { vector: number; counter: EventNotifier } {
    const counters = this.#counters.get(id) ?? [];
    const problem = this.#problem(counters.length);
    if (problem !== undefined) {
      this.#options.notifiers.discard(descriptor);
      throw new Error(problem);
    }
    const counter = this.#options.notifiers.adopt(descriptor);
    this.#held++;
    this.#counters.set(id, counters);
    return { vector: counters.push(counter) - 1, counter };
  }

  #problem(vectors: number): string | undefined {
    const { vectors: most } = this.#options;
    if (vectors >= most) return `Too many eventfd received, device has ${String(most)} vectors`;
    if (this.#held < MAX_COUNTERS) return undefined;
    return `Too many eventfd received, a device holds at most ${String(MAX_COUNTERS)}`;
  }

  /** Wakes a peer; nothing happens when peer or vector are not there. */
  ring(id: number, vector: number): void {
    this.#counters.get(id)?.[vector]?.signal();
  }

  remove(id: number): void {
    const counters = this.#counters.get(id) ?? [];
    this.#held -= counters.length;
    this.#counters.delete(id);
    for (const counter of counters) counter.close();
  }

  close(): void {
    for (const id of [...this.#counters.keys()]) this.remove(id);
  }
}

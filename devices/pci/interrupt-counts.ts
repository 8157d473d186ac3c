/** What became of the interrupts of one vector (of INTx: of the pin). */
export interface VectorCounts {
  readonly vector: number;
  /** Messages sent, or rises of the line that the bus saw. */
  delivered: number;
  /** Messages that got nowhere: the function may not master the bus. */
  dropped: number;
}

/** One way of a function to interrupt. */
export interface InterruptSource {
  readonly kind: 'intx' | 'msi' | 'msi-x';
  /** Software chose it; for INTx: does not keep it from the bus. */
  readonly enabled: boolean;
  /** Vectors that were ever raised, in order; pending: raised while masked or kept from the bus. */
  readonly vectors: readonly (Readonly<VectorCounts> & { readonly pending: boolean })[];
}

/**
 * Counts the interrupts of a function since it was made: for people and tests, not part of what the
 * guest side sees, so neither reset nor saved.
 */
export class InterruptCounts {
  readonly #byVector = new Map<number, VectorCounts>();

  /** @param delivered whether it got anywhere */
  count(vector: number, delivered: boolean): void {
    const counts = this.#of(vector);
    if (delivered) counts.delivered++;
    else counts.dropped++;
  }

  /** The vectors that were raised, `isPending` ones of `total` among them. */
  describe(total: number, isPending: (vector: number) => boolean): InterruptSource['vectors'] {
    const all = Array.from({ length: total }, (_, vector) => vector);
    return all
      .filter((vector) => this.#byVector.has(vector) || isPending(vector))
      .map((vector) => ({
        ...(this.#byVector.get(vector) ?? { vector, delivered: 0, dropped: 0 }),
        pending: isPending(vector),
      }));
  }

  #of(vector: number): VectorCounts {
    let counts = this.#byVector.get(vector);
    if (counts === undefined) {
      counts = { vector, delivered: 0, dropped: 0 };
      this.#byVector.set(vector, counts);
    }
    return counts;
  }
}

import { refused } from '../../schema/error.js';

/** How many passed descriptors a machine keeps, under names of all its monitors and in sets. */
export class DescriptorBudget {
  readonly #limit: number;
  #held = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * Counts one more.
   *
   * @param what names the descriptor in the error
   * @throws QmpError GenericError at the limit; nothing is counted then
   */
  claim(what: string): void {
    if (this.#held >= this.#limit)
      throw refused(
        `${what} cannot be kept: the machine holds ${String(this.#held)} already, the limit`,
      );
    this.#held++;
  }

  release(count: number): void {
    this.#held -= count;
  }
}

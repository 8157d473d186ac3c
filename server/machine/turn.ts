/**
 * The turn of a machine: one in-band command at a time, in order of asking (design §6.1). Every
 * session asks for at most one turn, so the order is round-robin over sessions.
 */
export class Turn {
  #taken = false;
  readonly #waiting: (() => void)[] = [];

  /** Takes the turn if nobody has it or waits for it. */
  tryEnter(): boolean {
    if (this.#taken) return false;
    this.#taken = true;
    return true;
  }
  /** Resolves when the turn is ours. */
  enter(): Promise<void> {
    if (this.tryEnter()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
  /** Hands the turn to the one who has waited longest. */
  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#taken = false;
    else next();
  }
  /** Gives the turn up while `wait` lasts, for commands that wait for the guest side. */
  async outside<T>(wait: Promise<T>): Promise<T> {
    this.leave();
    try {
      return await wait;
    } finally {
      await this.enter();
    }
  }
}

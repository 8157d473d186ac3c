import { refused } from '../../schema/error.js';

/**
 * Whether the guest side may act. In the last phase of a migration what it asks for waits for the
 * outcome, so that nothing that was answered is lost: it is done here when the machine stays, and
 * refused when it has left.
 */
export class GuestGate {
  #isHeld = false;
  #refusal: string | undefined;
  #wake: (() => void)[] = [];
  readonly #hooks = new Set<() => void>();

  /** The outcome is open: nothing is answered. */
  get isHeld(): boolean {
    return this.#isHeld;
  }
  /** Why the guest side may change nothing; undefined when it may. */
  get refusal(): string | undefined {
    return this.#refusal;
  }

  /** Keeps everything waiting until `open` or `refuse`. */
  hold(): void {
    this.#isHeld = true;
  }
  /** All may pass. */
  open(): void {
    this.#refusal = undefined;
    this.#settle();
  }
  /** Reads may pass; what changes something is refused. */
  refuse(reason: string): void {
    this.#refusal = reason;
    this.#settle();
  }
  /** Calls `hook` whenever what waited may go on; returns the unsubscribe. */
  onSettled(hook: () => void): () => void {
    this.#hooks.add(hook);
    return () => void this.#hooks.delete(hook);
  }

  /** Resolves when the outcome is known. */
  async settled(): Promise<void> {
    while (this.#isHeld) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }
  /** The same for what changes something. @throws QmpError when changes are refused then */
  async pass(): Promise<void> {
    await this.settled();
    if (this.#refusal !== undefined) throw refused(this.#refusal);
  }

  #settle(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    for (const wake of this.#wake.splice(0)) wake();
    for (const hook of [...this.#hooks]) hook();
  }
}

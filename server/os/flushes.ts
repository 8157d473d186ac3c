/**
 * Flushes of one mapping. A flush under way may have passed what was written since it began, so who
 * asks then waits for one more; all who ask in the meantime share it.
 */
export class Flushes {
  readonly #work: () => Promise<void>;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  /** @param work flushes once; never called again before it has settled */
  constructor(work: () => Promise<void>) {
    this.#work = work;
  }

  /** Resolves when a flush that began after this call is done. @throws what `work` throws */
  request(): Promise<void> {
    if (this.#next !== undefined) return this.#next;
    if (this.#running === undefined) return this.#start();
    this.#next = this.#settled(this.#running).then(() => {
      this.#next = undefined;
      return this.#start();
    });
    return this.#next;
  }

  /** Calls `then` when nothing is under way: now, if so. */
  whenIdle(then: () => void): void {
    const last = this.#next ?? this.#running;
    if (last === undefined) then();
    else void this.#settled(last).then(() => this.whenIdle(then));
  }

  #start(): Promise<void> {
    this.#running = this.#work().finally(() => (this.#running = undefined));
    return this.#running;
  }
  /** Its failure belongs to who asked for it. */
  #settled(flush: Promise<void>): Promise<void> {
    return flush.catch(() => undefined);
  }
}

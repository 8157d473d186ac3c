/** What keeps a machine from being migrated. */
export class MigrationBlockers {
  readonly #reasons = new Set<{ readonly text: string }>();

  /** Adds a reason, as often as somebody has it; returns what takes it back. */
  add(text: string): () => void {
    const reason = { text };
    this.#reasons.add(reason);
    return () => void this.#reasons.delete(reason);
  }

  /** Newest first, as QEMU. */
  get reasons(): string[] {
    return [...this.#reasons].map(({ text }) => text).reverse();
  }
}

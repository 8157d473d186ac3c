import { closeSync } from 'node:fs';
import type { DescriptorBudget } from '../machine/descriptor-budget.js';
import type { NamedDescriptors } from './target.js';

/** The descriptors of a monitor by name (`getfd`); closes what is left at its end. */
export class DescriptorNames implements NamedDescriptors {
  readonly #byName = new Map<string, number>();
  readonly #budget: DescriptorBudget;

  constructor(budget: DescriptorBudget) {
    this.#budget = budget;
  }

  set(name: string, fd: number): void {
    const before = this.#byName.get(name);
    if (before === undefined) this.#budget.claim(`File descriptor named '${name}'`);
    else closeSync(before);
    this.#byName.set(name, fd);
  }

  take(name: string): number | undefined {
    const fd = this.#byName.get(name);
    if (this.#byName.delete(name)) this.#budget.release(1);
    return fd;
  }

  /** Closes all of them. Safe to call twice. */
  close(): void {
    for (const fd of this.#byName.values()) closeSync(fd);
    this.#budget.release(this.#byName.size);
    this.#byName.clear();
  }
}

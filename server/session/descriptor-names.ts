import { closeSync } from 'node:fs';
import type { NamedDescriptors } from './target.js';

/** The descriptors of a monitor by name (`getfd`); closes what is left at its end. */
export class DescriptorNames implements NamedDescriptors {
  readonly #byName = new Map<string, number>();

  set(name: string, fd: number): void {
    const before = this.take(name);
    if (before !== undefined) closeSync(before);
    this.#byName.set(name, fd);
  }

  take(name: string): number | undefined {
    const fd = this.#byName.get(name);
    this.#byName.delete(name);
    return fd;
  }

  /** Closes all of them. Safe to call twice. */
  close(): void {
    for (const fd of this.#byName.values()) closeSync(fd);
    this.#byName.clear();
  }
}

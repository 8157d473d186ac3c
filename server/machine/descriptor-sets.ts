import { closeSync } from 'node:fs';
import type { DescriptorBudget } from './descriptor-budget.js';

export interface DescriptorInSet {
  readonly fd: number;
  readonly opaque: string | undefined;
}

/** Numbered sets of descriptors, shared by all monitors of a machine (`add-fd`). */
export class DescriptorSets {
  readonly #sets = new Map<bigint, DescriptorInSet[]>();
  readonly #budget: DescriptorBudget;

  constructor(budget: DescriptorBudget) {
    this.#budget = budget;
  }

  /**
   * Takes `fd` over.
   *
   * @returns the number of the set: the given one, or the lowest that is free
   * @throws QmpError when the machine keeps too many; `fd` stays the caller's
   */
  add(fd: number, set: bigint | undefined, opaque: string | undefined): bigint {
    const id = set ?? this.#free();
    this.#budget.claim(`File descriptor of fdset-id:${String(id)}`);
    const members = this.#sets.get(id) ?? [];
    members.push({ fd, opaque });
    this.#sets.set(id, members);
    return id;
  }

  /** Closes a descriptor, or the whole set; a set without members is gone. @returns false: not found */
  remove(id: bigint, fd: bigint | undefined): boolean {
    const members = this.#sets.get(id) ?? [];
    const leaving = members.filter((member) => fd === undefined || BigInt(member.fd) === fd);
    if (leaving.length === 0) return false;
    for (const member of leaving) closeSync(member.fd);
    this.#budget.release(leaving.length);
    const rest = members.filter((member) => !leaving.includes(member));
    if (rest.length === 0) this.#sets.delete(id);
    else this.#sets.set(id, rest);
    return true;
  }

  /** The sets, highest number first, members in order of addition. */
  list(): { readonly id: bigint; readonly members: readonly DescriptorInSet[] }[] {
    return [...this.#sets]
      .map(([id, members]) => ({ id, members }))
      .sort((a, b) => (a.id < b.id ? 1 : -1));
  }

  /** Closes all of them. Safe to call twice. */
  close(): void {
    const members = [...this.#sets.values()].flat();
    for (const { fd } of members) closeSync(fd);
    this.#budget.release(members.length);
    this.#sets.clear();
  }

  #free(): bigint {
    let id = 0n;
    while (this.#sets.has(id)) id++;
    return id;
  }
}

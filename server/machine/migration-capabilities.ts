import { refused } from '../../schema/error.js';
import type { Infer } from '../../schema/lang.js';
import { MigrationCapability } from '../../schema/migration.js';

type Capability = Infer<typeof MigrationCapability>;
export interface CapabilityState {
  readonly capability: Capability;
  readonly state: boolean;
}

/** What one capability needs of another, with the words of QEMU. */
const NEEDS: readonly (readonly [Capability, Capability, string])[] = [
  ['postcopy-preempt', 'postcopy-ram', 'Postcopy preempt requires postcopy-ram'],
];

/** The migration capabilities of one machine, all off at first. */
export class MigrationCapabilities {
  #on: ReadonlySet<Capability> = new Set();

  /** Every capability, in the order of the schema. */
  list(): CapabilityState[] {
    return MigrationCapability.values.map((capability) => ({
      capability,
      state: this.#on.has(capability),
    }));
  }

  /** Switches all of them or none. @throws QmpError GenericError when one needs another */
  set(changes: readonly CapabilityState[]): void {
    const next = new Set(this.#on);
    for (const { capability, state } of changes)
      if (state) next.add(capability);
      else next.delete(capability);
    for (const [capability, needed, text] of NEEDS)
      if (next.has(capability) && !next.has(needed)) throw refused(text);
    this.#on = next;
  }
}

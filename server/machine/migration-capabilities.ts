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

/** What a migration here cannot do; the others are done, or have nothing to do here. */
const UNSUPPORTED: readonly Capability[] = [
  ...(['xbzrle', 'compress', 'postcopy-ram', 'postcopy-preempt', 'postcopy-blocktime'] as const),
  ...(['x-colo', 'block', 'multifd', 'background-snapshot', 'zero-copy-send'] as const),
];

/** The migration capabilities of one machine, all off at first. */
export class MigrationCapabilities {
  #on: ReadonlySet<Capability> = new Set();
  readonly #isBusy: () => boolean;

  /** @param isBusy whether a migration is under way */
  constructor(isBusy: () => boolean = () => false) {
    this.#isBusy = isBusy;
  }

  /** Every capability, in the order of the schema. */
  list(): CapabilityState[] {
    return MigrationCapability.values.map((capability) => ({
      capability,
      state: this.#on.has(capability),
    }));
  }

  has(capability: Capability): boolean {
    return this.#on.has(capability);
  }
  /** @throws QmpError naming one that is on and that a migration here cannot do */
  checkSupported(): void {
    const found = UNSUPPORTED.find((capability) => this.#on.has(capability));
    if (found !== undefined)
      throw refused(`Migration capability '${found}' is on, and is not supported: switch it off`);
  }
  /** Switches all of them or none. @throws QmpError during a migration, or when one needs another */
  set(changes: readonly CapabilityState[]): void {
    if (this.#isBusy()) throw refused("There's a migration process in progress");
    const next = new Set(this.#on);
    for (const { capability, state } of changes)
      if (state) next.add(capability);
      else next.delete(capability);
    for (const [capability, needed, text] of NEEDS)
      if (next.has(capability) && !next.has(needed)) throw refused(text);
    this.#on = next;
  }
}

import { refused } from '../../schema/error.js';
import type { Handlers, Infer } from '../../schema/lang.js';
import type * as migration from '../../schema/migration.js';
import { MigrationCapability } from '../../schema/migration.js';
import type { CommandContext } from './context.js';

type Capability = Infer<typeof MigrationCapability>;
type MigrationHandlers = Handlers<typeof migration, CommandContext>;

/** What one capability needs of another, with the words of QEMU. */
const NEEDS: readonly (readonly [Capability, Capability, string])[] = [
  ['postcopy-preempt', 'postcopy-ram', 'Postcopy preempt requires postcopy-ram'],
];

/** The handlers of one machine; its capabilities last as long as they do. */
export const migrationHandlers = (): MigrationHandlers => {
  let on: ReadonlySet<Capability> = new Set();
  return {
    'query-migrate': (_args, { machine }) => {
      const { reasons } = machine.migrationBlockers;
      return reasons.length === 0 ? {} : { 'blocked-reasons': reasons };
    },
    migrate_cancel: () => undefined,
    'query-migrate-capabilities': () =>
      MigrationCapability.values.map((capability) => ({ capability, state: on.has(capability) })),
    'migrate-set-capabilities': ({ capabilities }) => {
      const next = new Set(on);
      for (const { capability, state } of capabilities)
        if (state) next.add(capability);
        else next.delete(capability);
      for (const [capability, needed, text] of NEEDS)
        if (next.has(capability) && !next.has(needed)) throw refused(text);
      on = next;
    },
  };
};

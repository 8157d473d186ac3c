import type { Handlers } from '../../schema/lang.js';
import type * as migration from '../../schema/migration.js';
import type { CommandContext } from './context.js';

export const migrationHandlers = {
  'query-migrate': (_, { machine }) => {
    const { reasons } = machine.migrationBlockers;
    return reasons.length === 0 ? {} : { 'blocked-reasons': reasons };
  },
  migrate_cancel: () => undefined,
  'query-migrate-capabilities': (_, { machine }) => machine.migration.capabilities.list(),
  'migrate-set-capabilities': ({ capabilities }, { machine }) =>
    machine.migration.capabilities.set(capabilities),
} satisfies Handlers<typeof migration, CommandContext>;

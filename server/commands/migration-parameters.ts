import type { Handlers } from '../../schema/lang.js';
import type * as parameters from '../../schema/migration-parameters.js';
import type { CommandContext } from './context.js';

export const migrationParameterHandlers = {
  'query-migrate-parameters': (_, { machine }) => machine.migration.parameters.all,
  'migrate-set-parameters': (given, { machine }) => machine.migration.parameters.set(given),
} satisfies Handlers<typeof parameters, CommandContext>;

import type { Handlers } from '../../schema/lang.js';
import type * as migration from '../../schema/migration.js';
import { refused } from '../../schema/error.js';
import type { CommandContext } from './context.js';

export const migrationHandlers = {
  migrate: ({ uri, blk, inc, resume }, { machine, client }) =>
    machine.migration.start(
      uri,
      { resume: resume === true, disks: blk === true || inc === true },
      (name) => client.descriptors.take(name),
    ),
  'migrate-incoming': ({ uri }, { machine, client }) =>
    machine.migration.listen(uri, (name) => client.descriptors.take(name)),
  'migrate-continue': ({ state }, { machine }) => machine.migration.proceed(state),
  'migrate-start-postcopy': () => {
    // As QEMU without the capability.
    throw refused('Enable postcopy with migrate_set_capability before the start of migration');
  },
  migrate_cancel: (_, { machine }) => machine.migration.cancel(),
  'query-migrate': (_, { machine }) => machine.migration.info(),
  'query-migrate-capabilities': (_, { machine }) => machine.migration.capabilities.list(),
  'migrate-set-capabilities': ({ capabilities }, { machine }) =>
    machine.migration.capabilities.set(capabilities),
} satisfies Handlers<typeof migration, CommandContext>;

import type * as control from '../../schema/control.js';
import { QmpError, refused } from '../../schema/error.js';
import type { Handlers } from '../../schema/lang.js';
import type { SchemaInfo } from '../../schema/schema-info.js';
import type { Infer } from '../../schema/lang.js';
import { QMP_VERSION } from '../version.js';
import type { PreparedJson } from '../session/target.js';
import type { CommandContext } from './context.js';

/** What the control commands need of the daemon. */
export interface ControlServices {
  /** Names of all commands, newest first. */
  commandNames(): readonly string[];
  /** The answer of `query-qmp-schema`, written once. */
  schema(): PreparedJson;
  native(): { native: 'full' | 'none'; reason?: string; features: string[] };
}

type ControlHandlers = Handlers<typeof control, CommandContext>;

export const controlHandlers = (services: ControlServices): ControlHandlers => ({
  qmp_capabilities: () => {
    throw new QmpError(
      'CommandNotFound',
      'Capabilities negotiation is already complete, command ignored',
    );
  },
  'query-version': () => QMP_VERSION,
  'query-name': (_, { machine }) => {
    const { guestName } = machine.options;
    return guestName === undefined ? {} : { name: guestName };
  },
  'query-uuid': (_, { machine }) => ({
    UUID: machine.options.uuid ?? '00000000-0000-0000-0000-000000000000',
  }),
  'query-status': (_, { machine }) => ({
    status: machine.runState.status,
    running: machine.runState.running,
  }),
  'query-kvm': () => ({ enabled: false, present: false }),
  'query-target': () => ({ arch: 'x86_64' }),
  'query-commands': () => services.commandNames().map((name) => ({ name })),
  // The text is prepared once; the writer passes it through.
  'query-qmp-schema': () => services.schema() as unknown as Infer<typeof SchemaInfo>[],
  stop: (_, { machine }) => machine.runState.stop(),
  cont: (_, { machine }) => machine.runState.cont(),
  system_reset: (_, { machine }) => machine.reset(),
  system_powerdown: (_, { machine }) => machine.powerdown(),
  quit: (_, { machine, client }) => {
    machine.shutdown('host-qmp-quit');
    client.closeAfterReply();
  },
  'query-native': () => services.native(),
  yank: ({ instances }, { machine }) => machine.options.yanks.cut(instances),
  'query-yank': (_, { machine }) => machine.options.yanks.list(),
  'migrate-recover': () => {
    throw refused('Migrate recover can only be run when postcopy is paused.');
  },
  'migrate-pause': () => {
    throw refused(
      'migrate-pause is currently only supported during postcopy-active or postcopy-recover state',
    );
  },
});

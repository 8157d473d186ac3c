import type { CommandClient } from '../session/target.js';
import type { Machine } from '../machine/machine.js';

/** What a command handler gets besides its arguments. */
export interface CommandContext {
  readonly machine: Machine;
  readonly client: CommandClient;
}

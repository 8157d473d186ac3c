import { modules } from '../../schema/index.js';
import { introspect } from '../../schema/introspect.js';
import type { JsonObject } from '../../schema/json.js';
import type { CommandDef } from '../../schema/lang.js';
import { checkArguments } from '../../schema/validate.js';
import type { CommandEntry, CommandTable } from '../dispatch/dispatcher.js';
import { writeJson } from '../framing/writer.js';
import { PreparedJson } from '../session/target.js';
import type { CommandContext } from './context.js';
import { absentHandlers } from './absent.js';
import { blockHandlers } from './block.js';
import { boardHandlers } from './board.js';
import { chardevHandlers } from './chardev.js';
import { controlHandlers, type ControlServices } from './control.js';
import { cxlHandlers } from './cxl.js';
import { cxlPoolHandlers } from './cxl-pools.js';
import { deviceStateHandlers } from './device-state.js';
import { descriptorHandlers } from './descriptors.js';
import { deviceStateFileHandlers } from './device-state-files.js';
import { eventHandlers } from './events.js';
import { admitted } from './guest-side.js';
import { guestHandlers } from './guest.js';
import { humanMonitorHandlers } from './human-monitor.js';
import { ivshmemHandlers } from './ivshmem.js';
import { memoryHandlers } from './memory.js';
import { migrationHandlers } from './migration.js';
import { migrationParameterHandlers } from './migration-parameters.js';
import { pciHandlers } from './pci.js';
import { preconfigHandlers } from './preconfig.js';
import { qdevHandlers } from './qdev.js';
import { qomHandlers } from './qom.js';

type AnyHandler = (args: never, context: CommandContext) => unknown;

const isCommand = (value: unknown): value is CommandDef =>
  typeof value === 'object' && value !== null && (value as { kind?: unknown }).kind === 'command';

/** Every command of the schema, in schema order. */
const allCommands = (): CommandDef[] =>
  modules.flatMap((module) => Object.values(module).filter(isCommand));

/** Writes the schema once, on first use. */
const schemaOnce = (): (() => PreparedJson) => {
  let prepared: PreparedJson | undefined;
  return () => {
    if (prepared === undefined) {
      const value = introspect(modules);
      prepared = new PreparedJson(value, writeJson(value));
    }
    return prepared;
  };
};

/** All commands by name, with the text of the schema: one table serves every machine of a daemon. */
export const commandTable = (native: ControlServices['native']): CommandTable => {
  const defs = allCommands();
  const names = defs.map(({ name }) => name).reverse();
  const control = controlHandlers({ commandNames: () => names, schema: schemaOnce(), native });
  const handlers: Record<string, AnyHandler> = {
    ...absentHandlers,
    ...blockHandlers,
    ...boardHandlers,
    ...control,
    ...chardevHandlers,
    ...cxlHandlers,
    ...cxlPoolHandlers,
    ...descriptorHandlers,
    ...deviceStateHandlers,
    ...deviceStateFileHandlers,
    ...eventHandlers,
    ...guestHandlers,
    ...humanMonitorHandlers,
    ...ivshmemHandlers,
    ...memoryHandlers,
    ...migrationHandlers,
    ...migrationParameterHandlers,
    ...pciHandlers,
    ...preconfigHandlers,
    ...qdevHandlers,
    ...qomHandlers,
  };
  return new Map(defs.map((def) => [def.name, entryFor(def, handlers[def.name])]));
};

const entryFor = (def: CommandDef, handler: AnyHandler | undefined): CommandEntry => {
  if (handler === undefined) throw new Error(`no handler for command ${def.name}`);
  const run = admitted(def.name, handler);
  return {
    def,
    run: (args: JsonObject | undefined, context) => {
      const checked = def.gen === false ? (args ?? {}) : checkArguments(def, args);
      return run(checked as never, context);
    },
  };
};

import type { Log } from '../../devices/core/device.js';
import { QmpError, commandNotFound, refused } from '../../schema/error.js';
import type { JsonObject } from '../../schema/json.js';
import type { CommandDef } from '../../schema/lang.js';
import type { CommandContext } from '../commands/context.js';
import type { Machine } from '../machine/machine.js';
import type { Turn } from '../machine/turn.js';
import type { CommandCall, Outcome, QmpTarget } from '../session/target.js';

/** A command and what runs it, on whichever machine. */
export interface CommandEntry {
  readonly def: CommandDef;
  run(args: JsonObject | undefined, context: CommandContext): unknown;
}
export type CommandTable = ReadonlyMap<string, CommandEntry>;

/** What commands need before they can run. */
export interface Loaded {
  readonly machine: Machine;
  readonly commands: CommandTable;
}

export interface DispatcherOptions {
  readonly greeting: unknown;
  readonly turn: Turn;
  readonly log: Log;
  /** Settles when the machine is built, so the greeting need not wait for it. */
  readonly loading: Promise<Loaded>;
  /** False while the machine waits in `--preconfig`. */
  readonly initialized: () => boolean;
}

const isPromise = (value: unknown): value is Promise<unknown> => value instanceof Promise;

/** Finds, checks and runs commands; rows 4 to 10 of reference/qmp-protocol.md §2.3. */
export class Dispatcher implements QmpTarget {
  readonly greeting: unknown;
  readonly #turn: Turn;
  readonly #log: Log;
  readonly #initialized: () => boolean;
  readonly #loading: Promise<Loaded>;
  #loaded: Loaded | undefined;

  constructor(options: DispatcherOptions) {
    this.greeting = options.greeting;
    this.#turn = options.turn;
    this.#log = options.log;
    this.#initialized = options.initialized;
    this.#loading = options.loading;
    // A failure to build the machine is reported by whoever builds it.
    this.#loading.then(
      (loaded) => (this.#loaded = loaded),
      () => undefined,
    );
  }

  run(call: CommandCall): Outcome | Promise<Outcome> {
    const loaded = this.#loaded;
    if (loaded === undefined) return this.#runWhenLoaded(call);
    let entry: CommandEntry;
    try {
      entry = this.#find(call, loaded.commands);
    } catch (error) {
      return this.#failure(call, error);
    }
    if (call.oob) return this.#execute(entry, call, loaded.machine);
    if (!this.#turn.tryEnter()) return this.#runInTurn(entry, call, loaded.machine);
    const outcome = this.#execute(entry, call, loaded.machine);
    if (!isPromise(outcome)) {
      this.#turn.leave();
      return outcome;
    }
    return outcome.finally(() => this.#turn.leave());
  }

  async #runWhenLoaded(call: CommandCall): Promise<Outcome> {
    try {
      this.#loaded = await this.#loading;
    } catch (error) {
      return this.#failure(call, refused('the machine could not be built', error));
    }
    return this.run(call);
  }

  async #runInTurn(entry: CommandEntry, call: CommandCall, machine: Machine): Promise<Outcome> {
    await this.#turn.enter();
    try {
      return await this.#execute(entry, call, machine);
    } finally {
      this.#turn.leave();
    }
  }

  #find(call: CommandCall, commands: CommandTable): CommandEntry {
    const entry = commands.get(call.command);
    if (entry === undefined)
      throw commandNotFound(`The command ${call.command} has not been found`);
    if (call.oob && entry.def.allowOob !== true)
      throw refused(`The command ${call.command} does not support OOB`);
    if (!this.#initialized() && entry.def.allowPreconfig !== true)
      throw refused(
        `The command '${call.command}' is permitted only after machine initialization has completed`,
      );
    return entry;
  }

  #execute(entry: CommandEntry, call: CommandCall, machine: Machine): Outcome | Promise<Outcome> {
    try {
      const value = entry.run(call.arguments, { machine, client: call.client });
      if (!isPromise(value)) return { ok: true, value: value ?? {} };
      return value.then(
        (result): Outcome => ({ ok: true, value: result ?? {} }),
        (error: unknown): Outcome => this.#failure(call, error),
      );
    } catch (error) {
      return this.#failure(call, error);
    }
  }

  #failure(call: CommandCall, error: unknown): Outcome {
    if (error instanceof QmpError) return { ok: false, class: error.class, desc: error.message };
    this.#log.error({ err: error, command: call.command }, 'command failed unexpectedly');
    return {
      ok: false,
      class: 'GenericError',
      desc: `internal error while running command '${call.command}'`,
    };
  }
}

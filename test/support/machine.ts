import { CharTable } from '../../server/chardev/table.js';
import { commandTable } from '../../server/commands/table.js';
import type { CommandTable } from '../../server/dispatch/dispatcher.js';
import { createLog } from '../../server/log.js';
import { buildMachine } from '../../server/machine/build.js';
import { DescriptorBudget } from '../../server/machine/descriptor-budget.js';
import type { Machine } from '../../server/machine/machine.js';
import { Turn } from '../../server/machine/turn.js';
import { YankInstances } from '../../server/machine/yank-instances.js';
import { parseCommandLine } from '../../server/options/command-line.js';
import { NativeEventNotifiers } from '../../server/os/event-notifiers.js';
import { NativeHostMemory } from '../../server/os/host-memory.js';
import { InheritedDescriptors } from '../../server/os/inherited-descriptors.js';
import { NativeLoader } from '../../server/os/native.js';
import { NativeSharedObjects } from '../../server/os/shared-objects.js';
import type { CommandClient } from '../../server/session/target.js';
import type { Json } from '../side-by-side/client.js';
import type { Cleanup } from './daemon.js';

/** A machine without a daemon around it: its ports, its commands, its events. */
export interface TestMachine {
  readonly machine: Machine;
  /** Names and data of events, in order. */
  readonly events: { readonly name: string; readonly data: unknown }[];
  /** Calls `listener` in the moment of every event. */
  watch(listener: (name: string, data: unknown) => void): void;
  /** Runs a command. @throws QmpError */
  run(command: string, args?: Record<string, Json>): Promise<unknown>;
  /** One configuration access through ports 0xcf8 and 0xcfc. */
  config: {
    read(bus: number, slot: number, fn: number, register: number, size?: 1 | 2 | 4): number;
    write(
      bus: number,
      slot: number,
      fn: number,
      register: number,
      value: number,
      size?: 1 | 2 | 4,
    ): void;
  };
}

const client: CommandClient = {
  subscribe: () => ({ stream: '', sequence: 0n, lost: 0n }),
  takeDescriptor: () => undefined,
  descriptors: { set: () => undefined, take: () => undefined },
  closeAfterReply: () => undefined,
  gone: new AbortController().signal,
};

/** The commands that a daemon's machines share. */
export const sharedCommands = (): CommandTable =>
  commandTable(() => ({ native: 'full', features: [] }));

/** Builds the machine that the words of a command line describe. */
export const startMachine = async (
  t: Cleanup,
  words: readonly string[],
  commands = sharedCommands(),
): Promise<TestMachine> => {
  const invocation = parseCommandLine(words);
  if (invocation.kind !== 'run') throw new Error('the words run no daemon');
  const { limits } = invocation.options;
  const [config] = invocation.options.machines;
  if (config === undefined) throw new Error('the words describe no machine');
  const events: { name: string; data: unknown }[] = [];
  const listeners: ((name: string, data: unknown) => void)[] = [];
  const loader = new NativeLoader();
  const yanks = new YankInstances();
  const log = createLog('silent');
  const chardevs = new CharTable({ native: loader.load, limits, log, yanks });
  t.teardown(() => chardevs.close());
  const machine = await buildMachine(config, {
    log,
    limits,
    loadNative: loader.load,
    hostMemory: new NativeHostMemory(loader),
    eventNotifiers: new NativeEventNotifiers(loader.load),
    chardevs,
    yanks,
    descriptorBudget: new DescriptorBudget(limits.descriptors),
    sharedObjects: new NativeSharedObjects(loader),
    inherited: InheritedDescriptors.none(),
    turn: new Turn(),
    emit: (event, data) => {
      events.push({ name: event.name, data });
      for (const listener of listeners) listener(event.name, data);
    },
    onQuit: () => undefined,
  });
  t.teardown(() => machine.close());
  const { io } = machine.platform;
  const select = (bus: number, slot: number, fn: number, register: number): void =>
    io.write(0xcf8n, 4, BigInt(2 ** 31 + bus * 65536 + slot * 2048 + fn * 256 + (register & ~3)));
  return {
    machine,
    events,
    watch: (listener) => void listeners.push(listener),
    run: async (command, args = {}) =>
      commands.get(command)?.run(args as never, { machine, client }),
    config: {
      read: (bus, slot, fn, register, size = 4) => {
        select(bus, slot, fn, register);
        return Number(io.read(0xcfcn + BigInt(register & 3), size));
      },
      write: (bus, slot, fn, register, value, size = 4) => {
        select(bus, slot, fn, register);
        io.write(0xcfcn + BigInt(register & 3), size, BigInt(value));
      },
    },
  };
};

import { plainTypes, userDeviceTypes } from '../../devices/index.js';
import { QmpError, refused } from '../../schema/error.js';
import type { JsonObject } from '../../schema/json.js';
import { deviceRequest } from '../commands/qdev.js';
import type { MachineConfig, Written } from '../config.js';
import type { NumaNodeSetting } from '../options/numa.js';
import type { DeviceRequest } from './device-table.js';
import { Machine, type MachineOptions } from './machine.js';
import { TypeRegistry } from './type-registry.js';

/** What the daemon gives to a machine, beside its configuration. */
export type BuildOptions = Pick<
  MachineOptions,
  | 'log'
  | 'limits'
  | 'loadNative'
  | 'hostMemory'
  | 'eventNotifiers'
  | 'chardevs'
  | 'yanks'
  | 'descriptorBudget'
  | 'sharedObjects'
  | 'inherited'
  | 'turn'
  | 'emit'
  | 'onQuit'
>;

type Origin = Pick<Written, 'origin'>;

/** A written object or device that could not be made; the message is `ORIGIN: reason`. */
const blame = (written: Origin, error: unknown): Error =>
  error instanceof QmpError
    ? new Error(`${written.origin}: ${error.message}`, { cause: error })
    : new Error(`${written.origin}: unexpected failure`, { cause: error });

const textValue = (written: Written & { form: 'text' }, name: string): string | undefined =>
  written.values.findLast(([key]) => key === name)?.[1];

const asJson = (written: Written): JsonObject => {
  if (written.form === 'json') return written.values;
  throw new Error('objects are read as JSON');
};

const requestOf = (written: Written): DeviceRequest => {
  if (written.form === 'json') return deviceRequest(written.values);
  return {
    driver: textValue(written, 'driver') ?? '',
    id: textValue(written, 'id'),
    bus: textValue(written, 'bus'),
    settings: {
      form: 'text',
      values: written.values.filter(([name]) => !['driver', 'id', 'bus'].includes(name)),
    },
  };
};

/**
 * Makes a machine as its configuration says: objects, board, devices; then it runs.
 *
 * @throws Error naming the option that failed and the reason; nothing is left behind
 */
export const buildMachine = async (
  config: MachineConfig,
  options: BuildOptions,
): Promise<Machine> => {
  const types = new TypeRegistry(userDeviceTypes, plainTypes);
  const machine = new Machine({ ...config, ...options, types });
  if (config.incoming !== undefined) machine.runState.awaitMigration(!config.paused);
  try {
    for (const written of config.objects)
      await tryMake(written, () => machine.objects.addUnchecked(asJson(written)));
    for (const node of config.numa ?? []) await tryMake(node, () => addNumaNode(machine, node));
    if (config.preconfig === true) machine.preconfig = () => leavePreconfig(machine, config);
    else await complete(machine, config);
  } catch (error) {
    await machine.close();
    throw error;
  }
  return machine;
};

const addNumaNode = (machine: Machine, { nodeid, memdev }: NumaNodeSetting): void => {
  if (machine.options.kind === 'none') throw refused('NUMA is not supported by this machine-type');
  if (memdev !== undefined) machine.objects.checkBackend(memdev);
  machine.numa.addNode(nodeid, memdev);
};

/** Board and devices; then the machine runs. */
const complete = async (machine: Machine, config: MachineConfig): Promise<void> => {
  const { origin } = config;
  if (origin === undefined) await machine.build();
  else await tryMake({ origin }, () => machine.build());
  for (const written of config.devices)
    await tryMake(written, async () => {
      await machine.devices.add(requestOf(written));
    });
  machine.start(config.paused);
  const { incoming } = config;
  if (incoming === undefined) return;
  const place = origin === undefined ? `-incoming ${incoming}` : `${origin}.incoming`;
  await tryMake({ origin: place }, () => machine.migration.await(incoming));
};

/** A machine that cannot be created tells why, and ends. */
const leavePreconfig = async (machine: Machine, config: MachineConfig): Promise<void> => {
  machine.preconfig = undefined;
  try {
    await complete(machine, config);
  } catch (error) {
    machine.defer(machine.options.onQuit);
    throw refused(error instanceof Error ? error.message : 'the machine cannot be created', error);
  }
};

const tryMake = async (written: Origin, make: () => void | Promise<void>): Promise<void> => {
  try {
    await make();
  } catch (error) {
    throw blame(written, error);
  }
};

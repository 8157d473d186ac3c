import type { JsonObject, JsonValue } from '../../schema/json.js';
import { QmpError, refused } from '../../schema/error.js';
import type { Handlers } from '../../schema/lang.js';
import type * as qdev from '../../schema/qdev.js';
import type { DeviceEntry } from '../machine/device-entry.js';
import type { DeviceRequest } from '../machine/device-table.js';
import type { Machine } from '../machine/machine.js';
import type { CommandContext } from './context.js';

const textOrNothing = (value: JsonValue | undefined): string | undefined =>
  typeof value === 'string' ? value : undefined;

/**
 * Splits the untyped arguments of `device_add`; as QEMU 10.2, an `id` or `bus` that is no string
 * counts as absent.
 *
 * @throws QmpError when `driver` is missing or no string
 */
export const deviceRequest = (args: JsonObject): DeviceRequest => {
  const driver = textOrNothing(args['driver']);
  if (driver === undefined) throw refused(`Parameter 'driver' is missing`);
  const values = Object.entries(args).filter(([name]) => !['driver', 'id', 'bus'].includes(name));
  return {
    driver,
    id: textOrNothing(args['id']),
    bus: textOrNothing(args['bus']),
    settings: { form: 'json', values },
  };
};

/**
 * With `guest-policy=accept` the built-in hotplug driver lets go as soon as the reply is out; with
 * `reject` it says that it keeps a memory device.
 */
const answerUnplug = (machine: Machine, entry: DeviceEntry): void => {
  if (machine.guestPolicy === 'manual') return;
  machine.defer(() => {
    if (!entry.realized) return;
    if (machine.guestPolicy === 'reject') {
      machine.refuseUnplug(entry);
      return;
    }
    try {
      machine.eject(entry);
    } catch (error) {
      // What the guest cannot let go of stays, as with a guest that has no such driver.
      if (!(error instanceof QmpError)) throw error;
      machine.options.log.info({ path: entry.object.path, reason: error.message }, 'not ejected');
    }
  });
};

/** Asks for the removal of a device, and answers for the guest where the policy says so. */
export const requestRemoval = (machine: Machine, id: string): void =>
  answerUnplug(machine, machine.devices.requestUnplug(id));

/** @throws QmpError while the devices are on their way */
export const checkStays = ({ migration }: Machine, command: string): void => {
  if (migration.isUnderWay) throw refused(`${command} not allowed while migrating`);
};

export const qdevHandlers = {
  device_add: async (args, { machine }) => {
    checkStays(machine, 'device_add');
    await machine.devices.add(deviceRequest(args as unknown as JsonObject));
  },
  device_del: ({ id }, { machine }) => {
    checkStays(machine, 'device_del');
    requestRemoval(machine, id);
  },
  'device-yank': ({ id }, { machine }) => {
    checkStays(machine, 'device-yank');
    machine.devices.yank(id);
  },
} satisfies Handlers<typeof qdev, CommandContext>;

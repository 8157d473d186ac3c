import { checkAddPolicy, checkReleasePolicy } from '../../devices/cxl/capacity-requests.js';
import { capacityInfo } from '../../devices/cxl/capacity-info.js';
import {
  dramRecord,
  generalMediaRecord,
  memoryModuleRecord,
} from '../../devices/cxl/event-records.js';
import type { CapacityManager } from '../../devices/cxl/capacity-manager.js';
import { EVENT_LOG, type EventLogIndex } from '../../devices/cxl/event-logs.js';
import { asCxlMemoryDevice, type CxlMemoryDevice } from '../../devices/cxl/type3.js';
import { LINE, POISON_SOURCE } from '../../devices/cxl/poison-list.js';
import { CORRECTABLE_BIT, UNCORRECTABLE_BIT } from '../../devices/cxl/ras.js';
import type * as cxl from '../../schema/cxl.js';
import { refused } from '../../schema/error.js';
import type { Handlers } from '../../schema/lang.js';
import { checkActive, type DeviceEntry } from '../machine/device-entry.js';
import { withCxlDriver } from '../machine/guest-drivers.js';
import type { Machine } from '../machine/machine.js';
import { resolvePath, type QomObject } from '../machine/qom.js';
import { decodeBase64 } from './base64.js';
import type { CommandContext } from './context.js';

const memoryDeviceOf = ({ instance }: QomObject): CxlMemoryDevice | undefined =>
  typeof instance === 'object' && instance !== null ? asCxlMemoryDevice(instance) : undefined;

/** The device of an injection. @throws QmpError with the texts of reference/cxl.md §7.1 */
const findTarget = (machine: Machine, path: string): CxlMemoryDevice => {
  const result = resolvePath(machine.root, path);
  if (result.kind !== 'found') throw refused('Unable to resolve path');
  const device = memoryDeviceOf(result.object);
  if (device === undefined) throw refused('Path does not point to a CXL type 3 device');
  const entry = machine.devices.ofFunction(device.pci);
  if (entry !== undefined) checkActive(entry);
  return device;
};

/** The device of a capacity request; other kinds of objects are not looked at. @throws QmpError */
const findEntry = (machine: Machine, path: string): DeviceEntry => {
  const result = resolvePath(machine.root, path, (object) => memoryDeviceOf(object) !== undefined);
  if (result.kind !== 'found') throw refused('Unable to resolve CXL type 3 device');
  return machine.devices.find(result.object.path);
};
const managerOf = ({ device }: DeviceEntry): CapacityManager => {
  const manager = asCxlMemoryDevice(device)?.state.manager;
  if (manager === undefined) throw refused('No dynamic capacity support from the device');
  return manager;
};

/** Whoever changes capacity by a request. @throws QmpError */
const requestedManager = (machine: Machine, path: string): CapacityManager => {
  const entry = findEntry(machine, path);
  const manager = managerOf(entry);
  checkActive(entry);
  return manager;
};

const LOGS: Readonly<Record<string, EventLogIndex>> = {
  informational: EVENT_LOG.INFORMATIONAL,
  warning: EVENT_LOG.WARNING,
  failure: EVENT_LOG.FAILURE,
  fatal: EVENT_LOG.FATAL,
};
const inject = (machine: Machine, path: string, log: string, record: () => Uint8Array): void => {
  const { state } = findTarget(machine, path);
  state.logs.append(LOGS[log] ?? EVENT_LOG.INFORMATIONAL, record());
};

const rangesOf = (extents: readonly { 'start-dpa': bigint; len: bigint }[]) =>
  extents.map(({ 'start-dpa': base, len }) => ({ base, len }));

const query = (machine: Machine, path: string | undefined) => {
  const entries =
    path === undefined
      ? [...machine.devices.entries].filter(
          ({ device }) => asCxlMemoryDevice(device)?.state.manager,
        )
      : [findEntry(machine, path)];
  return entries.map((entry) => ({
    ...(entry.id === undefined ? {} : { device: entry.id }),
    path: entry.object.path,
    ...capacityInfo(managerOf(entry).capacity),
  }));
};

export const cxlHandlers = {
  'cxl-inject-general-media-event': ({ path, log, ...event }, { machine }) =>
    inject(machine, path, log, () =>
      generalMediaRecord({
        ...event,
        transactionType: event['transaction-type'],
        componentId: event['component-id'],
      }),
    ),
  'cxl-inject-dram-event': ({ path, log, ...event }, { machine }) =>
    inject(machine, path, log, () =>
      dramRecord({
        ...event,
        transactionType: event['transaction-type'],
        nibbleMask: event['nibble-mask'],
        bankGroup: event['bank-group'],
        correctionMask: event['correction-mask'],
      }),
    ),
  'cxl-inject-memory-module-event': ({ path, log, ...event }, { machine }) =>
    inject(machine, path, log, () =>
      memoryModuleRecord({
        ...event,
        healthStatus: event['health-status'],
        mediaStatus: event['media-status'],
        additionalStatus: event['additional-status'],
        lifeUsed: event['life-used'],
        dirtyShutdownCount: event['dirty-shutdown-count'],
        correctedVolatileErrorCount: event['corrected-volatile-error-count'],
        correctedPersistentErrorCount: event['corrected-persistent-error-count'],
      }),
    ),
  'cxl-inject-poison': ({ path, start, length }, { machine }) => {
    if (length % LINE !== 0n) throw refused('Poison injection must be in multiples of 64 bytes');
    if (start % LINE !== 0n) throw refused('Poison start address must be 64 byte aligned');
    const { poison, time } = findTarget(machine, path).state;
    const range = { base: start, len: length };
    if (poison.touches(range)) throw refused('Overlap with existing poisoned region not supported');
    if (!poison.add({ ...range, source: POISON_SOURCE.INTERNAL }, time.now()))
      throw refused('No more poison can be recorded: the list and its overflow are full');
  },
  'cxl-inject-uncorrectable-errors': ({ path, errors }, { machine }) =>
    findTarget(machine, path).injectUncorrectable(
      errors.map(({ type, header }) => ({ bit: UNCORRECTABLE_BIT[type], header })),
    ),
  'cxl-inject-correctable-error': ({ path, type }, { machine }) =>
    findTarget(machine, path).injectCorrectable(CORRECTABLE_BIT[type]),
  'cxl-add-dynamic-capacity': (args, { machine }) => {
    const { path, region, tag, extents, 'host-id': hostId, 'selection-policy': policy } = args;
    checkAddPolicy({ policy, tag });
    requestedManager(machine, path).add({ hostId, policy, region, tag, extents });
  },
  'cxl-release-dynamic-capacity': (args, { machine }) => {
    const { path, region, tag, extents, 'host-id': hostId, 'removal-policy': policy } = args;
    const { 'forced-removal': forced = false, 'sanitize-on-release': sanitize = false } = args;
    checkReleasePolicy({ policy, forced, tag });
    const manager = requestedManager(machine, path);
    manager.release({ hostId, policy, forced, sanitize, region, tag, extents });
  },
  'query-cxl-dynamic-capacity': ({ path }, { machine }) => query(machine, path),
  'guest-cxl-mailbox': async ({ id, opcode, payload }, { machine, client }) => {
    const input = decodeBase64('payload', payload ?? '');
    const { code, output } = await withCxlDriver(machine, id, (driver) =>
      driver.mailbox(opcode, input, client.gone),
    );
    return { 'return-code': code, payload: Buffer.from(output).toString('base64') };
  },
  'guest-cxl-respond': ({ id, action, extents }, { machine, client }) =>
    withCxlDriver(machine, id, (driver) =>
      driver.respond(action, extents === undefined ? undefined : rangesOf(extents), client.gone),
    ),
  'guest-cxl-release': ({ id, extents }, { machine, client }) =>
    withCxlDriver(machine, id, (driver) => driver.release(rangesOf(extents), client.gone)),
} satisfies Handlers<typeof cxl, CommandContext>;

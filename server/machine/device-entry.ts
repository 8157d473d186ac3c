import type { Activity } from '../../devices/core/activity.js';
import type { Device, DeviceType } from '../../devices/core/device.js';
import { asMemoryDevice, type MemoryDevice } from '../../devices/core/memory-device.js';
import type { OwnMemories } from '../../devices/core/own-memory.js';
import { asPciDevice, type PciDevice } from '../../devices/pci/function.js';
import type { BoardDevice } from '../../devices/platform/platform.js';
import { refused } from '../../schema/error.js';
import type { StateControl } from '../../devices/state/control.js';
import type { PropertyBag } from './device-properties.js';
import type { QomObject } from './qom.js';

/** One device of a machine and everything the machine knows about it. */
export interface DeviceEntry {
  readonly id: string | undefined;
  readonly type: DeviceType;
  readonly device: Device;
  /** Whether it may act. */
  readonly activity: Activity;
  /** The memory that is part of its state. */
  readonly memories: OwnMemories;
  /** Its state as clients of the device state see it; made when it is asked for. */
  readonly state: StateControl;
  readonly pci: PciDevice | undefined;
  /** A piece of guest memory: a module in a slot, or, on a bus, a resizable one. */
  readonly memory: MemoryDevice | undefined;
  readonly object: QomObject;
  readonly properties: PropertyBag;
  readonly hotplugged: boolean;
  realized: boolean;
}

/** Adds the properties that clients see on a device object. */
export const exposeDevice = (
  entry: DeviceEntry,
  bus: { object: QomObject | undefined; hotpluggable: () => boolean },
): void => {
  const { object, properties, type } = entry;
  const { liveProperties = {} } = entry.device;
  for (const [name, definition] of Object.entries(properties.definitions)) {
    const live = liveProperties[name];
    const isLink = definition.link !== undefined;
    object.addProperty(name, {
      type: definition.qomType,
      description: definition.doc,
      get: () =>
        live?.get() ??
        showPlace(entry, name) ??
        entry.device.settled?.(name) ??
        properties.show(name),
      target: () => properties.linkTarget(name),
      set: (value) => {
        if (live === undefined) throw refused(afterRealize(entry, name, isLink));
        checkActive(entry);
        live.set(value);
      },
    });
  }
  object.addProperty('realized', { type: 'bool', get: () => entry.realized });
  object.addProperty('hotplugged', { type: 'bool', get: () => entry.hotplugged });
  object.addProperty('hotpluggable', {
    type: 'bool',
    get: () => type.hotpluggable !== false && bus.hotpluggable(),
  });
  object.addProperty('parent_bus', {
    type: 'link<bus>',
    get: () => bus.object?.path ?? '',
    target: () => bus.object,
  });
};

/** @throws QmpError while the device is stopped: nothing changes it then */
export const checkActive = ({ activity, id, object }: DeviceEntry): void => {
  if (activity.stopped) throw refused(`device '${id ?? object.path}' is stopped`);
};

/** What the machine chose, or may have chosen, in place of what was set. */
const showPlace = ({ pci, memory }: DeviceEntry, name: string): bigint | undefined => {
  if (pci !== undefined) return name === 'addr' ? BigInt(pci.pci.devfn) : undefined;
  const part = memory?.memoryDevice;
  if (part === undefined || part.kind === 'virtio-mem') return undefined;
  const { addr, slot, findMemdev } = part;
  if (name === 'addr') return addr;
  if (name === 'slot') return BigInt(slot);
  return name === 'size' ? findMemdev().memory.size : undefined;
};

const afterRealize = (entry: DeviceEntry, name: string, isLink: boolean): string => {
  const what = isLink ? 'link property' : 'property';
  const whom =
    entry.id === undefined
      ? `anonymous device (type '${entry.type.name}')`
      : `device '${entry.id}' (type '${entry.type.name}')`;
  return `Attempt to set ${what} '${name}' on ${whom} after it was realized`;
};

/** What a device is made of, before it is put in its place. */
export type MadeDevice = Pick<
  DeviceEntry,
  'id' | 'type' | 'device' | 'object' | 'properties' | 'hotplugged'
>;

/** The entry of a device that is not realized yet. */
export const deviceEntry = (
  made: MadeDevice,
  { activity, memories }: Pick<DeviceEntry, 'activity' | 'memories'>,
  stateControl: (entry: DeviceEntry) => StateControl,
): DeviceEntry => {
  let state: StateControl | undefined;
  const entry: DeviceEntry = {
    ...made,
    activity,
    memories,
    get state() {
      return (state ??= stateControl(entry));
    },
    pci: asPciDevice(made.device),
    memory: asMemoryDevice(made.device),
    realized: false,
  };
  return entry;
};

/** The type of a board device: there is nothing to set on it, and nobody can make another. */
export const boardType = (board: BoardDevice): DeviceType => ({
  name: board.typeName,
  parent: 'pci-device',
  interfaces: ['conventional-pci-device'],
  userCreatable: false,
  hotpluggable: false,
  properties: {},
  create: () => board.device,
});

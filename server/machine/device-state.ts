import type { StateImage } from '../../devices/core/device.js';
import { decodeConfig, encodeConfig } from '../../devices/state/config-format.js';
import { StateControl } from '../../devices/state/control.js';
import { DeviceStateChanged, type DeviceStateName } from '../../schema/device-state.js';
import type { EventData, EventDef, Infer } from '../../schema/lang.js';
import type { DeviceEntry } from './device-entry.js';

/** What the machine adds to the state of its devices. */
export interface StateServices {
  /** Most bytes of memory that a pass, a snapshot or a load holds. */
  readonly passBytes: number;
  readonly emit: <E extends EventDef>(event: E, data: EventData<E>) => void;
}

/** By the number of the state. */
const NAMES = ['running', 'stop', 'running-logging', 'stop-logging'] as const;
export const stateName = (state: number): Infer<typeof DeviceStateName> =>
  NAMES[state] ?? 'running';
export const stateNumber = (name: Infer<typeof DeviceStateName>): number => NAMES.indexOf(name);

/** How texts and events name a device. */
export const nameOf = ({ id, object }: Pick<DeviceEntry, 'id' | 'object'>): string =>
  id ?? object.path;

/** The configuration of a device in the checked format of its type. */
export const configImage = ({ type, device }: Pick<DeviceEntry, 'type' | 'device'>): StateImage => {
  const identity = { typeName: type.name, version: type.stateVersion ?? 1 };
  return {
    save: () => encodeConfig(identity, device.save()),
    load: (bytes) => device.load(decodeConfig(identity, bytes)),
  };
};

/** The state control of a device. */
export const stateControl = (entry: DeviceEntry, services: StateServices): StateControl => {
  const { id, object, activity, memories, device } = entry;
  const fn = entry.pci?.pci;
  return new StateControl({
    name: nameOf(entry),
    activity,
    memories,
    config: device.stateImage ?? configImage(entry),
    onDmaWrite: fn === undefined ? undefined : (hook) => fn.onDmaWrite(hook),
    passBytes: services.passBytes,
    changed: (from, to) =>
      services.emit(DeviceStateChanged, {
        ...(id === undefined ? {} : { device: id }),
        path: object.path,
        from: stateName(from),
        to: stateName(to),
      }),
  });
};

import type { DeviceEntry } from '../machine/device-entry.js';
import type { Machine } from '../machine/machine.js';

/** Whose state some bytes are. */
export interface Identity {
  readonly typeName: string;
  readonly version: number;
}

export const identityOf = ({ type }: DeviceEntry): Identity => ({
  typeName: type.name,
  version: type.stateVersion ?? 1,
});
/** The parts of the platform that are no devices. */
export const platformIdentity = ({ platform }: Machine): Identity => ({
  typeName: platform.canonicalName,
  version: 1,
});

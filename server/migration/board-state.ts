import type { DeviceState } from '../../devices/core/device.js';
import { refused } from '../../schema/error.js';
import type { DeviceEntry } from '../machine/device-entry.js';
import type { Machine } from '../machine/machine.js';

/** What software sees of a machine besides its devices and its memory. */
export const saveBoard = (machine: Machine): DeviceState => ({
  platform: machine.platform.save(),
  unplugging: [...machine.devices.entries]
    .filter((entry) => isPending(machine, entry))
    .map(({ object }) => object.path),
});

/** @throws QmpError, with nothing changed, when it does not fit */
export const loadBoard = (machine: Machine, { platform, unplugging }: DeviceState): void => {
  const isMap = typeof platform === 'object' && !Array.isArray(platform);
  if (!isMap || platform instanceof Uint8Array || !Array.isArray(unplugging))
    throw refused('state of the board lacks its parts');
  machine.platform.load(platform);
  for (const { memory, object } of machine.devices.entries) {
    if (memory === undefined || memory.memoryDevice.kind === 'virtio-mem') continue;
    if (unplugging.includes(object.path)) machine.memorySlots.requestUnplug(memory);
    else machine.memorySlots.rejectUnplug(memory);
  }
};

/** The guest was asked to let go of a memory module. */
const isPending = (machine: Machine, { memory }: DeviceEntry): boolean =>
  memory !== undefined && machine.memorySlots.isPending(memory);

import { closeSync, fstatSync } from 'node:fs';
import { QmpError, refused } from '../../schema/error.js';
import type { CommandContext } from './context.js';

/** Servers of QEMU that are not there, with QEMU's words. */
const NOT_IN_USE: Readonly<Record<string, string>> = {
  spice: 'SPICE is not in use',
  '@dbus-display': 'D-Bus display is not in use',
};

const FAILED = 'failed to add client';

/** @throws QmpError for a socket that carries no stream */
const handOver = (adopt: (fd: number) => void, fd: number): void => {
  try {
    adopt(fd);
  } catch {
    throw refused(FAILED);
  }
};

/**
 * `add_client`: the named descriptor becomes the client of a character device.
 *
 * @throws QmpError; the name is used up and the descriptor closed all the same, as in QEMU
 */
export const adoptClient = (protocol: string, fdname: string, context: CommandContext): void => {
  const fd = context.client.descriptors.take(fdname);
  if (fd === undefined) throw refused(`File descriptor named '${fdname}' has not been found`);
  try {
    if (!fstatSync(fd).isSocket()) throw refused('parameter @fdname must name a socket');
    const inactive = Object.hasOwn(NOT_IN_USE, protocol) ? NOT_IN_USE[protocol] : undefined;
    if (inactive !== undefined) throw new QmpError('DeviceNotActive', inactive);
    const chardev = context.machine.options.chardevs.get(protocol);
    if (chardev === undefined) throw refused(`protocol '${protocol}' is invalid`);
    const { backend, channel } = chardev;
    const { adopt } = backend;
    if (adopt === undefined || channel?.connected === true) throw refused(FAILED);
    handOver(adopt, fd);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
};

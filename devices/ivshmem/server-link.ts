import { refused } from '../../schema/error.js';
import type { DeviceContext } from '../core/device.js';
import { HostError } from '../core/host-memory.js';
import { IvshmemClient } from './client.js';
import type { IvshmemClientOptions } from './client.js';

/**
 * The client behind a device's property `chardev`.
 *
 * @throws QmpError when there is no such chardev, it is in use, or nobody is at its other end
 */
export const serverLink = (
  context: DeviceContext,
  chardev: string,
  options: Pick<IvshmemClientOptions, 'vectors' | 'mapsMemory' | 'interrupt'>,
): IvshmemClient => {
  checkHost(context);
  const server = context.chardevs.claim(chardev, `${context.typeName}.chardev`);
  if (!server.connected) {
    server.release();
    throw refused(`chardev '${chardev}' is not connected to an ivshmem server`);
  }
  return new IvshmemClient({ ...options, services: context, server });
};

const checkHost = ({ eventNotifiers }: DeviceContext): void => {
  try {
    eventNotifiers.check();
  } catch (error) {
    throw error instanceof HostError ? refused(error.message, error) : error;
  }
};

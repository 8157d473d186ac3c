import { deviceType } from '../core/device.js';
import { IvshmemPlain } from './device.js';
import { IvshmemPlainProperties } from './properties.js';

const DESCRIPTION = 'Inter-VM shared memory';

/** The abstract parent of the inter-VM shared memory devices. */
export const ivshmemCommon = deviceType({
  name: 'ivshmem-common',
  parent: 'pci-device',
  description: DESCRIPTION,
  interfaces: ['conventional-pci-device'],
  abstract: true,
  properties: {},
  create: () => {
    throw new Error('ivshmem-common is abstract');
  },
});

export const ivshmemPlain = deviceType({
  name: 'ivshmem-plain',
  parent: 'ivshmem-common',
  description: DESCRIPTION,
  interfaces: ['conventional-pci-device'],
  properties: IvshmemPlainProperties,
  create: (context, properties) => new IvshmemPlain(context, properties),
});

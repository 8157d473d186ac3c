import { deviceType } from '../core/device.js';
import { IVSHMEM_DESCRIPTION } from './identity.js';

/** The abstract parent of the inter-VM shared memory devices. */
export const ivshmemCommon = deviceType({
  name: 'ivshmem-common',
  parent: 'pci-device',
  description: IVSHMEM_DESCRIPTION,
  interfaces: ['conventional-pci-device'],
  abstract: true,
  properties: {},
  create: () => {
    throw new Error('ivshmem-common is abstract');
  },
});

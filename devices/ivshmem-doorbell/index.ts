import { deviceType } from '../core/device.js';
import { IVSHMEM_DESCRIPTION } from '../ivshmem/identity.js';
import { IvshmemDoorbell } from './device.js';
import { IvshmemDoorbellProperties } from './properties.js';

export const ivshmemDoorbell = deviceType({
  name: 'ivshmem-doorbell',
  parent: 'ivshmem-common',
  description: IVSHMEM_DESCRIPTION,
  interfaces: ['conventional-pci-device'],
  properties: IvshmemDoorbellProperties,
  create: (context, properties) => new IvshmemDoorbell(context, properties),
});

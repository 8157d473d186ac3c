import { deviceType } from '../core/device.js';
import { IVSHMEM_DESCRIPTION } from '../ivshmem/identity.js';
import { IvshmemPlain } from './device.js';
import { IvshmemPlainProperties } from './properties.js';

export const ivshmemPlain = deviceType({
  name: 'ivshmem-plain',
  parent: 'ivshmem-common',
  description: IVSHMEM_DESCRIPTION,
  interfaces: ['conventional-pci-device'],
  properties: IvshmemPlainProperties,
  create: (context, properties) => new IvshmemPlain(context, properties),
});

import { deviceType } from '../core/device.js';
import { VirtioShmemPci } from './device.js';
import { VirtioShmemPciProperties } from './properties.js';

export const virtioShmemPci = deviceType({
  name: 'virtio-shmem-pci',
  parent: 'pci-device',
  description: 'Shared memory regions of virtio',
  interfaces: ['conventional-pci-device'],
  properties: VirtioShmemPciProperties,
  create: (context, properties) => new VirtioShmemPci(context, properties),
});

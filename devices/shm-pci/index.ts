import { deviceType } from '../core/device.js';
import { ShmPci } from './device.js';
import { ShmPciProperties } from './properties.js';

export const shmPci = deviceType({
  name: 'shm-pci',
  parent: 'pci-device',
  description: 'Generic shared memory',
  interfaces: ['conventional-pci-device'],
  properties: ShmPciProperties,
  create: (context, properties) => new ShmPci(context, properties),
});

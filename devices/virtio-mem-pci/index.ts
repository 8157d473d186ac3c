import { deviceType } from '../core/device.js';
import { VirtioMemPci } from './device.js';
import { VirtioMemPciProperties } from './properties.js';

export const virtioMemPci = deviceType({
  name: 'virtio-mem-pci',
  parent: 'virtio-mem-pci-base',
  description: 'Memory that a guest takes and gives back in blocks',
  interfaces: ['conventional-pci-device', 'pci-express-device'],
  properties: VirtioMemPciProperties,
  create: (context, properties) => new VirtioMemPci(context, properties),
});

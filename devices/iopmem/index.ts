import { deviceType } from '../core/device.js';
import { Iopmem } from './device.js';
import { IopmemProperties } from './properties.js';

export const iopmem = deviceType({
  name: 'iopmem',
  parent: 'pci-device',
  category: 'storage',
  description: 'Non-Volatile IO Memory Storage',
  interfaces: ['pci-express-device'],
  properties: IopmemProperties,
  create: (context, properties) => new Iopmem(context, properties),
});

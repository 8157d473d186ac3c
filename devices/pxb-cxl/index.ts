import { deviceType } from '../core/device.js';
import { PxbCxl } from './device.js';
import { pxbCxlProperties } from './properties.js';

export const pxbCxl = deviceType({
  name: 'pxb-cxl',
  parent: 'pci-device',
  category: 'bridge',
  description: 'CXL Host Bridge',
  interfaces: ['conventional-pci-device'],
  hotpluggable: false,
  properties: pxbCxlProperties,
  create: (context, properties) => new PxbCxl(context, properties),
});

import { deviceType } from '../core/device.js';
import { Edu } from './device.js';
import { EduProperties } from './properties.js';

export const edu = deviceType({
  name: 'edu',
  parent: 'pci-device',
  interfaces: ['conventional-pci-device'],
  properties: EduProperties,
  create: (context, properties) => new Edu(context, properties),
});

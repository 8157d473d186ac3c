import { deviceType } from '../core/device.js';
import { StateSample } from './device.js';
import { StateSampleProperties } from './properties.js';

export const stateSample = deviceType({
  name: 'state-sample',
  parent: 'pci-device',
  description: 'memory, a configuration and DMA, to rehearse clients of the device state with',
  interfaces: ['conventional-pci-device'],
  properties: StateSampleProperties,
  create: (context, properties) => new StateSample(context, properties),
});

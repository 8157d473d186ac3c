import { deviceType } from '../core/device.js';
import { VfioState } from './device.js';
import { VfioStateProperties } from './properties.js';

export const vfioState = deviceType({
  name: 'vfio-state',
  parent: 'pci-device',
  description: 'the device state of another device, as the regions of the 2019 VFIO proposal',
  interfaces: ['conventional-pci-device'],
  properties: VfioStateProperties,
  create: (context, properties) => new VfioState(context, properties),
});

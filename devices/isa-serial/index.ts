import { deviceType } from '../core/device.js';
import { IsaSerial } from './device.js';
import { IsaSerialProperties } from './properties.js';

export const isaSerial = deviceType({
  name: 'isa-serial',
  parent: 'isa-device',
  category: 'input',
  interfaces: [],
  place: 'isa',
  properties: IsaSerialProperties,
  create: (context, properties) => new IsaSerial(context, properties),
});

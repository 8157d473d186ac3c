import { deviceType } from '../core/device.js';
import { CxlDownstream } from './device.js';
import { cxlDownstreamProperties } from './properties.js';

export const cxlDownstream = deviceType({
  name: 'cxl-downstream',
  parent: 'pcie-slot',
  category: 'bridge',
  description: 'CXL Switch Downstream Port',
  interfaces: ['cxl-device'],
  properties: cxlDownstreamProperties,
  create: (context, properties) => new CxlDownstream(context, properties),
});

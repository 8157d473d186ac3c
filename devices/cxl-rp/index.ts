import { deviceType } from '../core/device.js';
import { CxlRootPort } from './device.js';
import { cxlRootPortProperties } from './properties.js';

export const cxlRootPort = deviceType({
  name: 'cxl-rp',
  parent: 'pcie-root-port-base',
  category: 'bridge',
  description: 'CXL Root Port',
  interfaces: ['cxl-device'],
  hotpluggable: false,
  properties: cxlRootPortProperties,
  create: (context, properties) => new CxlRootPort(context, properties),
});

import { deviceType } from '../core/device.js';
import { CxlUpstream } from './device.js';
import { cxlUpstreamProperties } from './properties.js';

export const cxlUpstream = deviceType({
  name: 'cxl-upstream',
  parent: 'pcie-port',
  category: 'bridge',
  description: 'CXL Switch Upstream Port',
  interfaces: ['cxl-device'],
  properties: cxlUpstreamProperties,
  create: (context, properties) => new CxlUpstream(context, properties),
});

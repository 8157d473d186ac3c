import { deviceType } from '../core/device.js';
import { PcieRootPort } from './device.js';
import { rootPortProperties } from './properties.js';

export const pcieRootPort = deviceType({
  name: 'pcie-root-port',
  parent: 'pcie-root-port-base',
  category: 'bridge',
  description: 'PCI Express Root Port',
  interfaces: ['pci-express-device'],
  properties: rootPortProperties,
  create: (context, properties) => new PcieRootPort(context, properties),
});

import { deviceType } from '../core/device.js';
import { PciBridge, pciBridgeProperties } from '../pci/pci-bridge.js';

export const pciBridge = deviceType({
  name: 'pci-bridge',
  parent: 'base-pci-bridge',
  category: 'bridge',
  description: 'Standard PCI Bridge',
  interfaces: ['conventional-pci-device'],
  properties: pciBridgeProperties,
  create: (context, properties) => new PciBridge(context, properties),
});

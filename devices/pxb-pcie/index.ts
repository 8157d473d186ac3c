import { deviceType } from '../core/device.js';
import { Expander, expanderProperties } from '../pci/expander.js';

export const pxbPcie = deviceType({
  name: 'pxb-pcie',
  parent: 'pci-device',
  category: 'bridge',
  description: 'PCI Express Expander Bridge',
  interfaces: ['conventional-pci-device'],
  hotpluggable: false,
  properties: expanderProperties,
  create: (context, properties) => new Expander('pxb-pcie', context, properties),
});

export const pxb = deviceType({
  name: 'pxb',
  parent: 'pci-device',
  category: 'bridge',
  description: 'PCI Expander Bridge',
  interfaces: ['conventional-pci-device'],
  hotpluggable: false,
  properties: expanderProperties,
  create: (context, properties) => new Expander('pxb', context, properties),
});

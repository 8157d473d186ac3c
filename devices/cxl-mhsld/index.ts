import { deviceType } from '../core/device.js';
import { PciFunction } from '../pci/function.js';
import { createHead, POOL_HEAD, type Head } from './head.js';
import { mhsldProperties } from './properties.js';

/** One head of a memory device that several hosts share. reference/cxl.md §9 */
export const cxlMhsld = deviceType({
  name: 'cxl-mhsld',
  parent: 'cxl-type3',
  category: 'storage',
  description: 'CXL Multi-headed Single Logical Device',
  interfaces: ['pci-express-device'],
  properties: mhsldProperties,
  mayDiffer: ['mhd-head', 'mhd-init', 'mhd-adopt'],
  create: createHead,
});

export type { Head };

/** The part of a device that makes it the head of a pool, when it is one. */
export const asPoolHead = (device: object): Head | undefined => {
  const pci: unknown = Reflect.get(device, 'pci');
  return pci instanceof PciFunction ? pci.offers.get(POOL_HEAD) : undefined;
};

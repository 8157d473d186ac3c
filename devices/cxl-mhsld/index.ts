import { deviceType } from '../core/device.js';
import { createHead } from './head.js';
import { mhsldProperties } from './properties.js';

/** One head of a memory device that several hosts share. reference/cxl.md §9 */
export const cxlMhsld = deviceType({
  name: 'cxl-mhsld',
  parent: 'cxl-type3',
  description: 'CXL Multi-headed Single Logical Device',
  interfaces: ['pci-express-device'],
  properties: mhsldProperties,
  create: createHead,
});

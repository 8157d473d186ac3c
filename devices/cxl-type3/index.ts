import { deviceType } from '../core/device.js';
import { soleOwnership } from '../cxl/capacity-ownership.js';
import { type3Properties } from '../cxl/type3-properties.js';
import { Type3 } from '../cxl/type3.js';

/** A memory device of one host. reference/cxl.md §1 */
export const cxlType3 = deviceType({
  name: 'cxl-type3',
  parent: 'pci-device',
  category: 'storage',
  description: 'CXL Memory Device (Type 3)',
  interfaces: ['pci-express-device'],
  properties: type3Properties,
  create: (context, properties) =>
    new Type3(context, properties, { ownership: () => soleOwnership }),
});

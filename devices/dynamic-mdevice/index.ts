import { deviceType } from '../core/device.js';
import { DynamicMdevice } from './device.js';
import { DynamicMdeviceProperties } from './properties.js';

export { asAttachmentHolder } from './device.js';
export type { AttachmentHolder, MemAttachmentInfo } from './device.js';
export { DynamicMdeviceDriver } from './driver.js';

export const dynamicMdevice = deviceType({
  name: 'dynamic-mdevice',
  // The name that the device was first published under.
  aliases: ['dyanmic-mdevice'],
  parent: 'pci-device',
  description: 'pci device to dynamically attach memory',
  interfaces: ['conventional-pci-device', 'pci-express-device'],
  properties: DynamicMdeviceProperties,
  create: (context, properties) => new DynamicMdevice(context, properties),
});

import { deviceType } from '../core/device.js';
import { link } from '../core/property.js';
import type { PciDevice } from '../pci/function.js';
import { SwitchMailboxCci } from './device.js';

export const cxlSwitchMailboxCci = deviceType({
  name: 'cxl-switch-mailbox-cci',
  parent: 'pci-device',
  description: 'CXL Switch Mailbox CCI',
  interfaces: ['pci-express-device'],
  properties: { target: link<PciDevice>('cxl-upstream', 'the switch that it controls') },
  create: (context, { target }) => new SwitchMailboxCci(context, target),
});

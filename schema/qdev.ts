import { command, event, opt, str } from './lang.js';

/**
 * Adding and removing devices.
 *
 * @see reference/pci-and-memory-devices.md §3, reference/qmp-protocol.md §8.5
 */

export const deviceAdd = command('device_add', {
  doc: 'Add a device. Further arguments are properties of the driver, see device-list-properties.',
  since: '0.1',
  gen: false,
  features: ['json-cli', 'json-cli-hotplug'],
  args: {
    driver: str('name of the device type'),
    bus: opt(
      str('bus to plug into: its name, or a path to it; default the root bus that came last'),
    ),
    id: opt(str('id of the new device: a letter, then letters, digits, `-`, `.`, `_`')),
  },
});
export const deviceDel = command('device_del', {
  doc: 'Ask the guest side to let go of a device. DEVICE_DELETED tells when it is gone.',
  since: '0.1',
  args: { id: str('id or object path of the device') },
});
export const deviceYank = command('device-yank', {
  doc: 'Remove a device at once, as when somebody pulls the card: the guest side is not asked.',
  since: '0.1',
  features: ['qmemd'],
  args: { id: str('id or object path of the device') },
});

const device = {
  device: opt(str('id of the device, if it has one')),
  path: str('object path of the device'),
};
export const DeviceDeleted = event('DEVICE_DELETED', {
  doc: 'A device is gone; its id can be used again.',
  since: '0.1',
  data: device,
});
export const DeviceUnplugGuestError = event('DEVICE_UNPLUG_GUEST_ERROR', {
  doc: 'The guest side reported that it cannot let go of a device.',
  since: '0.1',
  data: device,
});

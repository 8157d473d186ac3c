import { bool, ofPlace, uint16, uint8 } from '../core/property.js';
import { linkProperties } from '../pci/link.js';
import { reserveProperties } from '../pci/reserve.js';

export const rootPortProperties = {
  port: uint8(0, 'port number in the link capabilities'),
  aer_log_max: uint16(8, 'accepted for compatibility'),
  chassis: ofPlace(uint8(0, 'chassis number; unique together with slot')),
  slot: ofPlace(uint16(0, 'physical slot number')),
  hotplug: bool(true, 'devices may come and go while the machine runs'),
  'x-native-hotplug': bool(true, 'accepted for compatibility'),
  power_controller_present: bool(true, 'the slot can be switched off'),
  'disable-acs': bool(false, 'leaves out access control services'),
  ...linkProperties('16', '32'),
  'x-migrate-msix': bool(true, 'accepted for compatibility'),
  ...reserveProperties,
} as const;

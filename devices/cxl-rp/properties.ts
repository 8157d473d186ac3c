import { bool, ofPlace, uint16, uint8 } from '../core/property.js';
import { linkProperties } from '../pci/link.js';
import { reserveProperties } from '../pci/reserve.js';

export const cxlRootPortProperties = {
  port: uint8(0, 'port number, by which target lists name the port'),
  aer_log_max: uint16(8, 'accepted for compatibility'),
  chassis: ofPlace(uint8(0, 'chassis number; unique together with slot')),
  slot: ofPlace(uint16(0, 'physical slot number')),
  hotplug: bool(true, 'devices may come and go while the machine runs'),
  'x-do-not-expose-native-hotplug-cap': bool(false, 'does not announce hotplug in the slot'),
  power_controller_present: bool(true, 'the slot can be switched off'),
  'disable-acs': bool(false, 'leaves out access control services'),
  ...linkProperties('64', '32'),
  'x-pci-express-writeable-slt-bug': bool(false, 'accepted for compatibility'),
  ...reserveProperties,
} as const;

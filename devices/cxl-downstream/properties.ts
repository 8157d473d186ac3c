import { bool, ofPlace, uint16, uint8 } from '../core/property.js';
import { linkProperties } from '../pci/link.js';

export const cxlDownstreamProperties = {
  port: uint8(0, 'port number, by which target lists and fabric managers name the port'),
  aer_log_max: uint16(8, 'accepted for compatibility'),
  chassis: ofPlace(uint8(0, 'chassis number; unique together with slot')),
  slot: ofPlace(uint16(0, 'physical slot number')),
  hotplug: bool(true, 'devices may come and go while the machine runs'),
  'x-do-not-expose-native-hotplug-cap': bool(false, 'does not announce hotplug in the slot'),
  ...linkProperties('64', '16'),
  'x-pci-express-writeable-slt-bug': bool(false, 'accepted for compatibility'),
} as const;

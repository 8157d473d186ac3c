import { bool, choice, uint16, uint8 } from '../core/property.js';
import { reserveProperties } from '../pci/reserve.js';

export const rootPortProperties = {
  port: uint8(0, 'port number in the link capabilities'),
  aer_log_max: uint16(8, 'accepted for compatibility'),
  chassis: uint8(0, 'chassis number; unique together with slot'),
  slot: uint16(0, 'physical slot number'),
  hotplug: bool(true, 'devices may come and go while the machine runs'),
  'x-native-hotplug': bool(true, 'accepted for compatibility'),
  power_controller_present: bool(true, 'the slot can be switched off'),
  'disable-acs': bool(false, 'leaves out access control services'),
  'x-speed': choice('PCIELinkSpeed', ['2_5', '5', '8', '16', '32', '64'], '16', 'GT/s'),
  'x-width': choice('PCIELinkWidth', ['1', '2', '4', '8', '12', '16', '32'], '32', 'lanes'),
  'x-migrate-msix': bool(true, 'accepted for compatibility'),
  ...reserveProperties,
} as const;

/** Speed codes of the link registers. PCIe 5.0 §7.5.3.6. */
export const LINK_SPEED = { '2_5': 1, '5': 2, '8': 3, '16': 4, '32': 5, '64': 6 } as const;

import { bool, str, uint16, uint64, uint8 } from '../core/property.js';
import { linkProperties } from '../pci/link.js';

/** Value of `sn` that means: no serial number. */
export const NO_SERIAL_NUMBER = (1n << 64n) - 1n;

export const cxlUpstreamProperties = {
  port: uint8(0, 'port number in the link capabilities'),
  aer_log_max: uint16(8, 'accepted for compatibility'),
  sn: uint64(NO_SERIAL_NUMBER, 'serial number; all ones for none'),
  cdat: str('file with the CDAT instead of the built-in one'),
  ...linkProperties('32', '16'),
  'x-pci-express-writeable-slt-bug': bool(false, 'accepted for compatibility'),
} as const;

import { bool } from '../core/property.js';
import { expanderProperties } from '../pci/expander.js';

export const pxbCxlProperties = {
  ...expanderProperties,
  hdm_for_passthrough: bool(false, 'keeps HDM decoders also with a single port'),
} as const;

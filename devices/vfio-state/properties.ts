import { size32, str } from '../core/property.js';
import { DEFAULT_LENGTHS } from '../state/regions.js';

const rule = 'a power of two from 4096 to 16777216';

export const VfioStateProperties = {
  target: str('id or object path of the device whose state it shows'),
  'config-length': size32(DEFAULT_LENGTHS.config, `bytes of DEVICE_CONFIG, ${rule}`),
  'memory-length': size32(DEFAULT_LENGTHS.memory, `bytes of DEVICE_MEMORY, ${rule}`),
  'bitmap-length': size32(DEFAULT_LENGTHS.bitmap, `bytes of DIRTY_BITMAP, ${rule}`),
};

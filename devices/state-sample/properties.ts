import { size, size32, uint8 } from '../core/property.js';

export const StateSampleProperties = {
  'memory-size': size(20_000n, 'bytes of device memory, 1 to 256 MiB'),
  'config-size': size32(256, 'bytes of configuration, a multiple of 4 from 64 to 65536'),
  capabilities: uint8(3, 'what the device state covers: 1 device memory, 2 system memory, 3 both'),
};

import type { MemdevBackend } from '../core/memdev.js';
import { link, str, uint16, uint32 } from '../core/property.js';

export const ShmPciProperties = {
  memdev: link<MemdevBackend>(
    'memory-backend',
    'the memory; without it, that of the ivshmem server',
  ),
  chardev: str('a socket that is connected to an ivshmem server: adds doorbells'),
  vectors: uint32(1, 'interrupt vectors, 1 to 2048'),
  tag: uint32(0, 'identifier for drivers, in register TAG'),
  'vendor-id': uint16(0x1af4, 'PCI vendor id'),
  'device-id': uint16(0x10f0, 'PCI device id; 0x10f0 to 0x10ff are for experiments'),
};

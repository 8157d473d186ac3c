import { bool, ofPlace, str, uint32 } from '../core/property.js';
import { master } from '../ivshmem/master.js';

export const IvshmemDoorbellProperties = {
  chardev: str('a socket that is connected to an ivshmem server'),
  vectors: uint32(1, 'interrupt vectors, 1 to 2048'),
  ioeventfd: ofPlace(bool(true, 'for a virtual CPU; nothing depends on it here')),
  master,
};

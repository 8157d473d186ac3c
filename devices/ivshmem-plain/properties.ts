import type { MemdevBackend } from '../core/memdev.js';
import { link } from '../core/property.js';
import { master } from '../ivshmem/master.js';

export const IvshmemPlainProperties = {
  memdev: link<MemdevBackend>('memory-backend', 'the shared memory'),
  master,
};

import type { MemdevBackend } from '../core/memdev.js';
import { link, onOffAuto } from '../core/property.js';

export const IvshmemPlainProperties = {
  memdev: link<MemdevBackend>('memory-backend', 'the shared memory'),
  master: onOffAuto('off', 'the device keeps its memory when it moves to another host'),
};

import { refused } from '../../schema/error.js';
import type { MemdevBackend } from '../core/memdev.js';
import { link, str } from '../core/property.js';

const refuseDrive = (): never => {
  throw refused(
    "Property 'iopmem.drive' cannot be set: there is no block layer; give a memory backend as 'memdev'",
  );
};

export const IopmemProperties = {
  memdev: link<MemdevBackend>('memory-backend', 'the memory'),
  drive: {
    ...str('refused: the published version took a block device, this one takes memdev'),
    parse: refuseDrive,
    parseText: refuseDrive,
  },
};

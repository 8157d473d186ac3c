import { uint64 } from '../core/property.js';

export const EduProperties = {
  // As QEMU: a property without a default in the lists.
  dma_mask: {
    ...uint64(0x0fff_ffffn, 'address bits that DMA can drive; 28 by default'),
    showDefault: false,
  },
};

import type { CciCommand } from '../cxl/cci.js';
import { RETURN_CODE } from '../cxl/return-code.js';
import { HEADS } from './layout.js';
import type { Pool } from './pool.js';

/** Header of the output, before the map. */
const HEADER = 8;

/**
 * Get Multi-Headed Info: which head each logical device is attached to.
 *
 * @see CXL 3.1 §7.6.7.5.1; reference/cxl.md §5.8
 */
export const multiHeadedInfo = (pool: () => Pool): CciCommand => ({
  opcode: 0x5500,
  inputLength: 2,
  effects: 0,
  run: ([start = 0, limit = 0]) => {
    if (start >= HEADS) return RETURN_CODE.INVALID_INPUT;
    const map = pool()
      .logicalDevices()
      .subarray(start, start + limit);
    const output = new Uint8Array(HEADER + map.length);
    output.set([HEADS, HEADS, 0, 0, start, map.length]);
    output.set(map, HEADER);
    return output;
  },
});

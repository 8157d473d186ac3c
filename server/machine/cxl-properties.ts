import type { CxlConfig } from '../../devices/cxl/host.js';
import type { QomObject } from './qom.js';

/** Shows on `/machine` what `-machine` said about CXL. */
export const exposeCxl = (machine: QomObject, config: CxlConfig | undefined): void => {
  machine.addProperty('cxl', {
    type: 'bool',
    description: 'whether the machine takes CXL host bridges',
    get: () => config !== undefined,
  });
  machine.addProperty('cxl-fmw', {
    type: 'CXLFixedMemoryWindow',
    description: 'fixed memory windows of CXL',
    get: () =>
      (config?.windows ?? []).map(({ targets, size, granularity }) => ({
        targets: [...targets],
        size,
        ...(granularity === undefined ? {} : { 'interleave-granularity': granularity }),
      })),
  });
};

import type { Tolerated } from './compare.js';

/**
 * Every difference between QEMU 7.2 and qmemd that is meant; nothing else may differ, and a row that
 * matches nothing is an error too. `see` names a section of the references (`pci`, `qmp`) or a row of
 * docs/differences.md.
 */
export const tolerated: readonly Tolerated[] = [
  {
    request: /query-status/,
    path: /^return\.singlestep$/,
    qemu: /^false$/,
    qmemd: /^absent$/,
    what: '7.2 also tells whether TCG steps singly',
    see: 'qmp §8.1 query-status',
  },
];

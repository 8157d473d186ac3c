import type * as block from '../../schema/block.js';
import { refused } from '../../schema/error.js';
import type { Handlers } from '../../schema/lang.js';
import type { CommandContext } from './context.js';

export const blockHandlers = {
  'query-block': () => [],
  'query-blockstats': () => [],
  'query-named-block-nodes': () => [],
  'query-block-jobs': () => [],
  transaction: ({ actions }) => {
    // As QEMU; there is no other action.
    if (actions.length > 0) throw refused('Transaction aborted using Abort action');
  },
} satisfies Handlers<typeof block, CommandContext>;

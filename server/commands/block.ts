import type * as block from '../../schema/block.js';
import type { Handlers } from '../../schema/lang.js';
import type { CommandContext } from './context.js';

export const blockHandlers = {
  'query-block': () => [],
  'query-blockstats': () => [],
  'query-named-block-nodes': () => [],
  'query-block-jobs': () => [],
} satisfies Handlers<typeof block, CommandContext>;

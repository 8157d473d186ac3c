import type { Handlers } from '../../schema/lang.js';
import type * as memory from '../../schema/memory.js';
import type { CommandContext } from './context.js';

export const memoryHandlers = {
  'object-add': (options, { machine }) => machine.objects.add(options),
  'object-del': ({ id }, { machine }) => machine.objects.remove(id),
  'query-memdev': (_, { machine }) => machine.objects.memdevs(),
  'query-memory-size-summary': (_, { machine }) => ({
    'base-memory': machine.options.ramSize,
    'plugged-memory': 0n,
  }),
} satisfies Handlers<typeof memory, CommandContext>;

import { refused } from '../../schema/error.js';
import type * as humanMonitor from '../../schema/human-monitor.js';
import type { Handlers } from '../../schema/lang.js';
import type { CommandContext } from './context.js';

export const humanMonitorHandlers = {
  'human-monitor-command': async (
    { 'command-line': line, 'cpu-index': cpu },
    { machine, client },
  ) => {
    if (cpu !== undefined && cpu !== 0n)
      throw refused(`Parameter 'cpu-index' expects a CPU number`);
    const { runLine } = await import('../hmp/monitor.js');
    const text = await runLine(machine, line, client);
    return text.replaceAll('\n', '\r\n');
  },
} satisfies Handlers<typeof humanMonitor, CommandContext>;

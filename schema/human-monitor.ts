import { command, int, opt, str } from './lang.js';

/**
 * The human monitor, of which the lines below are understood.
 *
 * @see reference/qmp-protocol.md §8.1
 */
export const humanMonitorCommand = command('human-monitor-command', {
  doc: 'Run a line of the human monitor, see its `help`. Its errors are part of the text.',
  since: '0.1',
  features: ['savevm-monitor-nodes'],
  args: {
    'command-line': str('the line'),
    'cpu-index': opt(int('int', 'CPU that the line is about; only 0 is taken')),
  },
  returns: str('what the human monitor prints, with CR LF'),
});

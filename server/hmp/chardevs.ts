import { refused } from '../../schema/error.js';
import { openChardev } from '../chardev/open.js';
import type { ChardevConfig } from '../config.js';
import type { Machine } from '../machine/machine.js';
import { readChardev } from '../options/monitors.js';
import type { MonitorCommand } from './commands.js';

/** Character devices on the human monitor, in the words of QEMU 7.2. */

/**
 * Standard input and inherited descriptors belong to whoever started the daemon.
 *
 * @throws QmpError
 */
const checkOurs = ({ endpoint }: ChardevConfig): void => {
  if (endpoint.kind === 'stdio') throw refused("'stdio' is for the command line only");
  if (endpoint.kind === 'unix-fd')
    throw refused("'fd' is for the command line and chardev-add of QMP");
};

const add = async ({ options: { chardevs } }: Machine, text: string): Promise<string> => {
  const chardev = readChardev('chardev-add', text, []);
  checkOurs(chardev);
  const { id, endpoint } = chardev;
  if (chardevs.get(id) !== undefined)
    throw refused(`attempt to add duplicate property '${id}' to object (type 'container')`);
  chardevs.checkFree(id);
  try {
    const { terminal } = await openChardev(chardevs, { id, endpoint });
    return terminal === undefined ? '' : `char device redirected to ${terminal} (label ${id})\n`;
  } catch (error) {
    throw refused((error as Error).message, error);
  }
};

export const chardevCommands: readonly MonitorCommand[] = [
  {
    names: ['chardev-add'],
    parameters: 'args',
    help: 'add a character device, as -chardev does',
    argument: 'word',
    run: add,
  },
  {
    names: ['chardev-remove'],
    parameters: 'id',
    help: 'remove a character device that nothing uses',
    argument: 'word',
    run: async ({ options }, id) => {
      await options.chardevs.remove(id);
      return '';
    },
  },
  {
    names: ['chardev-send-break'],
    parameters: 'id',
    help: 'send a break, which nobody hears',
    argument: 'word',
    run: ({ options }, id) => {
      if (options.chardevs.get(id) === undefined) throw refused(`Chardev '${id}' not found`);
      return '';
    },
  },
];

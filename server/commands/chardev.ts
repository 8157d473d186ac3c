import type * as chardev from '../../schema/chardev.js';
import type { Handlers } from '../../schema/lang.js';
import type { CommandContext } from './context.js';

export const chardevHandlers = {
  'query-chardev': (_, { machine }) => {
    const { chardevs } = machine.options;
    return chardevs.list().map((entry) => ({
      label: entry.id,
      filename: entry.backend.filename,
      'frontend-open': chardevs.isUsed(entry),
    }));
  },
} satisfies Handlers<typeof chardev, CommandContext>;

import { queryPci } from '../../devices/pci/info.js';
import type { Handlers } from '../../schema/lang.js';
import type * as pci from '../../schema/pci.js';
import type { CommandContext } from './context.js';

export const pciHandlers = {
  'query-pci': (_, { machine }) => queryPci(machine.platform.roots),
} satisfies Handlers<typeof pci, CommandContext>;

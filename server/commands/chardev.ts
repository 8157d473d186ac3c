import type * as chardev from '../../schema/chardev.js';
import type { Handlers } from '../../schema/lang.js';
import type { MonitorEndpoint } from '../config.js';
import type { CommandContext } from './context.js';

const filename = (endpoint: MonitorEndpoint): string => {
  switch (endpoint.kind) {
    case 'unix-listen':
      return `unix:${endpoint.path},server=on`;
    case 'unix-connect':
      return `unix:${endpoint.path}`;
    case 'unix-fd':
      return `fd:${String(endpoint.fd)}${endpoint.listening ? ',server=on' : ''}`;
    case 'stdio':
      return 'stdio';
  }
};

export const chardevHandlers = {
  'query-chardev': (_, { machine }) =>
    (machine.options.monitors ?? []).map(({ label, endpoint }, index) => ({
      label: label ?? `compat_monitor${String(index)}`,
      filename: filename(endpoint),
      'frontend-open': true,
    })),
} satisfies Handlers<typeof chardev, CommandContext>;

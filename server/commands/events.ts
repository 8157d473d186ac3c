import type * as events from '../../schema/events.js';
import type { Handlers } from '../../schema/lang.js';
import type { CommandContext } from './context.js';

export const eventHandlers = {
  'subscribe-events': ({ events: names, since }, { client }) =>
    client.subscribe({ events: names, since }),
} satisfies Handlers<typeof events, CommandContext>;

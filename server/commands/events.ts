import { refused } from '../../schema/error.js';
import type * as events from '../../schema/events.js';
import type { Handlers } from '../../schema/lang.js';
import { isEventName } from '../events/names.js';
import type { CommandContext } from './context.js';

export const eventHandlers = {
  'subscribe-events': ({ events: names, since, stream }, { client }) => {
    const unknown = names?.find((name) => !isEventName(name));
    if (unknown !== undefined) throw refused(`event '${unknown}' is not known`);
    return client.subscribe({ names, since, stream });
  },
} satisfies Handlers<typeof events, CommandContext>;

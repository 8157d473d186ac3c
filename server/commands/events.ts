import { refused } from '../../schema/error.js';
import type * as events from '../../schema/events.js';
import { modules } from '../../schema/index.js';
import { definitions } from '../../schema/introspect.js';
import type { Handlers } from '../../schema/lang.js';
import type { CommandContext } from './context.js';

const isKnown = (name: string): boolean =>
  name === '*' ||
  definitions(modules).some(
    (definition) => definition.kind === 'event' && definition.name === name,
  );

export const eventHandlers = {
  'subscribe-events': ({ events: names, since }, { client }) => {
    const unknown = names?.find((name) => !isKnown(name));
    if (unknown !== undefined) throw refused(`event '${unknown}' is not known`);
    return client.subscribe({ events: names, since });
  },
} satisfies Handlers<typeof events, CommandContext>;

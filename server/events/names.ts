import { modules } from '../../schema/index.js';
import { definitions } from '../../schema/introspect.js';

/** True for the name of an event that a machine can send, and for `*`. */
export const isEventName = (name: string): boolean =>
  name === '*' ||
  definitions(modules).some(
    (definition) => definition.kind === 'event' && definition.name === name,
  );

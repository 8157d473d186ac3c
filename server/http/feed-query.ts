import type { ResumeRequest } from '../events/resume.js';
import { isEventName } from '../events/names.js';

/** A query that cannot be served; the message says why. */
export class BadQuery extends Error {}

const KNOWN: readonly string[] = ['event', 'since', 'stream', 'token'];
const SEQUENCE = /^[0-9]{1,15}$/;

/**
 * Reads `?event=A,B&since=SEQ&stream=UUID`; `event` may come several times.
 *
 * @throws BadQuery for unknown parameters, unknown events and bad numbers
 */
export const readFeedQuery = (query: URLSearchParams): ResumeRequest => {
  for (const key of query.keys())
    if (!KNOWN.includes(key))
      throw new BadQuery(`parameter '${key}' is not known; known are ${KNOWN.join(', ')}`);
  const names = query.getAll('event').flatMap((list) => list.split(','));
  const unknown = names.find((name) => !isEventName(name));
  if (unknown !== undefined) throw new BadQuery(`event '${unknown}' is not known`);
  const since = query.get('since');
  const stream = query.get('stream') ?? undefined;
  if (since !== null && !SEQUENCE.test(since))
    throw new BadQuery(`'since' takes the number of an event, not '${since}'`);
  if (stream !== undefined && since === null)
    throw new BadQuery("'stream' means something together with 'since' only");
  return {
    names: names.length === 0 ? undefined : names,
    since: since === null ? undefined : BigInt(since),
    stream,
  };
};

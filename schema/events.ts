import { arr, command, enumeration, event, int, object, opt, str } from './lang.js';

export const EventGap = object('EventGap', {
  reason: enumeration(
    'EventGapReason',
    ['ring', 'stream'],
    'ring: too old to be kept; stream: of an earlier start of the machine',
  ),
  from: int('uint64', 'number of the first event that is missing, of whatever name'),
  to: opt(int('uint64', 'number of the last one; absent when nobody knows')),
});
export const SubscribeEventsInfo = object('SubscribeEventsInfo', {
  stream: str('UUID of this start of the machine; another one means that numbering began anew'),
  sequence: int('uint64', 'number of the latest event; what comes later has a higher one'),
  lost: int('uint64', 'events after `since` that are kept no longer and will not be replayed'),
  gaps: opt(arr(EventGap, 'what is missing; absent when nothing is')),
});

export const subscribeEvents = command('subscribe-events', {
  doc: "Turn the events of qmemd on for this session, besides QEMU's own, and number them all.",
  since: '0.1',
  features: ['qmemd'],
  args: {
    events: opt(arr(str(''), 'names of the events to send, `*` for all; default all')),
    since: opt(
      int(
        'uint64',
        'replay what came after this sequence number; one of another stream, or from the future, begins with the oldest event; default nothing',
      ),
    ),
    stream: opt(str('the stream that `since` counts in, as an earlier answer told it')),
  },
  returns: SubscribeEventsInfo,
});

export const EVENTS_LOST = event('EVENTS_LOST', {
  doc: 'A session that subscribed read too slowly. Its `seq` is that of the last event it missed.',
  since: '0.1',
  features: ['qmemd'],
  data: { count: int('uint64', 'subscribed events that this session will not get') },
});

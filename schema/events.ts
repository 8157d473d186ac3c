import { arr, command, event, int, object, opt, str } from './lang.js';

export const SubscribeEventsInfo = object('SubscribeEventsInfo', {
  stream: str('UUID of this start of the machine; another one means that numbering began anew'),
  sequence: int('uint64', 'number of the latest event; what comes later has a higher one'),
  lost: int('uint64', 'events after `since` that are kept no longer and will not be replayed'),
});

export const subscribeEvents = command('subscribe-events', {
  doc: "Turn the events of qmemd on for this session, besides QEMU's own, and number them all.",
  since: '0.1',
  features: ['qmemd'],
  args: {
    events: opt(arr(str(''), 'names of the events to send, `*` for all; default all')),
    since: opt(int('uint64', 'replay what came after this sequence number; default nothing')),
  },
  returns: SubscribeEventsInfo,
});

export const EVENTS_LOST = event('EVENTS_LOST', {
  doc: 'A session that subscribed read too slowly. Its `seq` is that of the last event it missed.',
  since: '0.1',
  features: ['qmemd'],
  data: { count: int('uint64', 'subscribed events that this session will not get') },
});

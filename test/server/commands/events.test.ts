import t from 'tap';
import { startDaemon } from '../../support/daemon.js';

t.test('subscribe-events takes names of the schema, and nothing else', async (t) => {
  const { qmp } = await startDaemon(t, ['-M', 'none']);
  await t.rejects(qmp.execute('subscribe-events', { events: ['STOP', 'STOPP'] }), {
    message: /event 'STOPP' is not known/,
  });
  await qmp.execute('stop');
  t.notOk('seq' in (await qmp.event('STOP')), 'the refused subscription changed nothing');
  for (const name of ['STOP', 'MEM_ATTACHED', 'EVENTS_LOST', '*'])
    t.match(await qmp.execute('subscribe-events', { events: [name] }), { lost: 0n });
});

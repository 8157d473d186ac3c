import t from 'tap';
import { readConfig, second } from '../../support/config.js';

t.test('a name with a comma is a name', async (t) => {
  const { machines } = readConfig(t, second({ 'guest-name': 'a,b=c' }));
  t.equal(machines[1]?.guestName, 'a,b=c');
});

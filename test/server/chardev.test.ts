import t from 'tap';
import { startDaemon } from '../support/daemon.js';

t.test('query-chardev names the character device of each monitor', async (t) => {
  const { qmp, socket } = await startDaemon(t, ['-nodefaults']);
  t.strictSame(await qmp.execute('query-chardev'), [
    { label: 'compat_monitor0', filename: `unix:${socket},server=on`, 'frontend-open': true },
  ]);
});

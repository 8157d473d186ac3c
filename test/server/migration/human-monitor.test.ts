import { join } from 'node:path';
import t from 'tap';
import { privateFolder } from '../../support/daemon.js';
import { runStatus, startPair, statusIs, type Host } from '../../support/migration.js';

const WORDS = ['-M', 'pc', '-m', '4M'];
const line = ({ qmp }: Host, text: string): Promise<unknown> =>
  qmp.execute('human-monitor-command', { 'command-line': text });

t.test('the human monitor moves a machine, and tells how', async (t) => {
  const { a, b, uri, path } = await startPair(t, WORDS);
  t.equal(await line(a, 'info migrate'), '', 'there was none');
  t.equal(await line(b, `migrate_incoming ${uri}`), '');
  t.equal(await line(b, 'info migrate'), `socket address: [\r\n\tunix:${path}\r\n]\r\n`);
  t.equal(await line(a, 'migrate_set_parameter downtime-limit 250'), '');
  t.equal(
    await line(a, `migrate ${uri}`),
    'terminal does not allow synchronous migration, continuing detached\r\n',
  );
  await Promise.all([statusIs(a.qmp, 'completed'), statusIs(b.qmp, 'completed')]);
  t.match(
    await line(a, 'info migrate'),
    new RegExp(
      [
        'Migration status: completed',
        'total time: \\d+ ms',
        'downtime: \\d+ ms',
        'setup: \\d+ ms',
        'transferred ram: \\d+ kbytes',
        'throughput: \\d+\\.\\d\\d mbps',
        'remaining ram: 0 kbytes',
        'total ram: \\d{4,} kbytes',
        'duplicate: \\d+ pages',
        'skipped: 0 pages',
        'normal: \\d+ pages',
        'normal bytes: \\d+ kbytes',
        'dirty sync count: \\d+',
        'page size: 4 kbytes',
        'multifd bytes: 0 kbytes',
        'pages-per-second: \\d+',
      ].join('\\r\\n'),
    ),
  );
  t.equal(await line(b, 'info migrate'), 'Migration status: completed\r\ntotal time: 0 ms\r\n');
  t.equal(await runStatus(b), 'running');
  t.equal(
    await line(a, `migrate -d ${uri}`),
    "Error: Can't migrate the vm that was paused due to previous migration\r\n",
  );
});

t.test('failed, cancelled, continued and blocked', async (t) => {
  const { a, b, uri } = await startPair(t, WORDS);
  const nobody = join(privateFolder(t), 'nobody');
  t.equal(await line(a, `migrate -d unix:${nobody}`), '');
  await statusIs(a.qmp, 'failed');
  t.match(
    await line(a, 'info migrate'),
    /^Migration status: failed \(.*No such file.*\)\r\ntotal time: \d+ ms\r\n/,
  );
  t.equal(await line(a, 'migrate_set_capability pause-before-switchover on'), '');
  await line(b, `migrate_incoming ${uri}`);
  await line(a, `migrate -d ${uri}`);
  await statusIs(a.qmp, 'pre-switchover');
  t.equal(
    await line(a, 'migrate_set_capability events off'),
    "Error: There's a migration process in progress\r\n",
  );
  t.equal(await line(a, 'migrate_cancel'), '');
  await statusIs(a.qmp, 'cancelled');
  await statusIs(b.qmp, 'failed');
  await line(b, `migrate_incoming ${uri}`);
  await line(a, `migrate -d ${uri}`);
  await statusIs(a.qmp, 'pre-switchover');
  t.equal(await line(a, 'migrate_continue pre-switchover'), '');
  await statusIs(a.qmp, 'completed');
});

t.test('what forbids a migration is told first', async (t) => {
  const words = ['-object', 'memory-backend-ram,id=m,size=4K', '-device', 'ivshmem-plain,memdev=m'];
  const { a } = await startPair(t, [...WORDS, ...words]);
  t.match(await line(a, 'info migrate'), /^Outgoing migration blocked:\r\n {2}\S.*\r\n$/);
  t.match(await line(a, 'migrate -d unix:/nobody'), /^Error: \S/);
});

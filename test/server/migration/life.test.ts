import { existsSync } from 'node:fs';
import t from 'tap';
import {
  migrate,
  runStatus,
  setCapabilities,
  startPair,
  statusIs,
} from '../../support/migration.js';

const WORDS = ['-M', 'pc', '-m', '8M'];
const AT = '0x100000';

t.test('a machine that runs migrates, with the events of QEMU in its order', async (t) => {
  const { a, b, uri, path } = await startPair(t, WORDS);
  t.equal(await runStatus(b), 'inmigrate');
  t.equal(await a.qtest.ask(`writeq ${AT} 0x1122334455667788`), 'OK');
  t.strictSame(await b.qmp.execute('query-migrate'), {});
  await b.qmp.execute('migrate-incoming', { uri });
  t.strictSame(await b.qmp.execute('query-migrate'), {
    'socket-address': [{ type: 'unix', path }],
  });
  await a.qmp.execute('migrate', { uri });
  t.strictSame(await statusIs(a.qmp, 'completed'), ['setup', 'active', 'completed']);
  t.strictSame(await statusIs(b.qmp, 'completed'), ['setup', 'active', 'completed']);
  t.strictSame(
    a.qmp.order.filter((name) => name !== 'return'),
    ['MIGRATION', 'MIGRATION_PASS', 'MIGRATION', 'STOP', 'MIGRATION_PASS', 'MIGRATION'],
  );
  t.strictSame(
    b.qmp.order.filter((name) => name !== 'return'),
    ['MIGRATION', 'MIGRATION', 'RESUME', 'MIGRATION'],
  );
  t.equal(await runStatus(a), 'postmigrate');
  t.equal(await runStatus(b), 'running');
  t.equal(await b.qtest.value(`readq ${AT}`), 0x1122334455667788n);
  t.equal(existsSync(path), false, 'the socket file is gone');
  t.match(await a.qmp.execute('query-migrate'), {
    status: 'completed',
    ram: { total: 8388608n, remaining: 0n, normal: 1n, duplicate: 2047n, 'dirty-sync-count': 2n },
  });
  t.strictSame(await b.qmp.execute('query-migrate'), { status: 'completed' });
});

t.test('what has gone refuses changes until somebody lets it run', async (t) => {
  const { a, b, uri } = await startPair(t, WORDS);
  await migrate(a, b, uri);
  t.match(await a.qtest.ask(`writeq ${AT} 1`), /^FAIL writeq: the machine has migrated/);
  t.equal(await a.qtest.value(`readq ${AT}`), 0n, 'reads are answered');
  await t.rejects(a.qmp.execute('guest-enumerate'), { message: /^the machine has migrated/ });
  await t.rejects(a.qmp.execute('migrate', { uri }), {
    message: "Can't migrate the vm that was paused due to previous migration",
  });
  await a.qmp.execute('cont');
  await a.qmp.event('RESUME');
  t.equal(await a.qtest.ask(`writeq ${AT} 1`), 'OK');
  await a.qmp.execute('guest-enumerate');
});

t.test('a machine that does not run arrives as it was', async (t) => {
  for (const [name, source, destination, stop, expected] of [
    ['not started', ['-S'], [], false, 'prelaunch'],
    ['paused', [], [], true, 'paused'],
    ['running, and not to run there', [], ['-S'], false, 'paused'],
  ] as const)
    await t.test(name, async (t) => {
      const { a, b, uri } = await startPair(t, WORDS, { source, destination });
      if (stop) await a.qmp.execute('stop');
      await migrate(a, b, uri);
      t.equal(await runStatus(a), 'postmigrate');
      t.equal(await runStatus(b), expected);
      t.notOk(b.qmp.order.includes('RESUME'));
      await b.qmp.execute('cont');
      t.equal(await runStatus(b), 'running');
    });
});

t.test('stop and cont of a machine that waits decide what it does then', async (t) => {
  const { a, b, uri } = await startPair(t, WORDS);
  await b.qmp.execute('stop');
  t.equal(await runStatus(b), 'inmigrate');
  await migrate(a, b, uri);
  t.equal(await runStatus(b), 'paused');
});

t.test('a machine can go on to a third one', async (t) => {
  const { a, b, uri } = await startPair(t, WORDS);
  await a.qtest.ask(`writeb ${AT} 0x5a`);
  await migrate(a, b, uri);
  const { b: c, uri: further } = await startPair(t, WORDS);
  await migrate(b, c, further);
  t.equal(await c.qtest.value(`readb ${AT}`), 0x5an);
  t.equal(await runStatus(b), 'postmigrate');
});

t.test('a machine that waits refuses changes until it has arrived', async (t) => {
  const { a, b, uri } = await startPair(t, WORDS);
  t.match(await b.qtest.ask(`writeq ${AT} 1`), /^FAIL writeq: the machine waits for a migration/);
  await t.rejects(b.qmp.execute('guest-enumerate'), { message: /^the machine waits/ });
  t.equal(await b.qtest.value(`readq ${AT}`), 0n);
  await b.qmp.execute('system_reset');
  t.equal(await runStatus(b), 'inmigrate');
  await migrate(a, b, uri);
  t.equal(await b.qtest.ask(`writeq ${AT} 1`), 'OK');
  await b.qmp.execute('guest-enumerate');
});

t.test('nothing resets a machine in its last phase', async (t) => {
  const { a, b, uri } = await startPair(t, WORDS);
  await setCapabilities(a.qmp, ['pause-before-switchover']);
  await b.qmp.execute('migrate-incoming', { uri });
  await a.qmp.execute('migrate', { uri });
  await statusIs(a.qmp, 'pre-switchover');
  await t.rejects(a.qmp.execute('system_reset'), { message: 'Migration is not finalized yet' });
  await t.rejects(a.qmp.execute('device-yank', { id: 'x' }), {
    message: 'device-yank not allowed while migrating',
  });
  await a.qmp.execute('migrate_cancel');
  await statusIs(a.qmp, 'cancelled');
  await a.qmp.execute('system_reset');
});

t.test('a device that leaves ends the migration', async (t) => {
  const { a, b, uri } = await startPair(t, [...WORDS, '-device', 'edu,id=e']);
  await a.qtest.ask(`memset ${AT} 0x400000 1`);
  await a.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 1_000_000n });
  await a.qmp.execute('device_del', { id: 'e' });
  await b.qmp.execute('migrate-incoming', { uri });
  await a.qmp.execute('migrate', { uri });
  await statusIs(a.qmp, 'active');
  await a.qmp.execute('guest-eject', { id: 'e' });
  await a.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 1n << 40n });
  await statusIs(a.qmp, 'failed');
  t.match(await a.qmp.execute('query-migrate'), {
    'error-desc': "Device 'e' (edu) has left during the migration",
  });
  t.equal(await runStatus(a), 'running');
});

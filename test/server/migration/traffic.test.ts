import { once } from 'node:events';
import { join } from 'node:path';
import t from 'tap';
import {
  connectWhenUp,
  eventually,
  privateFolder,
  spawnDaemon,
  type Cleanup,
} from '../../support/daemon.js';
import { setCapabilities } from '../../support/migration.js';
import type { Qmp } from '../../support/qmp.js';
import { Qtest } from '../../support/qtest.js';
import { Traffic } from '../../support/traffic.js';

/** Memory of the device; `npm run soak` takes 4096. */
const MIB = Number(process.env['MIGRATION_MIB'] ?? '64');
/** Failures at random moments; `npm run soak` takes 100. */
const FAILURES = Number(process.env['MIGRATION_FAILURES'] ?? '5');
const PATIENCE_MS = 1_000_000;

interface Process {
  readonly qmp: Qmp;
  readonly qtest: Qtest;
  readonly child: ReturnType<typeof spawnDaemon>['child'];
}

const start = async (t: Cleanup, mib: number, extra: readonly string[]): Promise<Process> => {
  const folder = privateFolder(t);
  const [qmpPath, qtestPath] = [join(folder, 'qmp'), join(folder, 'qtest')];
  const { child } = spawnDaemon(t, [
    ...['-M', 'q35', '-m', '8M', '-nodefaults'],
    ...['-object', `memory-backend-memfd,id=m,size=${String(mib)}M`],
    ...['-device', 'iopmem,id=d,memdev=m'],
    ...['-qmp', `unix:${qmpPath},server=on,wait=off`],
    ...['-qtest', `unix:${qtestPath},server=on,wait=off`],
    ...extra,
  ]);
  const qmp = await connectWhenUp(qmpPath);
  t.teardown(() => qmp.close());
  await setCapabilities(qmp, ['events']);
  await qmp.execute('migrate-set-parameters', { 'max-bandwidth': 1n << 40n });
  // Commands are answered once the machine is there, the guest side too.
  const qtest = await Qtest.connect(qtestPath);
  t.teardown(() => qtest.close());
  return { qmp, qtest, child };
};

/** Where the memory of the device is in guest memory. */
const baseOf = async (qmp: Qmp): Promise<bigint> => {
  await qmp.execute('guest-enumerate');
  const buses = (await qmp.execute('query-pci')) as {
    devices: { qdev_id: string; regions: { address: bigint; size: bigint }[] }[];
  }[];
  const device = buses.flatMap(({ devices }) => devices).find(({ qdev_id: id }) => id === 'd');
  return device?.regions[0]?.address ?? 0n;
};

/** `query-migrate` once it has ended. */
const outcome = async (qmp: Qmp): Promise<Record<string, unknown>> => {
  for (;;) {
    const info = (await qmp.execute('query-migrate')) as Record<string, unknown>;
    if (['completed', 'failed', 'cancelled'].includes(String(info['status']))) return info;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

t.test(
  `${String(MIB)} MiB migrate while a driver writes: no byte is lost`,
  { timeout: PATIENCE_MS },
  async (t) => {
    const a = await start(t, MIB, []);
    const uri = `unix:${join(privateFolder(t), 'm')}`;
    const b = await start(t, MIB, ['-incoming', uri]);
    const traffic = new Traffic(a.qtest, await baseOf(a.qmp), MIB * 2 ** 20);
    await traffic.fill();
    const writing = traffic.run();
    await eventually('it writes', () => traffic.done > 100);
    await a.qmp.execute('migrate', { uri });
    const info = await outcome(a.qmp);
    t.equal(info['status'], 'completed', String(info['error-desc'] ?? ''));
    t.match(await writing, /^FAIL writeq: the machine has migrated/);
    const {
      downtime,
      'total-time': total,
      ram,
    } = info as {
      downtime: bigint;
      'total-time': bigint;
      ram: { 'dirty-sync-count': bigint };
    };
    t.comment(
      `${String(traffic.done)} writes, ${String(ram['dirty-sync-count'])} passes, downtime ${String(downtime)} ms of ${String(total)} ms`,
    );
    t.equal(await traffic.firstWrong(b.qtest), undefined, 'all that was answered is there');
    t.ok(ram['dirty-sync-count'] >= 2n);
  },
);

t.test(
  `${String(FAILURES)} failures at random moments: the source goes on unharmed`,
  { timeout: PATIENCE_MS },
  async (t) => {
    const a = await start(t, 64, []);
    const traffic = new Traffic(a.qtest, await baseOf(a.qmp), 64 << 20, 7);
    await traffic.fill();
    for (let i = 0; i < FAILURES; i++) {
      const uri = `unix:${join(privateFolder(t), 'm')}`;
      const b = await start(t, 64, ['-incoming', uri]);
      const writing = traffic.run();
      const isKilled = i % 2 === 0;
      await a.qmp.execute('migrate', { uri });
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 250));
      if (isKilled) b.child.kill('SIGKILL');
      else await a.qmp.execute('migrate_cancel').catch(() => undefined);
      const { status } = await outcome(a.qmp);
      traffic.stop();
      const refusal = await writing;
      if (status === 'completed') {
        // It was faster; what was killed then is gone, and here is what went there.
        t.match(refusal, /^(FAIL writeq: the machine has migrated.*|)$/);
        await a.qmp.execute('cont');
      } else t.equal(refusal, '', 'it wrote all the time');
      t.match(await a.qmp.execute('query-status'), { running: true }, `${String(status)}`);
      if (b.child.exitCode === null && b.child.signalCode === null) {
        b.child.kill('SIGKILL');
        await once(b.child, 'exit');
      }
    }
    t.equal(await traffic.firstWrong(a.qtest), undefined, 'every byte is right');
    t.comment(`${String(traffic.done)} writes`);
  },
);

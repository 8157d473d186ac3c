import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import t from 'tap';
import { connectWhenUp, privateFolder, spawnDaemon, type Cleanup } from '../../support/daemon.js';
import { setCapabilities, statusIs } from '../../support/migration.js';
import type { Qmp } from '../../support/qmp.js';
import { refereeMissing } from '../../support/referee.js';

/** Starts a program that has these options, and dials its monitor. */
type Start = (t: Cleanup, words: readonly string[]) => void;

const startQemu: Start = (t, words) => {
  const child = spawn('qemu-system-x86_64', ['-display', 'none', '-accel', 'tcg', ...words], {
    stdio: 'ignore',
  });
  const exit = once(child, 'close');
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await exit;
  });
};
const startQmemd: Start = (t, words) => void spawnDaemon(t, words);

const machine = async (t: Cleanup, start: Start, words: readonly string[]): Promise<Qmp> => {
  const path = join(privateFolder(t), 'qmp');
  start(t, [
    '-M',
    'pc',
    '-m',
    '16',
    '-nodefaults',
    '-qmp',
    `unix:${path},server=on,wait=off`,
    ...words,
  ]);
  const qmp = await connectWhenUp(path);
  t.teardown(() => qmp.close());
  await setCapabilities(qmp, ['events']);
  return qmp;
};

/** All that a client sees of one migration, of one that is continued, and of one that is cancelled. */
interface Seen {
  [what: string]: unknown;
}
const status = async (qmp: Qmp): Promise<unknown> =>
  ((await qmp.execute('query-status')) as { status: string }).status;
/**
 * Events in their order. How many passes there are before the machine stops is a matter of time: of
 * those the first counts.
 */
const told = ({ order }: Qmp): string[] => {
  const events = order.filter((name) => name !== 'return');
  const [first, stop] = [events.indexOf('MIGRATION_PASS'), events.indexOf('STOP')];
  return events.filter((name, at) => name !== 'MIGRATION_PASS' || at === first || at > stop);
};
const keys = (value: unknown): string[] => Object.keys(value as object).sort();

const plain = async (t: Cleanup, start: Start): Promise<Seen> => {
  const uri = `unix:${join(privateFolder(t), 'm')}`;
  const a = await machine(t, start, []);
  const b = await machine(t, start, ['-incoming', 'defer']);
  const waiting = [await status(b), await b.execute('query-migrate')];
  await b.execute('migrate-incoming', { uri });
  await a.execute('migrate', { uri });
  await Promise.all([statusIs(a, 'completed'), statusIs(b, 'completed')]);
  const info = (await a.execute('query-migrate')) as { ram: object };
  return {
    waiting,
    source: told(a),
    destination: told(b),
    members: [keys(info), keys(info.ram)],
    arrived: await b.execute('query-migrate'),
    statuses: [await status(a), await status(b)],
  };
};

const paused = async (t: Cleanup, start: Start, isCancelled: boolean): Promise<Seen> => {
  const uri = `unix:${join(privateFolder(t), 'm')}`;
  const a = await machine(t, start, []);
  const b = await machine(t, start, ['-incoming', uri]);
  await setCapabilities(a, ['pause-before-switchover']);
  await a.execute('migrate', { uri });
  await statusIs(a, 'pre-switchover');
  const members = keys(await a.execute('query-migrate'));
  const phase = await status(a);
  if (isCancelled) {
    await a.execute('migrate_cancel');
    await statusIs(a, 'cancelled');
    return {
      members,
      phase,
      order: told(a),
      info: await a.execute('query-migrate'),
      now: await status(a),
    };
  }
  await a.execute('migrate-continue', { state: 'pre-switchover' });
  await Promise.all([statusIs(a, 'completed'), statusIs(b, 'completed')]);
  return { members, phase, order: told(a), destination: told(b) };
};

const skip = refereeMissing();
t.test('real QEMU 7.2 and qmemd tell the same of a migration', { skip }, async (t) => {
  for (const [name, run] of [
    ['that succeeds', plain],
    ['that waits before the last phase', (t: Cleanup, start: Start) => paused(t, start, false)],
    [
      'that is cancelled before the last phase',
      (t: Cleanup, start: Start) => paused(t, start, true),
    ],
  ] as const)
    await t.test(name, async (t) => {
      const [theirs, ours] = await Promise.all([run(t, startQemu), run(t, startQmemd)]);
      t.strictSame(ours, theirs);
    });
});

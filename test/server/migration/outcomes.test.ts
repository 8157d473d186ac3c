import { createServer, type Socket } from 'node:net';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { FRAME, FrameWriter, preamble } from '../../../server/migration/stream.js';
import { eventually, privateFolder } from '../../support/daemon.js';
import { needsNative } from '../../support/mdevice.js';
import { Qmp } from '../../support/qmp.js';
import {
  becomes,
  migrate,
  runStatus,
  setCapabilities,
  startHost,
  startPair,
  statusIs,
  type Host,
} from '../../support/migration.js';

const MiB = 1 << 20;
const AT = 0x200000;

/** A destination that takes everything until it is told to stop reading. */
const startDeaf = async (t: Test): Promise<{ uri: string; peer: () => Socket | undefined }> => {
  const path = join(privateFolder(t), 'deaf');
  let peer: Socket | undefined;
  const server = createServer((socket) => {
    peer = socket.on('error', () => undefined);
    socket.resume();
    socket.write(preamble());
    socket.write(new FrameWriter().json(FRAME.ACCEPT, { shared: [] }));
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.teardown(() => {
    peer?.destroy();
    server.close();
  });
  return { uri: `unix:${path}`, peer: () => peer };
};
const transferred = async ({ qmp }: Host): Promise<bigint> =>
  ((await qmp.execute('query-migrate')) as { ram?: { transferred: bigint } }).ram?.transferred ??
  0n;

t.test('cancelled while the destination reads no more', async (t) => {
  for (const phase of ['a pass', 'the last phase'] as const)
    await t.test(phase, async (t) => {
      const { uri, peer } = await startDeaf(t);
      const a = await startHost(t, ['-M', 'pc', '-m', '64M']);
      const fill = (bytes: number, value: number): Promise<string> =>
        a.qtest.ask(`memset ${String(AT)} ${String(bytes)} ${String(value)}`);
      await fill(48 * MiB, 0x5a);
      await setCapabilities(a.qmp, ['pause-before-switchover']);
      await a.qmp.execute('migrate-set-parameters', { 'downtime-limit': 2_000_000n });
      await a.qmp.execute('migrate', { uri });
      await statusIs(a.qmp, 'active');
      if (phase === 'a pass') peer()?.pause();
      else {
        await eventually('half is sent', async () => (await transferred(a)) > 26n << 20n);
        await fill(20 * MiB, 0xa5);
        await statusIs(a.qmp, 'pre-switchover');
        peer()?.pause();
        await a.qmp.execute('migrate-continue', { state: 'pre-switchover' });
      }
      await a.qmp.execute('migrate_cancel');
      await statusIs(a.qmp, 'cancelled');
      t.strictSame(await a.qmp.execute('query-status'), { status: 'running', running: true });
      t.equal(await fill(MiB, 1), 'OK');
    });
});

t.test('from a file a machine starts with its own command line', needsNative, async (t) => {
  for (const device of [
    ['-device', 'dynamic-mdevice,id=d,size=16M,align=1M,mem-path=PATH'],
    [
      ...['-object', 'memory-backend-file,id=m,mem-path=PATH,size=4M,share=on'],
      ...['-device', 'iopmem,id=d,memdev=m'],
    ],
  ])
    await t.test(device.join(' '), async (t) => {
      const folder = privateFolder(t);
      const backing = join(folder, 'backing');
      writeFileSync(backing, 'shared');
      truncateSync(backing, 4 * MiB);
      const words = ['-M', 'q35', '-m', '1M', ...device.map((w) => w.replace('PATH', backing))];
      const a = await startHost(t, words);
      const file = `file:${join(folder, 'machine')}`;
      await a.qmp.execute('migrate', { uri: file });
      await statusIs(a.qmp, 'completed');
      await a.daemon.stop();
      const b = await startHost(t, [...words, '-incoming', file], { events: false });
      await becomes(b, 'running');
      t.match(await b.qmp.execute('query-migrate'), { status: 'completed' });
    });
});

t.test('a machine that is arriving is changed by nobody else', needsNative, async (t) => {
  const device = ['-object', 'memory-backend-ram,id=m,size=8M', '-device', 'iopmem,id=d,memdev=m'];
  const { a, b, uri } = await startPair(t, ['-M', 'pc', '-m', '8M', ...device]);
  const path = join(privateFolder(t), 'state');
  await a.qmp.execute('device-save', { id: 'd', path });
  await a.qtest.ask(`memset ${String(AT)} ${String(4 * MiB)} 0x5a`);
  await a.qmp.execute('migrate-set-parameters', { 'max-bandwidth': BigInt(MiB) });
  await b.qmp.execute('migrate-incoming', { uri });
  await a.qmp.execute('migrate', { uri });
  await statusIs(b.qmp, 'active');
  const message = /^the machine waits for a migration: nothing of it can be changed before$/;
  await t.rejects(b.qmp.execute('device-state-set', { id: 'd', state: 'stop' }), { message });
  await t.rejects(b.qmp.execute('device-load', { id: 'd', path }), { message });
  await t.rejects(b.qmp.execute('system_reset'), {
    message: /^an incoming migration is under way: the machine cannot be reset before its end$/,
  });
  await a.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 0n });
  await statusIs(b.qmp, 'completed');
  t.equal(await runStatus(b), 'running');
});

t.test('a virtual time beyond 2^53 ns comes exactly', async (t) => {
  const { a, b, uri } = await startPair(t, ['-M', 'pc', '-m', '1M', '-accel', 'qtest']);
  t.equal(await a.qtest.ask('clock_step 9007199254740993'), 'OK 9007199254740993');
  await migrate(a, b, uri);
  t.equal(await b.qtest.ask('clock_step 1'), 'OK 9007199254740994');
});

t.test('a read that waited for the outcome is answered', async (t) => {
  const { a, b, uri } = await startPair(t, ['-M', 'pc', '-m', '1M', '-device', 'edu,id=e']);
  await setCapabilities(a.qmp, ['pause-before-switchover']);
  await b.qmp.execute('migrate-incoming', { uri });
  await a.qmp.execute('migrate', { uri });
  await statusIs(a.qmp, 'pre-switchover');
  const [reader, writer] = await Promise.all([1, 2].map(() => Qmp.connect(a.qmpPath)));
  t.teardown(() => [reader, writer].forEach((client) => client?.close()));
  const place = { id: 'e', offset: 0, size: 4 };
  const read = reader?.execute('guest-config-read', place);
  const write = async () =>
    void (await writer?.execute('guest-config-write', { ...place, value: 0 }));
  const refusal = t.rejects(write, { message: /^the machine has migrated/ });
  await a.qmp.execute('migrate-continue', { state: 'pre-switchover' });
  t.strictSame(await read, { value: 0x11e81234n });
  await refusal;
});

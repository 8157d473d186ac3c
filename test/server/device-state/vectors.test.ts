import t from 'tap';
import { crc32 } from '../../../devices/core/crc32.js';
import type { Cleanup } from '../../support/daemon.js';
import type { Qmp } from '../../support/qmp.js';
import { startGuest } from '../../support/qtest.js';
import { BarPort } from '../../support/state-bar.js';
import { CTL, GET, SET, StateClient } from '../../support/state-client.js';

/** reference/vfio-device-state.md §11, by its numbers, over a real socket. */

const regions = (memory: number): string =>
  `config-length=4096,memory-length=${String(memory)},bitmap-length=4096`;

type Way = 'QMP' | 'BAR';
interface Devices {
  readonly source: StateClient;
  readonly target: StateClient;
  readonly qmp: Qmp;
  /** Finds the BARs again after a reset. */
  reopen(): Promise<void>;
}

/** The device of the vectors with its regions, and a fresh target with chunks of 4096 bytes. */
const start = async (t: Cleanup, way: Way, capabilities = 3): Promise<Devices> => {
  const { qmp, qtest } = await startGuest(t, [
    ...['-M', 'q35', '-nodefaults'],
    ...['-device', `state-sample,id=s0,capabilities=${String(capabilities)}`],
    ...['-device', 'state-sample,id=t0'],
    ...['-device', `vfio-state,id=v0,target=s0,${regions(8192)}`],
    ...['-device', `vfio-state,id=v1,target=t0,${regions(4096)}`],
  ]);
  const bars = ['v0', 'v1'].map((id) => new BarPort(qmp, qtest, id));
  const reopen = async (): Promise<void> => {
    for (const bar of bars) await bar.open();
  };
  await reopen();
  const [source, target] = ['s0', 't0'].map(
    (id, i) => new StateClient(qmp, id, way === 'QMP' ? undefined : bars[i]),
  );
  if (source === undefined || target === undefined) throw new Error('two devices');
  return { source, target, qmp, reopen };
};

/** Flags, pass and number of records of a container. */
const header = (stream: Buffer): number[] => [8, 12, 24].map((at) => stream.readUInt32LE(at));

for (const way of ['QMP', 'BAR'] as const)
  t.test(`the vectors by ${way}`, (t) => {
    t.test('1 version, capabilities and accesses that are none', async (t) => {
      const { source } = await start(t, way);
      t.equal(await source.read(0, 4), '01000000');
      t.equal(await source.write(0, [4, 1n]), 'EINVAL');
      t.equal(await source.read(8, 4), '03000000');
      if (source.exact) {
        t.equal(await source.read(0, 2), 'EINVAL');
        t.equal(await source.read(12, 8), 'EINVAL');
      }
      t.equal(await source.digest(), '15eddd53473f38c5');
    });

    t.test('2 transitions', async (t) => {
      const { source } = await start(t, way);
      const results: string[] = [];
      const states: number[] = [];
      for (const state of [1, 3, 2, 0, 0, 4, 2]) {
        results.push(await source.setState(state));
        states.push(await source.number(CTL.STATE, 4));
      }
      t.strictSame(results, ['OK', 'OK', 'OK', 'OK', 'OK', 'EINVAL', 'OK']);
      t.strictSame(states, [1, 3, 2, 0, 0, 0, 2]);
    });

    t.test('3, 4, 5 sizes, a snapshot in chunks, positions that are none', async (t) => {
      const { source } = await start(t, way);
      t.equal(await source.number(CTL.MEMORY_SIZE, 8), 20048);
      t.equal(await source.number(CTL.CONFIG_SIZE, 8), 304);
      const chunks = [];
      for (const pos of [0, 8192, 16384]) chunks.push(await source.chunk(pos, 8192));
      t.strictSame(
        chunks.map((chunk) => crc32(chunk).toString(16).padStart(8, '0')),
        ['25f3c9d6', '213fb2a5', 'd0b90657'],
      );
      t.equal(
        chunks[0]?.subarray(0, 48).toString('hex'),
        '44534d310100020001000000' +
          '00000000204e00000000000001000000' +
          '26086f090000000000000000204e000000000000',
      );
      t.ok(chunks[2]?.subarray(3664).every((byte) => byte === 0));
      t.equal(await source.write(CTL.MEMORY_POS, [8, 4096n]), 'EINVAL');
      t.equal(await source.number(CTL.MEMORY_POS, 8), 16384, 'the position is as before');
      t.equal(await source.write(CTL.MEMORY_POS, [8, 24576n]), 'OK');
      t.equal(await source.write(CTL.MEMORY_ACTION, [4, GET]), 'EINVAL');
      t.equal(await source.write(CTL.MEMORY_ACTION, [4, 3n]), 'EINVAL');
    });

    t.test('6, 7, 8, 11, 12, 13 passes, and what the target makes of them', async (t) => {
      const { source, target } = await start(t, way);
      t.equal(await source.setState(2), 'OK');
      const first = await source.pass(8192);
      t.equal(first.length, 20048);
      t.strictSame(header(first), [0, 1, 1]);

      await source.writeBar(2, 5000, [0xaa]);
      await source.writeBar(2, 17000, [0xbb]);
      t.equal(await source.number(CTL.MEMORY_SIZE, 8), 7776);
      await source.writeBar(2, 0, [0xcc]);
      const second = (await source.chunk(0, 8192)).subarray(0, 7776);
      t.strictSame(header(second), [0, 2, 2]);
      t.equal(second.subarray(28, 32).toString('hex'), 'a5a7317e');
      t.equal(second.readBigUInt64LE(32), 4096n);
      t.equal(second.readBigUInt64LE(40), 4096n);
      t.equal(second.readBigUInt64LE(4144), 16384n);
      t.equal(second.readBigUInt64LE(4152), 3616n);
      const third = await source.pass(8192);
      t.equal(third.length, 4144);
      t.strictSame([third.readBigUInt64LE(32), third.readBigUInt64LE(40)], [0n, 4096n]);
      t.equal(await source.number(CTL.MEMORY_SIZE, 8), 0);

      await source.writeBar(2, 9000, [1, 2, 3, 4, 5]);
      t.equal(await source.setState(3), 'OK');
      const last = await source.pass(8192);
      t.equal(last.length, 4144);
      const config = await source.config();
      t.equal(config.length, 304);
      t.equal(config.readUInt32LE(8), 0, 'not taken outside LOGGING');

      t.equal(await target.write(CTL.MEMORY_SIZE, [8, 20048n]), 'EBUSY');
      t.equal(await target.setState(1), 'OK');

      const before = await target.digest();
      const damaged = Buffer.from(first);
      damaged[100] = (damaged[100] ?? 0) ^ 1;
      t.equal(await target.load(damaged, 4096), 'EINVAL', '13: the last SET_BUFFER');
      t.equal(await target.digest(), before, 'the memory is untouched');
      t.equal(await target.setState(0), 'EINVAL');

      t.equal(await target.write(CTL.MEMORY_SIZE, [8, 20048n]), 'OK', '12');
      await target.writeRegion('memory', 0, first.subarray(0, 4096));
      t.equal(await target.write(CTL.MEMORY_POS, [8, 0n]), 'OK');
      t.equal(await target.write(CTL.MEMORY_ACTION, [4, SET]), 'OK');
      t.equal(await target.number(CTL.MEMORY_SIZE, 8), 20048, 'what was announced');
      t.equal(await target.setState(0), 'EINVAL');
      t.equal(await target.number(CTL.STATE, 4), 1);
      t.equal(await target.write(CTL.MEMORY_SIZE, [8, 0n]), 'OK');
      t.equal(await target.setState(0), 'OK');
      t.equal(await target.setState(1), 'OK');

      for (const stream of [first, second, third, last])
        t.equal(await target.load(stream, 4096), 'OK', '11');
      t.equal(await target.write(CTL.CONFIG_SIZE, [8, 4097n]), 'EFBIG');
      t.equal(await target.loadConfig(config), 'OK');
      t.equal(await target.setState(0), 'OK');
      t.equal(await target.digest(), await source.digest());
      t.not(await target.digest(), before);
    });

    t.test('9, 10 pages of system memory that DMA wrote', async (t) => {
      const { source } = await start(t, way);
      t.equal(await source.setState(2), 'OK');
      await source.dma(0x10_0000n, 1);
      await source.dma(0x10_7000n, 4096);
      await source.dma(0x16_3ffen, 4);
      const bitmap = async (length: number): Promise<string> =>
        (await source.readRegion('bitmap', 0, length)).toString('hex');
      t.equal(await source.query(0x10_0000n, 100n), 'OK');
      t.equal(await bitmap(16), '81000000000000000000000008000000');
      t.equal(await source.query(0x10_0000n, 100n), 'OK');
      t.equal(await bitmap(16), '00'.repeat(16));
      t.equal(await source.query(0x16_4000n, 8n), 'OK');
      t.equal(await bitmap(1), '01');

      t.equal(await source.query(0x10_0000n, 32768n), 'OK');
      t.equal(await source.query(0x10_0000n, 32769n), 'E2BIG');
      t.equal(await source.query(0x10_0000n, 0n), 'EINVAL');
      t.equal(await source.query(0x10_0001n, 1n), 'EINVAL');
    });

    t.test('14 an access of several fields: plain ones first', async (t) => {
      const { source } = await start(t, way);
      // The BAR has no access of 24 bytes.
      if (!source.exact) return;
      const fields = [
        [4, GET],
        [4, 0n],
        [8, 0n],
        [8, 8192n],
      ] as const;
      t.equal(await source.write(CTL.MEMORY_ACTION, ...fields), 'EBUSY');
      t.equal(await source.number(CTL.MEMORY_POS, 8), 0, 'nothing was applied after the size');
      t.ok((await source.readRegion('memory', 0, 8192)).every((byte) => byte === 0));
      t.equal(await source.write(CTL.MEMORY_POS, [8, 8192n]), 'OK');
      t.equal(await source.write(CTL.MEMORY_ACTION, [4, GET]), 'OK');
    });

    t.test('15 capabilities that are missing', async (t) => {
      const memoryOnly = await start(t, way, 1);
      t.equal(await memoryOnly.source.read(8, 4), '01000000');
      t.equal(await memoryOnly.source.setState(2), 'OK');
      t.equal(await memoryOnly.source.query(0n, 1n), 'ENODEV');
      const systemOnly = await start(t, way, 2);
      t.equal(await systemOnly.source.read(8, 4), '02000000');
      t.equal(await systemOnly.source.read(CTL.MEMORY_SIZE, 8), 'ENODEV');
      t.equal(await systemOnly.source.write(CTL.MEMORY_ACTION, [4, GET]), 'ENODEV');
    });

    t.test('16 a reset of the device ends the session', async (t) => {
      const { source, qmp, reopen } = await start(t, way);
      await source.setState(2);
      await source.pass(8192);
      await source.writeBar(2, 0, [1]);
      await source.dma(0x10_0000n, 1);
      await qmp.execute('system_reset');
      await reopen();
      t.equal(await source.number(CTL.STATE, 4), 0);
      const info = await source.info();
      t.equal(info['dirty-pages'], 0n);
      t.equal(info['dirty-system-pages'], 0n);
      t.equal(await source.query(0n, 1024n), 'OK');
      t.ok((await source.readRegion('bitmap', 0, 128)).every((byte) => byte === 0));
      t.equal(await source.setState(2), 'OK');
      t.strictSame(header(await source.pass(8192)), [0, 1, 1]);
    });
    t.end();
  });

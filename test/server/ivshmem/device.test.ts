import { rmSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import t from 'tap';
import { privateFolder, startDaemon, type Cleanup } from '../../support/daemon.js';
import { RawPeer, raised, startIvshmem } from '../../support/ivshmem.js';
import { needsNative } from '../../support/mdevice.js';
import type { Qmp } from '../../support/qmp.js';

// Devices of a daemon on a server, driven over QMP.

const onServer = async (t: Cleanup, words: readonly string[] = []) => {
  const path = join(privateFolder(t), 's');
  const name = `qmemd-test-${randomUUID()}`;
  t.teardown(() => rmSync(`/dev/shm/${name}`, { force: true }));
  const server = await startIvshmem(t, ['-S', path, '-M', name, '-n', '2', '-l', '1M', ...words]);
  return { path, server };
};
const chardev = (path: string, id = 'c0') => ['-chardev', `socket,id=${id},path=${path}`];
const read = async (qmp: Qmp, id: string, bar: number, offset: number): Promise<bigint> => {
  const args = { id, bar: BigInt(bar), offset: BigInt(offset), size: 4n };
  return ((await qmp.execute('guest-mmio-read', args)) as { value: bigint }).value;
};
const write = (qmp: Qmp, id: string, bar: number, offset: number, value: number) =>
  qmp.execute('guest-mmio-write', {
    ...{ id, bar: BigInt(bar), offset: BigInt(offset) },
    ...{ size: 4n, value: BigInt(value) },
  });
const enable = (qmp: Qmp, id: string) =>
  qmp.execute('guest-config-write', { id, offset: 4n, size: 2n, value: 6n });

t.test(
  'devices of one machine and strangers share memory and doorbells',
  needsNative,
  async (t) => {
    const { path, server } = await onServer(t);
    const { qmp } = await startDaemon(t, [
      ...['-M', 'pc', '-nodefaults', ...chardev(path), ...chardev(path, 'c1')],
      ...['-device', 'ivshmem-doorbell,id=d0,chardev=c0,vectors=2,master=auto'],
      ...['-device', 'shm-pci,id=s1,chardev=c1,vectors=2,tag=7'],
    ]);
    for (const id of ['d0', 's1']) await enable(qmp, id);
    const stranger = await RawPeer.connect(t, path);
    await stranger.told(9);
    t.equal(stranger.heard[1], '2');
    t.strictSame(
      [await read(qmp, 'd0', 0, 8), await read(qmp, 's1', 0, 0x18), await read(qmp, 's1', 0, 8)],
      [0n, 1n, 7n],
    );
    await write(qmp, 'd0', 2, 0x100, 0x01020304);
    t.equal(await read(qmp, 's1', 2, 0x100), 0x01020304n);
    await write(qmp, 'd0', 0, 0xc, 0x1_0001);
    await write(qmp, 'd0', 0, 0xc, 0x2_0000);
    t.strictSame(
      [7, 8].map((at) => raised(stranger.descriptor(at))),
      [1n, 0n],
    );
    let status = 0n;
    for (let tries = 0; status === 0n && tries < 1000; tries++)
      status = await read(qmp, 's1', 0, 0x20);
    t.equal(status, 2n, 'd0 rang vector 1 of s1');

    const peers = async (): Promise<unknown> => qmp.execute('query-ivshmem');
    const all = [0n, 1n, 2n].map((id) => ({ id, vectors: 2n }));
    t.strictSame(await peers(), [
      { device: 'd0', path: '/machine/peripheral/d0', id: 0n, connected: true, peers: all },
      { device: 's1', path: '/machine/peripheral/s1', id: 1n, connected: true, peers: all },
    ]);
    const master = { path: 'd0', property: 'master' };
    t.equal(await qmp.execute('qom-get', master), 'on', 'what auto became');
    const line = { 'command-line': 'info qtree' };
    t.match(await qmp.execute('human-monitor-command', line), /master = "on"/);
    const again = { driver: 'ivshmem-doorbell', id: 'e', chardev: 'c0' };
    await t.rejects(qmp.execute('device_add', again), {
      message: "Property 'ivshmem-doorbell.chardev' can't take value 'c0': Device 'c0' is in use",
    });
    t.strictSame(await qmp.execute('query-migrate'), {
      'blocked-reasons': ["Migration is disabled when using an ivshmem server in device 'shm-pci'"],
    });
    await t.rejects(qmp.execute('chardev-remove', { id: 'c0' }), {
      message: "Chardev 'c0' is busy",
    });
    await qmp.execute('device_del', { id: 's1' });
    await qmp.execute('guest-eject', { id: 's1' });
    await qmp.event('DEVICE_DELETED');
    t.strictSame(server.ids, [0, 1, 2], 'the chardev stays connected, as with QEMU');
    await qmp.execute('chardev-remove', { id: 'c1' });
    await stranger.told(10);
    t.equal(stranger.heard[9], '1', 'now it has left');
    await server.stop();
    for (let tries = 0; tries < 1000; tries++) {
      const [first] = (await peers()) as { connected: boolean }[];
      if (first?.connected === false) break;
    }
    t.match(await peers(), [{ device: 'd0', connected: false }]);
    t.equal(await read(qmp, 'd0', 2, 0x100), 0x01020304n);
  },
);

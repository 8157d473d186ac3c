import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import t from 'tap';
import { eventually, privateFolder, type Cleanup } from '../support/daemon.js';
import { isRaised, raise, raised, RawPeer, startIvshmem } from '../support/ivshmem.js';
import { needsNative } from '../support/mdevice.js';
import { startGuest } from '../support/qtest.js';

// Test vectors 22 to 25 of reference/pci-and-memory-devices.md §11: ivshmem-doorbell over the qtest
// socket, on a server in this process.

const REGISTERS = 0xe000_0000;
const DOORBELL = REGISTERS + 0xc;
const MSIX = 0xe000_1000;
const PBA = MSIX + 0x800;
const MSIX_CONTROL = 0x42;
const MEMORY = 0x2;
const MASTER = 0x4;

/** A device that is peer 1 of two, with 2 vectors; `ring` is what peer 0 does. */
const doorbell = async (t: Cleanup) => {
  const folder = privateFolder(t);
  const path = join(folder, 'server');
  const words = ['-S', path, '-m', folder, '-l', '1M', '-n', '2'];
  await startIvshmem(t, words);
  const peer = await RawPeer.connect(t, path);
  // Version, id, memory, and its own two event counters.
  await peer.told(5);
  const guest = await startGuest(t, [
    ...['-M', 'q35', '-nodefaults', '-chardev', `socket,id=c0,path=${path}`],
    ...['-device', 'ivshmem-doorbell,chardev=c0,vectors=2,addr=4'],
  ]);
  await peer.told(7);
  const device = guest.config(4);
  await device.write(0x10, REGISTERS);
  await device.write(0x14, MSIX);
  await device.write(0x04, MEMORY, 2);
  const set = (address: number, value: number): Promise<string> =>
    guest.qtest.ask(`writel ${String(address)} ${String(value)}`);
  const get = (address: number): Promise<bigint> => guest.qtest.value(`readl ${String(address)}`);
  const ring = async (vector: number): Promise<void> => {
    const counter = peer.descriptor(5 + vector);
    raise(counter);
    await eventually('the ring is noticed', () => !isRaised(counter));
  };
  return { ...guest, device, peer, set, get, ring };
};

t.test('22, 23: rings become pending, and pending ones messages', needsNative, async (t) => {
  const { device, set, get, ring } = await doorbell(t);
  t.equal(await get(REGISTERS + 8), 1n, 'its own id');
  await ring(0);
  t.equal(await get(PBA), 0n, 'lost while MSI-X is off');
  await device.write(MSIX_CONTROL, 0x8000, 2);
  await ring(0);
  t.equal(await get(PBA), 1n);
  await ring(1);
  t.equal(await get(PBA), 3n);
  await set(DOORBELL, 0x0001_0002);
  t.equal(await get(PBA), 3n, 'there is no vector 2');
  await set(DOORBELL, 0x0009_0000);
  t.equal(await get(PBA), 3n, 'nor a peer 9');

  await set(MSIX, 0x2000);
  await set(MSIX + 8, 0xcafe_f00d);
  await device.write(0x04, MEMORY | MASTER, 2);
  await set(MSIX + 12, 0);
  t.equal(await get(PBA), 2n);
  t.equal(await get(0x2000), 0xcafe_f00dn);
  await set(0x2000, 0);
  await device.write(0x04, MEMORY, 2);
  await ring(0);
  t.equal(await get(0x2000), 0n, 'no message without MASTER');
});

t.test('24: of a vector only eight bits count', needsNative, async (t) => {
  const { peer, set } = await doorbell(t);
  await set(DOORBELL, 0x0000_0100);
  t.strictSame([raised(peer.descriptor(3)), raised(peer.descriptor(4))], [1n, 0n]);
});

t.test('25: what a server can say wrongly', needsNative, async (t) => {
  const { qmp, qtest } = await startGuest(t, [
    ...['-M', 'pc', '-nodefaults', '-object', 'memory-backend-ram,id=m1,size=1M'],
  ]);
  for (const [at, [messages, message]] of (
    [
      [[1n], 'server sent version 1, expecting 0'],
      [[0n, -5n], 'server sent invalid ID message'],
      [[0n, 0n, -1n], "server didn't provide fd with shared memory message"],
    ] as const
  ).entries()) {
    const path = join(privateFolder(t), 'server');
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      for (const value of messages) {
        const bytes = Buffer.alloc(8);
        bytes.writeBigInt64LE(value);
        socket.write(bytes);
      }
    }).listen(path);
    await once(server, 'listening');
    t.teardown(() => server.close());
    const chardev = `c${String(at)}`;
    const addr = { type: 'unix', data: { path } };
    const backend = { type: 'socket', data: { addr, server: false } };
    await qmp.execute('chardev-add', { id: chardev, backend });
    await t.rejects(qmp.execute('device_add', { driver: 'ivshmem-doorbell', id: 'd', chardev }), {
      message,
    });
    await qmp.execute('chardev-remove', { id: chardev });
  }
  await qmp.execute('device_add', { driver: 'ivshmem-plain', id: 'd', memdev: 'm1' });
  t.equal(await qtest.ask('endianness'), 'OK little');
});

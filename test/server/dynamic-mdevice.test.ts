import {
  closeSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  readlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { REGISTERS } from '../../devices/dynamic-mdevice/registers.js';
import { COMMAND, CONFIG } from '../../devices/pci/registers.js';
import { privateFolder, startDaemon, type Cleanup } from '../support/daemon.js';
import { Qmp } from '../support/qmp.js';

const GiB = 1n << 30n;
const MiB = 1n << 20n;

/** A sparse file of `size` bytes in shared memory. */
const memoryFile = (t: Cleanup, size: bigint): string => {
  const path = join(privateFolder(t, '/dev/shm'), 'mem');
  writeFileSync(path, '');
  truncateSync(path, Number(size));
  return path;
};
const bytesAt = (path: string, offset: bigint, length: number): string => {
  const fd = openSync(path, 'r');
  const into = Buffer.alloc(length);
  readSync(fd, into, 0, length, Number(offset));
  closeSync(fd);
  return into.toString();
};
const base64 = (text: string): string => Buffer.from(text).toString('base64');
/** How often `path` is open and mapped in this process. */
const usesOf = (path: string): { open: number; mapped: number } => {
  const open = readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path;
    } catch {
      return false; // the descriptor of the listing itself
    }
  }).length;
  const maps = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return { open, mapped: maps.filter((line) => line.endsWith(path)).length };
};
const failure = (promise: Promise<unknown>): Promise<{ class: string; desc: string }> =>
  promise.then(
    () => ({ class: 'none', desc: 'no error' }),
    (error: Error & { class: string }) => ({ class: error.class, desc: error.message }),
  );

t.test('the command line of the seed attaches, shows bytes in the file and detaches', async (t) => {
  const path = memoryFile(t, 4n * GiB);
  const { qmp } = await startDaemon(t, [
    '-M',
    'q35',
    '-device',
    `dyanmic-mdevice,size=0x200000000,align=0x40000000,mem-path=${path},id=dm0`,
  ]);
  const attach = (offset: bigint) => qmp.execute('mem-attach', { id: 'dm0', size: GiB, offset });
  t.strictSame(await attach(0n), { 'bar-offset': 0n, size: GiB, offset: 0n });
  t.strictSame(await attach(2n * GiB), { 'bar-offset': GiB, size: GiB, offset: 2n * GiB });
  t.equal(usesOf(path).mapped, 2);
  await qmp.execute('guest-mmio-write', {
    id: 'dm0',
    bar: 2n,
    offset: GiB + 5n,
    data: base64('through BAR2'),
  });
  t.equal(bytesAt(path, 2n * GiB + 5n, 12), 'through BAR2');
  await qmp.execute('mem-detach', { id: 'dm0', size: GiB, offset: 0n });
  t.strictSame(await qmp.execute('query-mem-attachments', { id: 'dm0' }), [
    { 'bar-offset': GiB, size: GiB, offset: 2n * GiB },
  ]);
  t.equal(usesOf(path).mapped, 1);
  t.strictSame(await failure(qmp.execute('device_del', { id: 'dm0' })), {
    class: 'GenericError',
    desc: "Bus 'pcie.0' does not support hotplugging",
  });
});

for (const [place, words, bus] of [
  [
    'under a pcie-root-port',
    ['-M', 'q35,guest-policy=accept', '-device', 'pcie-root-port,id=rp1'],
    'rp1',
  ],
  ['on pc', ['-M', 'pc,guest-policy=accept'], 'pci.0'],
] as const)
  t.test(`unplug ${place} leaves nothing open or mapped`, async (t) => {
    const path = memoryFile(t, 64n * MiB);
    const { qmp } = await startDaemon(t, words);
    const device = { driver: 'dynamic-mdevice', id: 'dm0', bus, align: 4096n, 'mem-path': path };
    t.strictSame(usesOf(path), { open: 0, mapped: 0 });
    await qmp.execute('device_add', device);
    if (bus === 'rp1') await powerOn(qmp);
    await qmp.execute('mem-attach', { id: 'dm0', size: 8192n, offset: 4096n });
    t.strictSame(usesOf(path), { open: 1, mapped: 1 });
    qmp.order.length = 0;
    await qmp.execute('device_del', { id: 'dm0' });
    const { data } = await qmp.event('DEVICE_DELETED');
    t.strictSame(data, { device: 'dm0', path: '/machine/peripheral/dm0' });
    t.strictSame(qmp.order, ['return', 'DEVICE_DELETED'], 'the event follows the reply');
    t.strictSame(usesOf(path), { open: 0, mapped: 0 });
    await qmp.execute('device_add', device);
    t.pass('the id can be used again');
  });

/** As a guest that answers the attention button of a hot-added card: power on. */
const powerOn = async (qmp: Qmp): Promise<void> => {
  const { value } = (await qmp.execute('guest-config-read', {
    id: 'dm0',
    offset: 0n,
    size: 2n,
  })) as { value: bigint };
  if (value !== 0xffffn) return;
  const control = { id: 'rp1', offset: 0x54n + 0x18n, size: 2n };
  const read = (await qmp.execute('guest-config-read', control)) as { value: bigint };
  await qmp.execute('guest-config-write', { ...control, value: (read.value & ~0x700n) | 0x100n });
};

t.test(
  'the same attach by configuration and memory accesses alone gives the same result',
  async (t) => {
    const path = memoryFile(t, 64n * MiB);
    const { qmp } = await startDaemon(t, [
      '-M',
      'pc',
      '-device',
      `dynamic-mdevice,id=a,size=64M,align=4K,mem-path=${path}`,
      '-device',
      `dynamic-mdevice,id=b,size=64M,align=4K,mem-path=${path}`,
    ]);
    const config = (offset: number, size: number, value: number) =>
      qmp.execute('guest-config-write', {
        id: 'a',
        offset: BigInt(offset),
        size: BigInt(size),
        value: BigInt(value),
      });
    const write = (name: keyof typeof REGISTERS, value: bigint) =>
      qmp.execute('guest-mmio-write', {
        id: 'a',
        bar: 0n,
        offset: BigInt(REGISTERS[name].offset),
        size: BigInt(REGISTERS[name].size),
        value,
      });
    const read = async (name: keyof typeof REGISTERS) =>
      (
        (await qmp.execute('guest-mmio-read', {
          id: 'a',
          bar: 0n,
          offset: BigInt(REGISTERS[name].offset),
          size: BigInt(REGISTERS[name].size),
        })) as { value: bigint }
      ).value;
    await config(CONFIG.COMMAND, 2, COMMAND.MEMORY | COMMAND.MASTER);
    await write('MEM_SIZE', 8192n);
    await write('MEM_OFFSET', 4096n);
    await write('DOOR_BELL', 0x80000001n);
    t.equal(await read('INT_STATUS'), 1n);
    t.equal(await read('HW_OFFSET'), 8192n);
    await qmp.execute('mem-attach', { id: 'b', size: 8192n, offset: 4096n });
    const attachments = (id: string) => qmp.execute('query-mem-attachments', { id });
    t.strictSame(await attachments('a'), await attachments('b'));
    await qmp.execute('guest-mmio-write', {
      id: 'a',
      bar: 2n,
      offset: 0n,
      size: 8n,
      value: 0x1122334455667788n,
    });
    t.strictSame(
      await qmp.execute('guest-mmio-read', { id: 'b', bar: 2n, offset: 0n, size: 8n }),
      { value: 0x1122334455667788n },
      'two devices on one mem-path see each other at once',
    );
  },
);

t.test(
  'with MASTER cleared behind the driver mem-attach times out, and nothing is attached',
  async (t) => {
    const path = memoryFile(t, 64n * MiB);
    const { qmp } = await startDaemon(t, [
      '-M',
      'pc',
      '-device',
      `dynamic-mdevice,id=d,size=64M,align=4K,mem-path=${path}`,
    ]);
    await qmp.execute('mem-attach', { id: 'd', size: 4096n, offset: 0n });
    await qmp.execute('guest-config-write', {
      id: 'd',
      offset: BigInt(CONFIG.COMMAND),
      size: 2n,
      value: BigInt(COMMAND.MEMORY),
    });
    t.match(await failure(qmp.execute('mem-attach', { id: 'd', size: 4096n, offset: 4096n })), {
      class: 'GenericError',
      desc: /timed out/,
    });
    t.strictSame(await qmp.execute('query-mem-attachments', { id: 'd' }), [
      { 'bar-offset': 0n, size: 4096n, offset: 0n },
    ]);
  },
);

t.test(
  'a file truncated by somebody else while attached costs the bytes, not the daemon',
  async (t) => {
    const path = memoryFile(t, MiB);
    const { qmp } = await startDaemon(t, [
      '-M',
      'pc',
      '-device',
      `dynamic-mdevice,id=d,size=64M,align=4K,mem-path=${path}`,
    ]);
    await qmp.execute('mem-attach', { id: 'd', size: MiB, offset: 0n });
    truncateSync(path, 4096);
    const access = { id: 'd', bar: 2n, offset: 65536n, size: 8n };
    t.strictSame(await qmp.execute('guest-mmio-read', access), { value: 0n });
    t.strictSame(await qmp.execute('guest-mmio-write', { ...access, value: 1n }), {});
    t.match(await failure(qmp.execute('mem-attach', { id: 'd', size: 4096n, offset: 8192n })), {
      class: 'GenericError',
    });
    t.match(await qmp.execute('query-status'), { status: 'running' });
  },
);

t.test('two commands for the guest side do not hold each other up or get mixed', async (t) => {
  const path = memoryFile(t, 64n * MiB);
  const { qmp, socket } = await startDaemon(t, [
    '-M',
    'pc',
    '-device',
    `dynamic-mdevice,id=d,size=64M,align=4K,mem-path=${path}`,
  ]);

  const other = await Qmp.connect(socket);
  t.teardown(() => other.close());
  const both = await Promise.all([
    qmp.execute('mem-attach', { id: 'd', size: 4096n, offset: 0n }),
    other.execute('mem-attach', { id: 'd', size: 8192n, offset: 4096n }),
  ]);
  t.match(both, [
    { offset: 0n, size: 4096n },
    { offset: 4096n, size: 8192n },
  ]);
});

for (const [name, act, message] of [
  ['device-yank', (qmp: Qmp) => qmp.execute('device-yank', { id: 'd' }), /was removed/],
  ['system_reset', (qmp: Qmp) => qmp.execute('system_reset'), /was reset/],
  [
    'guest-eject',
    async (qmp: Qmp) => {
      await qmp.execute('device_del', { id: 'd' });
      await qmp.execute('guest-eject', { id: 'd' });
    },
    /was removed/,
  ],
] as const)
  t.test(`${name} of another client ends a waiting mem-attach`, async (t) => {
    const path = memoryFile(t, MiB);
    const { qmp, socket } = await startDaemon(t, [
      '-M',
      'pc',
      '-device',
      `dynamic-mdevice,id=d,size=64M,align=4K,mem-path=${path}`,
    ]);
    await qmp.execute('mem-attach', { id: 'd', size: 4096n, offset: 0n });
    await qmp.execute('guest-config-write', { id: 'd', offset: 4n, size: 2n, value: 2n });
    const other = await Qmp.connect(socket);
    t.teardown(() => other.close());
    const waiting = failure(other.execute('mem-attach', { id: 'd', size: 4096n, offset: 4096n }));
    for (let attached = 0; attached < 2;)
      attached = ((await qmp.execute('query-mem-attachments', { id: 'd' })) as unknown[]).length;
    await act(qmp);
    t.match(await waiting, { class: 'GenericError', desc: message });
    t.equal(usesOf(path).mapped, 0);
  });

t.test('a client that vanishes in the middle of mem-attach leaves the device usable', async (t) => {
  const path = memoryFile(t, 64n * MiB);
  const { qmp, socket } = await startDaemon(t, [
    '-M',
    'pc',
    '-device',
    `dynamic-mdevice,id=d,size=64M,align=4K,mem-path=${path}`,
  ]);
  await qmp.execute('mem-attach', { id: 'd', size: 4096n, offset: 0n });
  await qmp.execute('guest-config-write', { id: 'd', offset: 4n, size: 2n, value: 2n });

  const other = await Qmp.connect(socket);
  other.send({ execute: 'mem-attach', arguments: { id: 'd', size: 4096n, offset: 4096n } });
  // A reply to the next command tells that the first has begun.
  await qmp.execute('query-status');
  other.close();
  await qmp.execute('guest-config-write', { id: 'd', offset: 4n, size: 2n, value: 6n });
  t.match(await qmp.execute('mem-attach', { id: 'd', size: 4096n, offset: 8192n }), {
    size: 4096n,
  });
});

import t from 'tap';
import type { Json } from '../side-by-side/client.js';
import type { Cleanup } from '../support/daemon.js';
import { startGuest, type Guest } from '../support/qtest.js';

// Test vectors 1 to 11 of reference/pci-and-memory-devices.md §11, over the qtest socket.

const Q35 = ['-M', 'q35', '-nodefaults'];
const BACKEND = ['-object', 'memory-backend-ram,id=m1,size=1M'];

const withIvshmem = (t: Cleanup): Promise<Guest> =>
  startGuest(t, [...Q35, ...BACKEND, '-device', 'ivshmem-plain,id=iv,memdev=m1,addr=4']);

/** Addresses of the BARs of a device, as query-pci tells. */
const addressesOf = async ({ qmp }: Guest, id: string): Promise<Json[]> => {
  const [host] = (await qmp.execute('query-pci')) as {
    devices: { qdev_id: string; regions: { address: Json }[] }[];
  }[];
  const device = host?.devices.find(({ qdev_id: found }) => found === id);
  return device?.regions.map(({ address }) => address) ?? [];
};

/** Asks line by line and compares. */
const dialogue = async (
  t: { equal(found: string, wanted: string, message: string): unknown },
  { qtest }: Guest,
  lines: readonly (readonly [string, string])[],
): Promise<void> => {
  for (const [request, reply] of lines) t.equal(await qtest.ask(request), reply, request);
};

t.test('1: what nobody serves', async (t) => {
  const guest = await startGuest(t, Q35);
  await dialogue(t, guest, [
    ['readl 0xe0000000', 'OK 0x0000000000000000'],
    ['inl 0x1234', 'OK 0xffffffff'],
    ['outl 0xcf8 0x2000', 'OK'],
    ['inw 0xcfc', 'OK 0xffff'],
  ]);
});

t.test('2: only aligned 4-byte writes reach the address port', async (t) => {
  const guest = await startGuest(t, Q35);
  await dialogue(t, guest, [
    ['outl 0xcf8 0x80000000', 'OK'],
    ['inl 0xcfc', 'OK 0x29c08086'],
    ['outb 0xcf8 0x55', 'OK'],
    ['inl 0xcf8', 'OK 0x80000000'],
  ]);
});

t.test('3: identity of ivshmem-plain', async (t) => {
  const { config } = await withIvshmem(t);
  for (const [register, value] of [
    [0x00, 0x11101af4],
    [0x08, 0x05000001],
    [0x18, 0x0000000c],
    [0x2c, 0x11001af4],
  ] as const)
    t.equal(await config(4).read(register), value, `register ${register.toString(16)}`);
});

/** Writes all ones where vector 4 does. */
const MASKS = [
  [0x04, 0x00000507],
  [0x0c, 0x000000ff],
  [0x10, 0xffffff00],
  [0x18, 0xfff0000c],
  [0x1c, 0xffffffff],
  [0x3c, 0x000000ff],
] as const;

t.test('4: all ones read back as the masks', async (t) => {
  const { config } = await withIvshmem(t);
  const iv = config(4);
  for (const [register, value] of MASKS) {
    await iv.write(register, 0xffffffff);
    t.equal(await iv.read(register), value, `register ${register.toString(16)}`);
  }
});

t.test('5: neither all ones nor 0 is an address', async (t) => {
  const guest = await withIvshmem(t);
  const iv = guest.config(4);
  for (const register of [0x10, 0x18, 0x1c]) await iv.write(register, 0xffffffff);
  await iv.write(0x04, 2, 2);
  t.strictSame(await addressesOf(guest, 'iv'), [-1n, -1n]);
  for (const register of [0x10, 0x18, 0x1c]) await iv.write(register, 0);
  t.strictSame(await addressesOf(guest, 'iv'), [-1n, -1n]);
});

/** BAR0 at 0xe0000100, BAR2 at 0x1e0100000, memory decoding on. */
const mapped = async (t: Cleanup): Promise<Guest> => {
  const guest = await withIvshmem(t);
  const iv = guest.config(4);
  await iv.write(0x10, 0xe0000100);
  await iv.write(0x18, 0xe0100000);
  await iv.write(0x1c, 1);
  await iv.write(0x04, 2, 2);
  return guest;
};

t.test('6: memory behind a BAR above 4 GiB', async (t) => {
  const guest = await mapped(t);
  await dialogue(t, guest, [
    ['writeq 0x1e0100000 0x1122334455667788', 'OK'],
    ['readb 0x1e0100007', 'OK 0x0000000000000011'],
  ]);
  t.strictSame(await addressesOf(guest, 'iv'), [3758096640n, 8054112256n]);
});

t.test('7: registers accessed in other widths', async (t) => {
  await dialogue(t, await mapped(t), [
    ['writel 0xe0000100 0xdeadbeef', 'OK'],
    ['readb 0xe0000100', 'OK 0x00000000000000ef'],
    ['readb 0xe0000101', 'OK 0x0000000000000000'],
    ['readw 0xe0000100', 'OK 0x000000000000beef'],
    ['readw 0xe0000102', 'OK 0x0000000000000000'],
    ['readq 0xe0000100', 'OK 0x00000000deadbeef'],
  ]);
});

t.test('8, 9: registers that clear when read, and a system reset', async (t) => {
  const guest = await mapped(t);
  await dialogue(t, guest, [
    ['writel 0xe0000104 5', 'OK'],
    ['readl 0xe0000104', 'OK 0x0000000000000005'],
    ['readl 0xe0000104', 'OK 0x0000000000000000'],
    ['writel 0xe0000108 1', 'OK'],
    ['readl 0xe0000108', 'OK 0x0000000000000000'],
    ['readl 0xe000010c', 'OK 0x0000000000000000'],
    ['writel 0xe0000100 0xff', 'OK'],
  ]);
  await guest.qmp.execute('system_reset');
  t.match(await guest.qmp.event('RESET'), { data: { guest: false } });
  const iv = guest.config(4);
  t.equal(await iv.read(0x04, 2), 0);
  t.equal(await iv.read(0x10), 0);
  t.equal(await iv.read(0x18), 0x0000000c);
});

t.test('10: of two BARs at one address the one mapped last answers', async (t) => {
  const guest = await startGuest(t, [
    ...[...Q35, ...BACKEND, '-object', 'memory-backend-ram,id=m2,size=1M'],
    ...['-device', 'ivshmem-plain,id=a,memdev=m1,addr=4'],
    ...['-device', 'ivshmem-plain,id=b,memdev=m2,addr=5'],
  ]);
  const [a, b] = [guest.config(4), guest.config(5)];
  for (const [device, data] of [
    [a, 0xaaaa],
    [b, 0xbbbb],
  ] as const) {
    await device.write(0x18, 0xe0100000);
    await device.write(0x04, 2, 2);
    await guest.qtest.ask(`writel 0xe0100000 ${String(data)}`);
  }
  t.equal(await guest.qtest.value('readl 0xe0100000'), 0xbbbbn, "b's data");
  await a.write(0x04, 0, 2);
  await a.write(0x04, 2, 2);
  t.equal(await guest.qtest.value('readl 0xe0100000'), 0xaaaan, "a's data");
});

t.test('11: ECAM once it is switched on', async (t) => {
  const guest = await withIvshmem(t);
  const { qtest, config } = guest;
  t.equal(await qtest.value('readl 0xb0000000'), 0n);
  await config(0).write(0x60, 0xb0000001);
  t.equal(await qtest.value('readl 0xb0000000'), 0x29c08086n);
  t.equal(await qtest.value('readl 0xb0048000'), 0xffffffffn, 'device 9 is absent');
  t.equal(await qtest.value('readl 0xb0020100'), 0xffffffffn, 'no extended space: conventional');
});

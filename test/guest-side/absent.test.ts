import t from 'tap';
import { startGuest } from '../support/qtest.js';

// What the guest side sees of devices that do not answer (reference §1.1, §1.4, §1.5, §6.3):
// all ones in configuration space and ports, 0 in memory, and never a refusal.

const BACKEND = ['-object', 'memory-backend-ram,id=m1,size=1M'];
const NATIVE = ['-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'];
const PORT = ['-device', 'pcie-root-port,id=rp1,chassis=1,slot=1,addr=2.0'];
const Q35 = ['-M', 'q35', '-nodefaults', ...BACKEND];
const BAR0 = 0xe000_0000;
const BAR2 = 0xe010_0000;
const ABSENT = 0xffffffff;

const hex = (value: number): string => `0x${value.toString(16)}`;

t.test('BARs that are not mapped', async (t) => {
  const { config, qtest } = await startGuest(t, [
    ...[...Q35, '-device', 'ivshmem-plain,id=iv,memdev=m1,addr=4'],
  ]);
  const iv = config(4);
  const look = async (): Promise<bigint[]> => [
    await qtest.value(`readl ${hex(BAR2)}`),
    await qtest.value(`readq ${hex(BAR2 + 0xf_fff8)}`),
  ];
  const knock = (value: number): Promise<string> =>
    qtest.ask(`writel ${hex(BAR2)} ${String(value)}`);
  t.equal(await knock(1), 'OK');
  t.strictSame(await look(), [0n, 0n], 'after a reset');
  await iv.write(0x18, BAR2);
  t.equal(await knock(2), 'OK');
  t.strictSame(await look(), [0n, 0n], 'an address, but MEM is off');
  await iv.write(0x04, 2, 2);
  t.strictSame(await look(), [0n, 0n], 'nothing of what was written arrived');
  t.equal(await knock(3), 'OK');
  t.strictSame(await look(), [3n, 0n]);
  await iv.write(0x18, 0xffffffff);
  t.strictSame(await look(), [0n, 0n], 'while it is being sized');
  await iv.write(0x18, 0x10_0000);
  await iv.write(0x1c, 0);
  t.equal(await qtest.value('readl 0x100000'), 0n, 'RAM lies over it');
  await iv.write(0x18, BAR2);
  t.strictSame(await look(), [3n, 0n], 'and back');
  t.equal((await qtest.ask(`read ${hex(BAR2 + 0xf_fffe)} 4`)).length, 'OK 0x'.length + 8);
});

t.test('behind a bridge whose window is closed, or without numbers', async (t) => {
  const { config, qtest, qmp } = await startGuest(t, [
    ...[...Q35, ...NATIVE, ...PORT],
    ...['-device', 'ivshmem-plain,id=iv,memdev=m1,bus=rp1'],
  ]);
  const [port, iv] = [config(2), config(0, { bus: 1 })];
  t.equal(await iv.read(0), ABSENT, 'no bus 1 yet');
  await iv.write(0x04, 2, 2);
  await port.write(0x18, 0x00010100);
  t.equal(await iv.read(0), 0x11101af4);
  t.equal(await iv.read(0x04, 2), 0, 'what was written before went nowhere');
  await iv.write(0x10, BAR0);
  await iv.write(0x04, 2, 2);
  const mask = async (): Promise<bigint> => {
    await qtest.ask(`writel ${hex(BAR0)} 0x77`);
    return qtest.value(`readl ${hex(BAR0)}`);
  };
  t.equal(await mask(), 0n, 'the window is closed');
  await port.write(0x20, 0xe000_e000);
  t.equal(await mask(), 0n, 'the window is open, MEM of the bridge is off');
  await port.write(0x04, 2, 2);
  t.equal(await mask(), 0x77n);
  t.match(JSON.stringify(await qmp.execute('query-pci'), bigints), new RegExp(String(BAR0)));
  await port.write(0x04, 0, 2);
  t.equal(await mask(), 0n);
  t.match(
    JSON.stringify(await qmp.execute('query-pci'), bigints),
    new RegExp(String(BAR0)),
    'query-pci tells what the device decodes',
  );
  await port.write(0x04, 2, 2);
  await port.write(0x3e, 0x40, 2);
  t.equal(await iv.read(0), ABSENT, 'held in reset');
  await port.write(0x3e, 0, 2);
  t.equal(await iv.read(0x10), 0, 'and reset');
});

t.test('a slot without power', async (t) => {
  const { config, qtest } = await startGuest(t, [
    ...[...Q35, ...NATIVE, ...PORT],
    ...['-device', 'ivshmem-plain,id=iv,memdev=m1,bus=rp1'],
  ]);
  const [port, iv] = [config(2), config(0, { bus: 1 })];
  await port.write(0x18, 0x00010100);
  await port.write(0x20, 0xe000_e000);
  await port.write(0x04, 2, 2);
  await iv.write(0x10, BAR0);
  await iv.write(0x04, 2, 2);
  await qtest.ask(`writel ${hex(BAR0)} 0x77`);
  t.equal(await qtest.value(`readl ${hex(BAR0)}`), 0x77n);
  // Power off, indicator still on: nothing is unplugged.
  await port.write(0x6c, 0x05c0, 2);
  t.equal(await iv.read(0), ABSENT);
  t.equal(await iv.read(0, 1), 0xff);
  await iv.write(0x04, 0, 2);
  t.equal(await qtest.value(`readl ${hex(BAR0)}`), 0n);
  t.equal(await qtest.ask(`writel ${hex(BAR0)} 1`), 'OK');
  await port.write(0x6c, 0x01c0, 2);
  t.equal(await iv.read(0), 0x11101af4, 'power again');
});

t.test('hot-added, and not yet let in', async (t) => {
  const { config, qmp } = await startGuest(t, [...Q35, ...NATIVE, ...PORT]);
  const [port, iv] = [config(2), config(0, { bus: 1 })];
  await port.write(0x18, 0x00010100);
  await qmp.execute('device_add', { driver: 'ivshmem-plain', id: 'iv', memdev: 'm1', bus: 'rp1' });
  t.equal(await iv.read(0), ABSENT);
  await port.write(0x6c, 0x01e9, 2);
  t.equal(await iv.read(0), 0x11101af4);
});

t.test('in every width, at every address of every space', async (t) => {
  const { qtest } = await startGuest(t, ['-M', 'pc', '-nodefaults']);
  const addresses = ['0', '0x7ffffff', '0xd0000000', '0xfebfffff', '0xfec00000', '0xfee00ff9'];
  const far = ['0xffffffff', '0x100000000', '0xfffffffffffffffe', '0xffffffffffffffff'];
  const requests = [...addresses, ...far].flatMap((address) => [
    ...['b', 'w', 'l', 'q'].map((width) => `read${width} ${address}`),
    ...['b', 'w', 'l', 'q'].map((width) => `write${width} ${address} 0`),
    ...[`read ${address} 33`, `memset ${address} 7 0`, `b64read ${address} 3`],
  ]);
  const ports = ['0', '0x60', '0xcf7', '0xcf9', '0xcff', '0xfffe', '0xffff'].flatMap((port) =>
    ['b', 'w', 'l'].flatMap((width) => [`in${width} ${port}`, `out${width} ${port} 0xffffffff`]),
  );
  for (const reply of await qtest.askAll([...requests, ...ports])) t.match(reply, /^OK/);
});

const bigints = (_key: string, value: unknown): unknown =>
  typeof value === 'bigint' ? String(value) : value;

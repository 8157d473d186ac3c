import t from 'tap';
import type { Cleanup } from '../support/daemon.js';
import { startGuest, type Guest } from '../support/qtest.js';

// Test vectors 12 to 17 and 29 of reference/pci-and-memory-devices.md §11: hotplug, seen from the
// guest side over the qtest socket.

const Q35 = ['-M', 'q35', '-nodefaults'];
const NATIVE = ['-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'];
const BACKEND = ['-object', 'memory-backend-ram,id=m1,size=1M'];
const ROOT_PORT = ['-device', 'pcie-root-port,id=rp1,chassis=1,slot=1,addr=2.0'];
const IN_PORT = ['-device', 'ivshmem-plain,id=iv1,memdev=m1,bus=rp1'];
const DELETED = { device: 'iv1', path: '/machine/peripheral/iv1' };

const SLOT_CAPABILITIES = 0x68;
const SLOT_CONTROL = 0x6c;
const SLOT_STATUS = 0x6e;
const PRESENCE = 0x40;

const nativePort = (t: Cleanup, ...more: string[]): Promise<Guest> =>
  startGuest(t, [...Q35, ...NATIVE, ...BACKEND, ...ROOT_PORT, ...more]);

const PENDING = { message: 'Device iv1 is already in the process of unplug' };

t.test('12: a native slot with a cold-plugged child', async (t) => {
  const { config } = await nativePort(t, ...IN_PORT);
  const port = config(2);
  t.equal(await port.read(0x34, 1), 0x54);
  t.equal(await port.read(SLOT_CAPABILITIES), 0x000a007b);
  t.equal(await port.read(SLOT_CONTROL, 2), 0x03c0, 'as QEMU 10.2');
  t.equal(await port.read(SLOT_STATUS, 2), PRESENCE);
});

t.test('13: its removal, which the guest completes', async (t) => {
  const { config, qmp } = await nativePort(t, ...IN_PORT);
  const port = config(2);
  const child = config(0, { bus: 1 });
  await port.write(0x18, 0x00010100);
  t.equal(await child.read(0), 0x11101af4);
  await port.write(SLOT_CONTROL, 0x01e9, 2);
  await qmp.execute('device_del', { id: 'iv1' });
  t.equal((await port.read(SLOT_STATUS, 2)) & 1, 1, 'the attention button is pressed');
  await t.rejects(qmp.execute('device_del', { id: 'iv1' }), PENDING);
  await port.write(SLOT_CONTROL, 0x07e9, 2);
  t.match(await qmp.event('DEVICE_DELETED'), { data: DELETED });
  t.equal((await port.read(SLOT_STATUS, 2)) & PRESENCE, 0);
  t.equal(await child.read(0), 0xffffffff);
});

t.test('14: a slot without power lets go at once', async (t) => {
  const { config, qmp } = await nativePort(t);
  t.equal(await config(2).read(SLOT_CONTROL, 2), 0x07c0);
  const device = { driver: 'ivshmem-plain', id: 'iv3', memdev: 'm1', bus: 'rp1' };
  t.strictSame(await qmp.execute('device_add', device), {});
  t.strictSame(await qmp.execute('device_del', { id: 'iv3' }), {});
  t.match(await qmp.event('DEVICE_DELETED'), { data: { device: 'iv3' } });
});

t.test('15: a blinking power indicator means that the guest is busy', async (t) => {
  const { config, qmp } = await nativePort(t, ...IN_PORT);
  await config(2).write(SLOT_CONTROL, 0x02e9, 2);
  await t.rejects(qmp.execute('device_del', { id: 'iv1' }), {
    message: 'Hot-unplug failed: guest is busy (power indicator blinking)',
  });
});

t.test('16: under ACPI a system reset performs the removal that is pending', async (t) => {
  const { qmp } = await startGuest(t, [...Q35, ...BACKEND, ...ROOT_PORT, ...IN_PORT]);
  await qmp.execute('device_del', { id: 'iv1' });
  await t.rejects(qmp.execute('object-del', { id: 'm1' }), {
    message: "object 'm1' is in use, can not be deleted",
  });
  await qmp.execute('system_reset');
  await qmp.event('DEVICE_DELETED');
  const order = qmp.order.filter((name) => name === name.toUpperCase());
  t.strictSame(order, ['RESET', 'DEVICE_DELETED']);
  t.strictSame(await qmp.execute('object-del', { id: 'm1' }), {});
});

t.test('17: the ACPI registers of pc', async (t) => {
  const { qmp, qtest } = await startGuest(t, ['-M', 'pc', '-nodefaults', ...BACKEND]);
  await qmp.execute('device_add', { driver: 'ivshmem-plain', id: 'iv1', memdev: 'm1', addr: '6' });
  t.equal(await qtest.ask('inl 0xae00'), 'OK 0x0040');
  t.equal(await qtest.ask('inl 0xae00'), 'OK 0x0000');
  await qmp.execute('device_del', { id: 'iv1' });
  t.equal(await qtest.ask('inl 0xae04'), 'OK 0x0040');
  t.equal(await qtest.ask('outl 0xae08 0x40'), 'OK');
  t.match(await qmp.event('DEVICE_DELETED'), { data: DELETED });
});

t.test('29: a request to unplug expires after five seconds of virtual time', async (t) => {
  const { config, qmp, qtest } = await nativePort(t, ...IN_PORT, '-accel', 'qtest');
  await config(2).write(SLOT_CONTROL, 0x01e9, 2);
  await qmp.execute('device_del', { id: 'iv1' });
  t.equal(await qtest.ask('clock_step 4999000000'), 'OK 4999000000');
  await t.rejects(qmp.execute('device_del', { id: 'iv1' }), PENDING);
  t.equal(await qtest.ask('clock_step 2000000'), 'OK 5001000000');
  t.strictSame(await qmp.execute('device_del', { id: 'iv1' }), {});
});

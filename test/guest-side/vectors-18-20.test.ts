import t from 'tap';
import type { QmpFailure } from '../support/qmp.js';
import { startGuest } from '../support/qtest.js';

// Test vectors 18 to 20 and 26 of reference/pci-and-memory-devices.md §11: device_add as the guest
// side sees it, and the interrupt line of edu, over the qtest socket.

const Q35 = ['-M', 'q35', '-nodefaults'];
const NATIVE = ['-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'];
const BACKEND = ['-object', 'memory-backend-ram,id=m1,size=1M'];

t.test('18: devices that cannot be added', async (t) => {
  const { qmp, qtest } = await startGuest(t, [
    ...[...Q35, ...BACKEND, '-device', 'pcie-root-port,id=rp1,chassis=1,slot=1,addr=2.0'],
    ...['-device', 'edu,id=iv1,addr=3'],
  ]);
  const iv = { driver: 'ivshmem-plain', id: 'x', memdev: 'm1', bus: 'rp1' };
  for (const [args, wanted] of [
    [{ driver: 'nosuch' }, "GenericError: 'nosuch' is not a valid device model name"],
    [
      { driver: 'ivshmem-common' },
      "GenericError: Parameter 'driver' expects a non-abstract device type",
    ],
    [{ ...iv, bus: 'pcie.0' }, "GenericError: Bus 'pcie.0' does not support hotplugging"],
    [{ ...iv, bus: 'nobus' }, "GenericError: Bus 'nobus' not found"],
    [{ ...iv, nosuch: 1n }, "GenericError: Property 'ivshmem-plain.nosuch' not found"],
    [{ ...iv, addr: 'zz' }, "GenericError: Property 'ivshmem-plain.addr' doesn't take value 'zz'"],
    [{ ...iv, id: 'iv1' }, "GenericError: Duplicate device ID 'iv1'"],
    [{ driver: 'ivshmem-plain', bus: 'rp1' }, "GenericError: You must specify a 'memdev'"],
    [{ ...iv, memdev: 'nomem' }, "DeviceNotFound: Device 'nomem' not found"],
  ] as const) {
    const reason = await qmp.execute('device_add', args).then(
      () => 'added',
      (error: QmpFailure) => `${error.class}: ${error.message}`,
    );
    t.equal(reason, wanted);
  }
  t.equal(await qtest.ask('endianness'), 'OK little');
});

t.test('19: functions that come before their function 0', async (t) => {
  const { qmp, config } = await startGuest(t, [
    ...[...Q35, ...NATIVE, '-device', 'pcie-root-port,id=rp1,chassis=1,slot=1,addr=2.0'],
  ]);
  const add = (addr: string, more = {}): Promise<unknown> =>
    qmp.execute('device_add', { driver: 'edu', bus: 'rp1', addr, ...more });
  await config(2).write(0x18, 0x00010100);
  t.strictSame(await add('0.1'), {});
  t.equal(await config(0, { bus: 1, fn: 1 }).read(0), 0xffffffff, 'not exposed yet');
  await t.rejects(add('0.0'), {
    message: 'PCI: 0.0 indicates single function, but 0.1 is already populated.',
  });
  t.strictSame(await add('0.0', { multifunction: true }), {});
});

t.test('20: a bus of 32 slots takes 32 devices', async (t) => {
  const { qmp } = await startGuest(t, [
    ...[...Q35, '-device', 'pcie-root-port,id=rp1,chassis=1,slot=1,addr=2.0'],
    ...['-device', 'pcie-pci-bridge,id=br,bus=rp1'],
  ]);
  const add = (): Promise<unknown> => qmp.execute('device_add', { driver: 'edu', bus: 'br' });
  for (let count = 0; count < 32; count++) await add();
  await t.rejects(add(), {
    message: 'PCI: no slot/function available for edu, all in use or reserved',
  });
});

/** Registers of edu. */
const BASE = 0xe000_0000;
const RAISE = `writel ${String(BASE + 0x60)} 1`;
const ACKNOWLEDGE = `writel ${String(BASE + 0x64)} 1`;

t.test('26: INTx through interception, the status bit and INTX_DISABLE', async (t) => {
  const { qtest, config } = await startGuest(t, [...Q35, '-device', 'edu,addr=5']);
  const edu = config(5);
  await edu.write(0x10, BASE);
  await edu.write(0x04, 2, 2);
  t.equal(await qtest.ask('irq_intercept_in ioapic'), 'OK');
  t.equal(await qtest.ask(RAISE), 'OK');
  t.strictSame(qtest.takeInterrupts(), ['IRQ raise 21']);
  t.equal((await edu.read(0x06, 2)) & 8, 8);
  await edu.write(0x04, 0x0402, 2);
  t.strictSame(qtest.takeInterrupts(), ['IRQ lower 21']);
  t.equal(await edu.read(0x06, 2), 0x18, 'the bit shows the device, not the line');
  await edu.write(0x04, 0x0002, 2);
  t.strictSame(qtest.takeInterrupts(), ['IRQ raise 21']);
  await qtest.ask(ACKNOWLEDGE);
  t.strictSame(qtest.takeInterrupts(), ['IRQ lower 21']);
  t.equal(await edu.read(0x06, 2), 0x10);
});

import t from 'tap';
import { startMachine, type TestMachine } from '../../support/machine.js';
import type { Cleanup } from '../../support/daemon.js';

// Test vectors 2 to 17 of reference/pci-and-memory-devices.md §11, through the platform's ports.

const NATIVE = ['-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'];
const BACKEND = ['-object', 'memory-backend-ram,id=m1,size=1M'];
const BARE = ['-M', 'q35', '-nodefaults'];
const ROOT_PORT = ['-device', 'pcie-root-port,id=rp1,chassis=1,slot=1,addr=2.0'];
const IN_PORT = ['-device', 'ivshmem-plain,id=iv1,memdev=m1,bus=rp1'];

const withIvshmem = (t: Cleanup): Promise<TestMachine> =>
  startMachine(t, [...BARE, ...BACKEND, '-device', 'ivshmem-plain,id=iv,memdev=m1,addr=4']);

type Regions = { bar: bigint; address: bigint }[];
/** The regions of the device with that id, as query-pci tells. */
const regionsOf = async ({ run }: TestMachine, id: string): Promise<Regions> => {
  const [host] = (await run('query-pci')) as { devices: { qdev_id: string; regions: Regions }[] }[];
  return host?.devices.find(({ qdev_id: found }) => found === id)?.regions ?? [];
};
/** Everything that was put off until after the reply. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const desc = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no error',
    (error: Error) => error.message,
  );

t.test('2: only aligned 4-byte writes reach the address port', async (t) => {
  const { machine, config } = await startMachine(t, BARE);
  t.equal(config.read(0, 0, 0, 0), 0x29c08086);
  const { io } = machine.platform;
  io.write(0xcf8n, 4, 0x80000000n);
  io.write(0xcf8n, 1, 0x55n);
  t.equal(io.read(0xcf8n, 4), 0x80000000n);
});

t.test('3: identity of ivshmem-plain', async (t) => {
  const { config } = await withIvshmem(t);
  for (const [register, value] of [
    [0x00, 0x11101af4],
    [0x08, 0x05000001],
    [0x18, 0x0000000c],
    [0x2c, 0x11001af4],
  ] as const)
    t.equal(config.read(0, 4, 0, register), value, `register ${register.toString(16)}`);
});

t.test('4, 5: all-ones read back as the masks, and map nothing', async (t) => {
  const machine = await withIvshmem(t);
  const { config } = machine;
  for (const [register, value] of [
    [0x04, 0x00000507],
    [0x0c, 0x000000ff],
    [0x10, 0xffffff00],
    [0x18, 0xfff0000c],
    [0x1c, 0xffffffff],
    [0x3c, 0x000000ff],
  ] as const) {
    config.write(0, 4, 0, register, 0xffffffff);
    t.equal(config.read(0, 4, 0, register), value, `register ${register.toString(16)}`);
  }
  config.write(0, 4, 0, 0x04, 2, 2);
  const addresses = async () => (await regionsOf(machine, 'iv')).map(({ address }) => address);
  t.strictSame(await addresses(), [-1n, -1n]);
  for (const register of [0x10, 0x18, 0x1c]) config.write(0, 4, 0, register, 0);
  t.strictSame(await addresses(), [-1n, -1n], 'address 0 is no address');
});

/** BAR0 at 0xe0000100, BAR2 at 0x1e0100000, memory decoding on. */
const mapped = async (t: Cleanup): Promise<TestMachine> => {
  const machine = await withIvshmem(t);
  for (const [register, value] of [
    [0x10, 0xe0000100],
    [0x18, 0xe0100000],
    [0x1c, 1],
  ] as const)
    machine.config.write(0, 4, 0, register, value);
  machine.config.write(0, 4, 0, 0x04, 2, 2);
  return machine;
};

t.test('6: memory behind a BAR above 4 GiB', async (t) => {
  const machine = await mapped(t);
  const { memory } = machine.machine.platform;
  memory.write(0x1e0100000n, 8, 0x1122334455667788n);
  t.equal(memory.read(0x1e0100007n, 1), 0x11n);
  t.strictSame(
    (await regionsOf(machine, 'iv')).map(({ address }) => address),
    [3758096640n, 8054112256n],
  );
});

t.test('7, 8: accesses of other widths, and registers that clear when read', async (t) => {
  const { machine } = await mapped(t);
  const { memory } = machine.platform;
  const base = 0xe0000100n;
  memory.write(base, 4, 0xdeadbeefn);
  t.equal(memory.read(base, 1), 0xefn);
  t.equal(memory.read(base + 1n, 1), 0n);
  t.equal(memory.read(base, 2), 0xbeefn);
  t.equal(memory.read(base + 2n, 2), 0n);
  t.equal(memory.read(base, 8), 0xdeadbeefn);
  memory.write(base + 4n, 4, 5n);
  t.strictSame([memory.read(base + 4n, 4), memory.read(base + 4n, 4)], [5n, 0n]);
  memory.write(base + 8n, 4, 1n);
  t.strictSame([memory.read(base + 8n, 4), memory.read(base + 0xcn, 4)], [0n, 0n]);
});

t.test('9: a system reset clears command and BARs', async (t) => {
  const { machine, config, events } = await mapped(t);
  machine.platform.memory.write(0xe0000100n, 4, 0xffn);
  machine.reset();
  t.strictSame(
    [0x04, 0x10, 0x18].map((register) => config.read(0, 4, 0, register, register === 4 ? 2 : 4)),
    [0, 0, 0x0000000c],
  );
  t.strictSame(
    events.map(({ name }) => name),
    ['RESET'],
  );
});

t.test('10: of two BARs at one address the one mapped last answers', async (t) => {
  const { machine, config } = await startMachine(t, [
    ...BARE,
    ...BACKEND,
    ...['-object', 'memory-backend-ram,id=m2,size=1M'],
    ...['-device', 'ivshmem-plain,id=a,memdev=m1,addr=4'],
    ...['-device', 'ivshmem-plain,id=b,memdev=m2,addr=5'],
  ]);
  const { memory } = machine.platform;
  const map = (slot: number): void => {
    config.write(0, slot, 0, 0x18, 0xe0100000);
    config.write(0, slot, 0, 0x04, 2, 2);
  };
  map(4);
  memory.write(0xe0100000n, 4, 0xaaaan);
  map(5);
  memory.write(0xe0100000n, 4, 0xbbbbn);
  t.equal(memory.read(0xe0100000n, 4), 0xbbbbn, "b's data");
  config.write(0, 4, 0, 0x04, 0, 2);
  config.write(0, 4, 0, 0x04, 2, 2);
  t.equal(memory.read(0xe0100000n, 4), 0xaaaan, "a's data");
});

t.test('11: ECAM once it is switched on', async (t) => {
  const { machine, config } = await withIvshmem(t);
  const { memory } = machine.platform;
  t.equal(memory.read(0xb0000000n, 4), 0n);
  config.write(0, 0, 0, 0x60, 0xb0000001);
  t.equal(memory.read(0xb0000000n, 4), 0x29c08086n);
  t.equal(memory.read(0xb0048000n, 4), 0xffffffffn, 'device 9 is absent');
  t.equal(memory.read(0xb0020100n, 4), 0xffffffffn, 'a conventional device has no extended space');
});

const SLOT_CONTROL = 0x6c;
const SLOT_STATUS = 0x6e;

t.test(
  '12, 13: a native slot with a cold-plugged child, and its removal by the guest',
  async (t) => {
    const { config, run, events } = await startMachine(t, [
      ...BARE,
      ...NATIVE,
      ...BACKEND,
      ...ROOT_PORT,
      ...IN_PORT,
    ]);
    t.equal(config.read(0, 2, 0, 0x34, 1), 0x54);
    t.equal(config.read(0, 2, 0, 0x68), 0x000a007b);
    t.equal(config.read(0, 2, 0, SLOT_CONTROL, 2), 0x03c0, 'as QEMU 10.2');
    t.equal(config.read(0, 2, 0, SLOT_STATUS, 2), 0x0040);
    config.write(0, 2, 0, 0x18, 0x00010100);
    t.equal(config.read(1, 0, 0, 0), 0x11101af4);
    config.write(0, 2, 0, SLOT_CONTROL, 0x01e9, 2);
    await run('device_del', { id: 'iv1' });
    t.equal(config.read(0, 2, 0, SLOT_STATUS, 2) & 1, 1, 'the attention button is pressed');
    t.equal(
      await desc(run('device_del', { id: 'iv1' })),
      'Device iv1 is already in the process of unplug',
    );
    config.write(0, 2, 0, SLOT_CONTROL, 0x07e9, 2);
    t.equal(config.read(0, 2, 0, SLOT_STATUS, 2) & 0x40, 0, 'nobody is present');
    t.equal(config.read(1, 0, 0, 0), 0xffffffff);
    await settled();
    t.strictSame(events, [
      { name: 'DEVICE_DELETED', data: { device: 'iv1', path: '/machine/peripheral/iv1' } },
    ]);
  },
);

t.test('14: a powered-off slot lets go at once', async (t) => {
  const { config, run, events } = await startMachine(t, [
    ...BARE,
    ...NATIVE,
    ...BACKEND,
    ...ROOT_PORT,
  ]);
  t.equal(config.read(0, 2, 0, SLOT_CONTROL, 2), 0x07c0);
  await run('device_add', { driver: 'ivshmem-plain', id: 'iv3', memdev: 'm1', bus: 'rp1' });
  await run('device_del', { id: 'iv3' });
  await settled();
  t.strictSame(
    events.map(({ name }) => name),
    ['DEVICE_DELETED'],
  );
});

t.test('15: a blinking power indicator means that the guest is busy', async (t) => {
  const { config, run } = await startMachine(t, [
    ...BARE,
    ...NATIVE,
    ...BACKEND,
    ...ROOT_PORT,
    ...IN_PORT,
  ]);
  config.write(0, 2, 0, SLOT_CONTROL, 0x02e9, 2);
  t.equal(
    await desc(run('device_del', { id: 'iv1' })),
    'Hot-unplug failed: guest is busy (power indicator blinking)',
  );
});

t.test('16: under ACPI a system reset performs the removal that is pending', async (t) => {
  const { machine, run, events } = await startMachine(t, [
    ...BARE,
    ...BACKEND,
    ...ROOT_PORT,
    ...IN_PORT,
  ]);
  await run('device_del', { id: 'iv1' });
  t.equal(await desc(run('object-del', { id: 'm1' })), "object 'm1' is in use, can not be deleted");
  machine.reset();
  await settled();
  t.strictSame(
    events.map(({ name }) => name),
    ['RESET', 'DEVICE_DELETED'],
  );
  await run('object-del', { id: 'm1' });
});

t.test('17: the ACPI registers of pc', async (t) => {
  const { machine, run, events } = await startMachine(t, ['-M', 'pc', '-nodefaults', ...BACKEND]);
  const { io } = machine.platform;
  await run('device_add', { driver: 'ivshmem-plain', id: 'iv', memdev: 'm1', addr: '6' });
  t.strictSame([io.read(0xae00n, 4), io.read(0xae00n, 4)], [0x40n, 0n]);
  await run('device_del', { id: 'iv' });
  t.equal(io.read(0xae04n, 4), 0x40n);
  io.write(0xae08n, 4, 0x40n);
  await settled();
  t.strictSame(
    events.map(({ name }) => name),
    ['DEVICE_DELETED'],
  );
});

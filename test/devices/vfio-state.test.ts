import t from 'tap';
import { REGISTER } from '../../devices/vfio-state/registers.js';
import { CTL, GET, StateClient } from '../support/state-client.js';
import { startMachine, type TestMachine } from '../support/machine.js';
import type { Cleanup } from '../support/daemon.js';
import type { Json } from '../side-by-side/client.js';

const SAMPLE = ['-device', 'state-sample,id=s0'];
const machineOf = (t: Cleanup, ...words: readonly string[]): Promise<TestMachine> =>
  startMachine(t, ['-M', 'pc', '-nodefaults', ...SAMPLE, ...words]);
const attach = (lengths = ''): string[] => ['-device', `vfio-state,id=v0,target=s0${lengths}`];

const clientOf = ({ run }: TestMachine, id = 's0'): StateClient =>
  new StateClient({ execute: async (name, args) => (await run(name, args)) as Json }, id);

/** Software that has switched the BARs of v0 on; accesses of the control BAR. */
const software = async ({ machine, run }: TestMachine) => {
  await run('guest-enumerate');
  const { pci } = machine.devices.find('v0');
  if (pci === undefined) throw new Error('v0 is a PCI device');
  return {
    read: (offset: number, size: 1 | 2 | 4 | 8 = 4) => pci.pci.readBar(0, offset, size),
    write: (offset: number, value: bigint, size: 1 | 2 | 4 | 8 = 4) =>
      pci.pci.writeBar(0, offset, size, value),
    result: () => Number(pci.pci.readBar(0, REGISTER.RESULT, 4)),
    fn: pci.pci,
  };
};

t.test('targets and lengths that cannot be are refused', async (t) => {
  const { run, machine } = await machineOf(t, ...attach());
  for (const [args, message] of [
    [{}, "vfio-state needs 'target', the id or path of another device"],
    [{ target: 'nobody' }, "Device 'nobody' not found"],
    [{ target: 'v9' }, "device 'v9' cannot show a state of its own"],
    [
      { target: '/machine/peripheral/v9' },
      "device '/machine/peripheral/v9' cannot show a state of its own",
    ],
    [{ target: 'v0' }, "device 'v0' is a vfio-state: it has no state to show"],
    [{ target: 's0' }, "device 's0' has regions of its state already"],
    [{ target: '/machine' }, '/machine is not a device'],
    ...['config', 'memory', 'bitmap'].flatMap((region) =>
      [0n, 2048n, 4097n, 12288n, 2n ** 27n].map((length): [Record<string, Json>, string] => [
        { target: 's0', [`${region}-length`]: length },
        `${region}-length is ${String(length)}, not a power of two from 4096 to 16777216`,
      ]),
    ),
  ] as [Record<string, Json>, string][]) {
    await t.rejects(run('device_add', { driver: 'vfio-state', id: 'v9', ...args }), { message });
    t.equal(machine.devices.has('v9'), false);
  }
});

t.test('regions of the least and of the greatest length', async (t) => {
  const lengths = ',config-length=4096,memory-length=16M,bitmap-length=4096';
  const started = await machineOf(t, ...attach(lengths));
  const { read } = await software(started);
  const lengthRegisters = [REGISTER.CONFIG_LENGTH, REGISTER.MEMORY_LENGTH, REGISTER.BITMAP_LENGTH];
  t.strictSame(
    [REGISTER.CTL_SIZE, ...lengthRegisters, REGISTER.BITMAP_OFFSET].map((at) => read(at)),
    [68n, 4096n, 2n ** 24n, 4096n, 2n ** 24n],
  );
  t.match((await clientOf(started).info())['regions'], {
    ...{ 'ctl-size': 68, config: 4096 },
    ...{ memory: 2 ** 24, bitmap: 4096 },
  });
});

t.test('fields of 64 bits are two halves: a write is done with the high one', async (t) => {
  const { read, write, result } = await software(await machineOf(t, ...attach()));
  const MiB = 2n ** 20n;
  write(CTL.MEMORY_POS, MiB);
  t.equal(read(CTL.MEMORY_POS), 0n, 'nothing yet');
  read(CTL.MEMORY_POS + 4);
  write(CTL.MEMORY_POS + 4, 1n);
  t.equal(result(), 0);
  t.equal(read(CTL.MEMORY_POS, 8), 2n ** 32n + MiB);
  write(CTL.MEMORY_POS, 5n);
  write(CTL.MEMORY_POS + 4, 0n);
  t.equal(result(), 22, 'EINVAL: no multiple of the length');
  t.equal(read(CTL.MEMORY_POS, 8), 2n ** 32n + MiB, 'as before');
  t.equal(result(), 0, 'of the last access');
});

t.test('a read of the low half takes the pass, the high half comes from it', async (t) => {
  const started = await machineOf(t, ...attach());
  const { read, write } = await software(started);
  write(CTL.STATE, 2n);
  t.equal(read(CTL.MEMORY_SIZE), 20_048n);
  t.equal(read(CTL.MEMORY_SIZE + 4), 0n);
  t.equal((await clientOf(started).info())['pass'], 1);
});

t.test('accesses of the control BAR that are none', async (t) => {
  const { read, write, result } = await software(await machineOf(t, ...attach()));
  write(CTL.VERSION, 1n);
  t.equal(result(), 22);
  t.equal(read(CTL.STATE, 2), 0n, 'only 4 and 8 bytes');
  t.equal(result(), 22, 'which is no access of the control structure');
  write(16, 1n);
  t.equal(result(), 22, 'a hole alone is no field');
  write(REGISTER.RESULT, 5n);
  t.equal(result(), 22, 'read-only');
  t.equal(read(CTL.VERSION), 1n);
  t.equal(result(), 0);
  t.equal(read(0x98), 0n);
  t.equal(result(), 0);
});

t.test('a target that has left answers ENODEV; its data reads 0', async (t) => {
  const started = await machineOf(t, ...attach());
  const { read, write, result, fn } = await software(started);
  write(CTL.STATE, 1n);
  fn.writeBarBytes(2, 0, Uint8Array.of(1, 2, 3));
  await started.run('device-yank', { id: 's0' });
  t.equal(read(CTL.VERSION), 0n);
  t.equal(result(), 19);
  write(CTL.STATE, 0n);
  t.equal(result(), 19);
  t.strictSame([...fn.readBarBytes(2, 0, 3)], [0, 0, 0]);
  await t.rejects(clientOf(started).readRegion('control', 0, 4), {
    name: 'QmpError',
    class: 'DeviceNotFound',
  });
  await started.run('device_add', { driver: 'state-sample', id: 's0' });
  await t.rejects(clientOf(started).readRegion('control', 0, 4), {
    message: `device 's0' has no regions of its state: they come with a vfio-state device or x-vfio-state=on`,
  });
  t.match(await clientOf(started).info(), { state: 'running' });
});

t.test('regions that go take the load with them, not the state', async (t) => {
  const started = await machineOf(t, ...attach());
  const client = clientOf(started);
  await client.setState(1);
  t.equal(await client.write(CTL.MEMORY_SIZE, [8, 100n]), 'OK');
  t.match(await client.info(), { state: 'stop', loading: true });
  await started.run('device-yank', { id: 'v0' });
  t.match(await client.info(), { state: 'stop', loading: false });
  await started.run('device-state-set', { id: 's0', state: 'running' });
  t.match(await client.info(), { state: 'running' });
});

t.test('x-vfio-state gives a device regions of the default lengths', async (t) => {
  const started = await startMachine(t, [
    ...['-M', 'pc', '-nodefaults', '-device', 'edu,id=e0,x-vfio-state=on'],
  ]);
  const client = clientOf(started, 'e0');
  t.match(await client.info(), {
    capabilities: ['system-memory'],
    regions: { 'ctl-size': 68, config: 2 ** 20, memory: 2 ** 20, bitmap: 2 ** 16 },
  });
  const config = await client.config();
  t.equal(config.subarray(0, 4).toString(), 'DSM1');
  await client.setState(1);
  t.equal(await client.loadConfig(config), 'OK');
  const other = await startMachine(t, [
    ...['-M', 'pc', '-nodefaults', '-device', 'edu,id=e0,x-vfio-state=on'],
  ]);
  await clientOf(other, 'e0').setState(1);
  t.equal(await clientOf(other, 'e0').loadConfig(config), 'OK');
  config[60] = (config[60] ?? 0) ^ 1;
  t.equal(await client.loadConfig(config), 'EINVAL');
  t.equal(await client.setState(0), 'EINVAL');
});

t.test('the configuration of another type of device is refused', async (t) => {
  const started = await machineOf(t, ...attach(), '-device', 'edu,id=e0,x-vfio-state=on');
  const edu = await clientOf(started, 'e0').config();
  const other = await startMachine(t, [
    ...['-M', 'pc', '-nodefaults', '-device', 'pci-bridge,id=b0,chassis_nr=1,x-vfio-state=on'],
  ]);
  const client = clientOf(other, 'b0');
  await client.setState(1);
  t.equal(await client.loadConfig(edu), 'EINVAL');
});

t.test('its own state: fields, halves, result and data come along', async (t) => {
  const source = await machineOf(t, ...attach());
  const own = await software(source);
  own.fn.writeBarBytes(4, 5, Uint8Array.of(1, 2, 3));
  own.write(CTL.MEMORY_POS, 2n ** 20n, 8);
  own.write(CTL.CONFIG_SIZE, 7n);
  own.write(CTL.MEMORY_ACTION, GET);
  t.equal(own.result(), 22);
  const target = await machineOf(t, ...attach());
  const twin = await software(target);
  const { device } = target.machine.devices.find('v0');
  const saved = source.machine.devices.find('v0').device.save();
  device.load(saved);
  t.strictSame(device.save(), saved);
  t.equal(twin.result(), 22);
  t.equal(twin.read(CTL.MEMORY_POS, 8), 2n ** 20n);
  t.strictSame([...twin.fn.readBarBytes(4, 5, 3)], [1, 2, 3]);
  const before = device.save();
  for (const damaged of [
    {},
    { ...saved, control: {} },
    { ...saved, control: { result: 3, low: {}, high: {} } },
    { ...saved, control: { result: 0, low: { 3: 1n }, high: {} } },
    { ...saved, regions: { pos: 1n, start: 0n, pages: 0n, data: {} } },
    {
      ...saved,
      regions: { pos: 0n, start: 0n, pages: 0n, data: { config: new Uint8Array(2 ** 20 + 1) } },
    },
  ])
    t.throws(() => device.load(damaged), { name: 'QmpError', class: 'GenericError' });
  t.strictSame(device.save(), before, 'nothing half-done');
});

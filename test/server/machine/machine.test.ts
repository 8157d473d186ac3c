import t from 'tap';
import { startDaemon } from '../../support/daemon.js';
import type { Json } from '../../side-by-side/client.js';

type Listing = { name: string; type: string }[];

t.test(
  'run state changes tell of themselves before the reply, and only when something changes',
  async (t) => {
    const { qmp } = await startDaemon(t, ['-M', 'none', '-S']);
    const status = () => qmp.execute('query-status');
    t.strictSame(await status(), { status: 'prelaunch', running: false });
    for (const [command, order, state] of [
      ['stop', ['return'], 'prelaunch'],
      ['cont', ['RESUME', 'return'], 'running'],
      ['cont', ['return'], 'running'],
      ['stop', ['STOP', 'return'], 'paused'],
      ['stop', ['return'], 'paused'],
      ['system_powerdown', ['POWERDOWN', 'return'], 'paused'],
      ['system_reset', ['RESET', 'return'], 'prelaunch'],
      ['cont', ['RESUME', 'return'], 'running'],
      ['system_reset', ['RESET', 'return'], 'running'],
    ] as const) {
      qmp.order.length = 0;
      await qmp.execute(command);
      t.strictSame(qmp.order, order, `${command}: ${order.join(', ')}`);
      t.match(await status(), { status: state });
    }
  },
);

t.test(
  'quit says SHUTDOWN, answers, closes, and the daemon is told that the machine has gone',
  async (t) => {
    const { qmp, gone } = await startDaemon(t, ['-M', 'q35']);
    qmp.order.length = 0;
    await qmp.execute('quit');
    await qmp.closed();
    await gone;
    t.strictSame(qmp.order, ['SHUTDOWN', 'return']);
  },
);

t.test('the first free slots are those of the machine type', async (t) => {
  for (const [words, slot] of [
    [['-M', 'q35', '-nodefaults'], 1],
    [['-M', 'q35'], 3],
    [['-M', 'pc', '-nodefaults'], 2],
    [['-M', 'pc'], 4],
  ] as const)
    t.test(words.join(' '), async (t) => {
      const device = ['-device', 'dynamic-mdevice,id=d,align=4K,mem-path=/dev/zero'];
      const { qmp } = await startDaemon(t, [...words, ...device]);
      const address = await qmp.execute('qom-get', { path: 'd', property: 'addr' });
      t.equal(address, BigInt(slot * 8));
    });
});

t.test('the tree has the containers that clients look into', async (t) => {
  const { qmp } = await startDaemon(t, [
    '-M',
    'q35',
    '-object',
    'memory-backend-ram,id=m1,size=1M',
    '-device',
    'pcie-root-port,id=rp1',
    '-device',
    'ivshmem-plain,memdev=m1,id=iv,bus=rp1',
  ]);
  const list = (path: string) => qmp.execute('qom-list', { path }) as unknown as Promise<Listing>;
  const names = async (path: string) => (await list(path)).map(({ name }) => name);
  t.match(await names('/'), ['type', 'objects', 'chardevs', 'machine']);
  t.strictSame((await list('/machine'))[0], { name: 'type', type: 'string' });
  t.strictSame((await names('/machine/peripheral')).sort(), ['iv', 'rp1', 'type']);
  t.strictSame((await names('/objects')).sort(), ['m1', 'pc.ram', 'type']);
  const get = (path: string, property: string) => qmp.execute('qom-get', { path, property });
  t.equal(await get('iv', 'parent_bus'), '/machine/peripheral/rp1/rp1');
  t.equal(await get('/machine/peripheral/iv', 'memdev'), '/objects/m1');
  t.equal(await get('iv', 'realized'), true);
  t.equal(await get('iv', 'hotplugged'), false);
  t.equal(await get('/machine/peripheral/iv/memdev', 'size'), 1n << 20n, 'paths go through links');
});

t.test('paths and properties are refused with the texts of QEMU', async (t) => {
  const { qmp } = await startDaemon(t, [
    '-M',
    'q35',
    '-object',
    'memory-backend-ram,id=m1,size=1M',
    '-device',
    'ivshmem-plain,memdev=m1,id=iv',
  ]);
  for (const [command, args, desc, errorClass] of [
    ['qom-list', { path: '/nope' }, "Device '/nope' not found", 'DeviceNotFound'],
    ['qom-list', { path: '' }, "Path '' is ambiguous", 'GenericError'],
    ['qom-get', { path: '', property: 'type' }, "Device '' not found", 'DeviceNotFound'],
    [
      'qom-get',
      { path: 'iv', property: 'nope' },
      "Property 'ivshmem-plain.nope' not found",
      'GenericError',
    ],
    [
      'qom-set',
      { path: 'iv', property: 'type', value: 'x' },
      "Property 'ivshmem-plain.type' is not writable",
      'GenericError',
    ],
    [
      'qom-set',
      { path: 'iv', property: 'realized', value: false },
      "Property 'ivshmem-plain.realized' is not writable",
      'GenericError',
    ],
    [
      'qom-set',
      { path: 'iv', property: 'master', value: 'on' },
      "Attempt to set property 'master' on device 'iv' (type 'ivshmem-plain') after it was realized",
      'GenericError',
    ],
    [
      'qom-set',
      { path: 'iv', property: 'memdev', value: 'm1' },
      "Attempt to set link property 'memdev' on device 'iv' (type 'ivshmem-plain') after it was realized",
      'GenericError',
    ],
    [
      'qom-set',
      { path: 'm1', property: 'size', value: 5n },
      'cannot change property size of memory-backend-ram ',
      'GenericError',
    ],
    ['qom-set', { path: 'iv', property: 'type' }, "Parameter 'value' is missing", 'GenericError'],
    ['device-list-properties', { typename: 'nope' }, "Device 'nope' not found", 'DeviceNotFound'],
    [
      'device-list-properties',
      { typename: 'pci-device' },
      "Parameter 'typename' expects a non-abstract device type",
      'GenericError',
    ],
    ['qom-list-properties', { typename: 'nope' }, "Class 'nope' not found", 'DeviceNotFound'],
    [
      'qom-set',
      { path: '/machine', property: 'guest-policy', value: 'maybe' },
      "Parameter 'guest-policy' does not accept value 'maybe'",
      'GenericError',
    ],
  ] as const)
    await t.rejects(
      qmp.execute(command, args as unknown as Record<string, Json>),
      { message: desc, class: errorClass },
      desc,
    );
});

t.test('a bus is found by name or path, and the system bus takes no card', async (t) => {
  const { qmp } = await startDaemon(t, ['-M', 'q35', '-device', 'pcie-root-port,id=rp1']);
  const attempt = (bus: string) =>
    qmp.execute('device_add', { driver: 'pci-bridge', chassis_nr: 1n, bus });
  const system = "Device 'pci-bridge' can't go on System bus";
  for (const [bus, message] of [
    ['', "Bus '' not found"],
    ['nobus', "Bus 'nobus' not found"],
    ['main-system-bus', system],
    ['/', system],
    ['/nohost', "Device 'nohost' not found"],
    ['main-system-bus/nohost', "Device 'nohost' not found"],
    ['/q35-pcihost/nobus', "Bus 'nobus' not found"],
    ['/q35-pcihost', "Bus 'pcie.0' does not support hotplugging"],
    ['main-system-bus/q35-pcihost/pcie.0', "Bus 'pcie.0' does not support hotplugging"],
    ['pcie.0/mch', "Device 'mch' has no child bus"],
    ['pcie.0/x', "Device 'x' not found"],
  ] as const)
    await t.rejects(attempt(bus), { name: 'Error', message }, bus);
  await attempt('pcie.0/rp1/rp1');
});

t.test('device-yank takes a card out without asking, and the slot notices', async (t) => {
  const { qmp } = await startDaemon(t, [
    '-M',
    'q35',
    '-global',
    'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off',
    '-object',
    'memory-backend-ram,id=m1,size=1M',
    '-device',
    'pcie-root-port,id=rp1',
    '-device',
    'ivshmem-plain,memdev=m1,id=iv,bus=rp1',
  ]);
  const slotStatus = { id: 'rp1', offset: 0x54n + 0x1an, size: 2n };
  t.match(await qmp.execute('guest-config-read', slotStatus), { value: 0x40n });
  qmp.order.length = 0;
  await qmp.execute('device-yank', { id: 'iv' });
  await qmp.event('DEVICE_DELETED');
  t.strictSame(qmp.order, ['return', 'DEVICE_DELETED']);
  const { value } = (await qmp.execute('guest-config-read', slotStatus)) as { value: bigint };
  t.equal(value & 0x48n, 0x08n, 'presence is gone, and its change is told');
  await qmp.execute('object-del', { id: 'm1' });
  await t.rejects(qmp.execute('device-yank', { id: 'rp1' }), {
    message: "Bus 'pcie.0' does not support hotplugging",
  });
});

t.test('guest-policy decides what becomes of device_del', async (t) => {
  const { qmp } = await startDaemon(t, ['-M', 'pc', '-object', 'memory-backend-ram,id=m1,size=1M']);
  const add = () => qmp.execute('device_add', { driver: 'ivshmem-plain', memdev: 'm1', id: 'iv' });
  await add();
  await qmp.execute('device_del', { id: 'iv' });
  await t.rejects(qmp.execute('object-del', { id: 'm1' }), {
    message: "object 'm1' is in use, can not be deleted",
  });
  await qmp.execute('guest-eject', { id: 'iv' });
  await qmp.event('DEVICE_DELETED');
  await qmp.execute('qom-set', { path: '/machine', property: 'guest-policy', value: 'accept' });
  await add();
  await qmp.execute('device_del', { id: 'iv' });
  await qmp.event('DEVICE_DELETED');
  await qmp.execute('qom-set', { path: '/machine', property: 'guest-policy', value: 'reject' });
  await add();
  await qmp.execute('device_del', { id: 'iv' });
  t.match(await qmp.execute('qom-get', { path: 'iv', property: 'realized' }), true);
});

t.test('two machines of one process never meet', async (t) => {
  const one = await startDaemon(t, ['-M', 'pc', '-name', 'one']);
  const two = await startDaemon(t, ['-M', 'q35', '-name', 'two']);
  await one.qmp.execute('object-add', { 'qom-type': 'memory-backend-ram', id: 'm', size: 4096n });
  await t.rejects(two.qmp.execute('object-del', { id: 'm' }), { message: "object 'm' not found" });
  t.match(await two.qmp.execute('query-name'), { name: 'two' });
});

t.test(
  'without the native layer everything that needs none is served, the rest refused',
  async (t) => {
    const { qmp } = await startDaemon(t, ['-M', 'q35'], { nativeDisabled: true });
    t.match(await qmp.execute('query-native'), { native: 'none', features: [] });
    t.match(await qmp.execute('query-pci'), [{ bus: 0n }]);
    await qmp.execute('device_add', { driver: 'pcie-root-port', id: 'x' }).catch((error: Error) => {
      t.equal(error.message, "Bus 'pcie.0' does not support hotplugging");
    });
    await t.rejects(
      qmp.execute('object-add', { 'qom-type': 'memory-backend-ram', id: 'm', size: 4096n }),
      { message: /koffi/, class: 'GenericError' },
    );
    await qmp.execute('system_reset');
  },
);

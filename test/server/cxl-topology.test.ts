import t from 'tap';
import { startMachine, type TestMachine } from '../support/machine.js';
import { needsNative } from '../support/mdevice.js';

// Placement and hotplug rules of reference/cxl.md §1.3 and §1.5.

const Q35 = ['-M', 'q35,cxl=on', '-nodefaults'];
const BRIDGE = ['-device', 'pxb-cxl,id=cxl.0,bus=pcie.0,bus_nr=52'];
const PORT = ['-device', 'cxl-rp,id=rp0,bus=cxl.0,chassis=0,slot=0'];
const SWITCH = [
  ...['-device', 'cxl-rp,id=rp1,bus=cxl.0,chassis=0,slot=1,port=1'],
  ...['-device', 'cxl-upstream,id=us0,bus=rp1,multifunction=on,addr=0.0,sn=0x1234'],
  ...['-device', 'cxl-switch-mailbox-cci,id=cci0,bus=rp1,addr=0.1,target=us0'],
  ...['-device', 'cxl-downstream,id=ds0,bus=us0,chassis=0,slot=2,port=3'],
];
const MEMORY = ['-object', 'memory-backend-ram,id=m256,size=256M'];
const ALL = [...Q35, ...MEMORY, ...BRIDGE, ...PORT, ...SWITCH];

type Words = readonly string[];
const device = (words: string): Words => ['-device', words];

const escape = (text: string): string => text.replaceAll(/[()[\]/.+*?]/g, '\\$&');

t.test('refused at start', needsNative, async (t) => {
  const type3 = 'cxl-type3,id=d0,volatile-memdev=m256';
  const rows: readonly (readonly [words: Words, reason: string])[] = [
    [
      device('pxb-cxl,bus_nr=52,bus=cxl.0'),
      'PCI: Only PCI/PCIe bridges can be plugged into pxb-cxl',
    ],
    [device(`${type3},bus=cxl.0`), 'PCI: Only PCI/PCIe bridges can be plugged into pxb-cxl'],
    [device('pxb-cxl,bus=rp0,bus_nr=3'), 'PXB devices can be attached only to root bus'],
    [device('pxb-cxl,bus=pcie.0,bus_nr=52'), 'Bus 52 is already in use'],
    [device('pxb-cxl,bus=pcie.0,bus_nr=9,numa_node=3'), 'Illegal numa node 3'],
    [device('cxl-rp,bus=cxl.0,chassis=0,slot=0'), "Can't add chassis slot, error -16"],
    [device('cxl-switch-mailbox-cci,bus=pcie.0'), 'Target not set'],
    [device('cxl-rp,bus=nosuch'), "Bus 'nosuch' not found"],
    [device('cxl-rp,bus=cxl.0,slot=9,bogus=1'), "Property 'cxl-rp.bogus' not found"],
    [
      [...device(`${type3},bus=rp0`), ...device('cxl-type3,bus=rp0,addr=0,volatile-memdev=m256')],
      'PCI: slot 0 function 0 not available for cxl-type3, in use by cxl-type3,id=d0',
    ],
  ];
  for (const [words, reason] of rows)
    await t.rejects(startMachine(t, [...ALL, ...words]), { message: new RegExp(escape(reason)) });
  const conventional = ['-M', 'pc,cxl=on', '-nodefaults', ...device('pxb-cxl,bus_nr=52')];
  const place = 'pxb-cxl devices cannot reside on a PCI bus';
  await t.rejects(startMachine(t, conventional), { message: new RegExp(place) });
});

t.test('a machine whose CXL parts do not fit does not start', async (t) => {
  await t.rejects(startMachine(t, ['-M', 'q35', '-nodefaults', ...BRIDGE]), {
    message: /CXL host bridges present, but cxl=off/,
  });
  const window = 'cxl-fmw.0.targets.0=nosuch,cxl-fmw.0.size=4G';
  await t.rejects(startMachine(t, [...Q35, '-M', window, ...BRIDGE]), {
    message: /Could not resolve CXLFM target nosuch/,
  });
  const many = Array.from({ length: 17 }, (_, i) =>
    device(`pxb-cxl,bus=pcie.0,bus_nr=${String(100 + i)}`),
  );
  await t.rejects(startMachine(t, [...Q35, ...many.flat()]), {
    message: /Insufficient space for pxb cxl host register space/,
  });
  await startMachine(t, [...Q35, ...many.slice(0, 16).flat()]);
});

t.test('the windows are properties of the machine', async (t) => {
  const window = 'cxl-fmw.0.targets.0=cxl.0,cxl-fmw.0.size=4G,cxl-fmw.0.interleave-granularity=8k';
  const m = await startMachine(t, [...Q35, '-M', window, ...BRIDGE]);
  const get = (property: string): Promise<unknown> =>
    m.run('qom-get', { path: '/machine', property });
  t.equal(await get('cxl'), true);
  t.strictSame(await get('cxl-fmw'), [
    { targets: ['cxl.0'], size: 4n << 30n, 'interleave-granularity': 8192n },
  ]);
  const plain = await startMachine(t, ['-M', 'pc', '-nodefaults']);
  t.equal(await plain.run('qom-get', { path: '/machine', property: 'cxl' }), false);
});

const add = (m: TestMachine, driver: string, bus: string, more: object = {}): Promise<unknown> =>
  m.run('device_add', { driver, bus, ...more });
const type3 = (m: TestMachine, id: string, bus: string): Promise<unknown> =>
  add(m, 'cxl-type3', bus, { id, 'volatile-memdev': 'm256' });

t.test('refused at run time', needsNative, async (t) => {
  const off = ['-device', 'cxl-rp,id=off,bus=cxl.0,slot=7,hotplug=off'];
  const m = await startMachine(t, [...ALL, ...off]);
  const rows: readonly (readonly [request: () => Promise<unknown>, message: string])[] = [
    [() => add(m, 'cxl-rp', 'cxl.0', { id: 'x' }), "Device 'cxl-rp' does not support hotplugging"],
    [() => add(m, 'pxb-cxl', 'pcie.0'), "Device 'pxb-cxl' does not support hotplugging"],
    [() => type3(m, 'd0', 'cxl.0'), "Bus 'cxl.0' does not support hotplugging"],
    [() => type3(m, 'd0', 'off'), "Hot-plug failed: unsupported by the port device 'off'"],
    [() => add(m, 'cxl-downstream', 'us0', { slot: 9n }), "Bus 'us0' does not support hotplugging"],
    [() => m.run('device_del', { id: 'rp0' }), "Device 'cxl-rp' does not support hotplugging"],
    [() => m.run('device_del', { id: 'zz' }), "Device 'zz' not found"],
  ];
  for (const [request, message] of rows) await t.rejects(request(), { message });
  await type3(m, 'd0', 'rp0');
  await t.rejects(type3(m, 'd1', 'rp0'), {
    message:
      'PCI: slot 0 function 0 already occupied by cxl-type3, new func cxl-type3 cannot be exposed to guest.',
  });
});

t.test('memory devices come and go, and give their backends back', needsNative, async (t) => {
  const m = await startMachine(t, ALL);
  for (const bus of ['rp0', 'ds0', 'rp0']) {
    await type3(m, 'd0', bus);
    await t.rejects(m.run('object-del', { id: 'm256' }), {
      message: "object 'm256' is in use, can not be deleted",
    });
    await m.run('device_del', { id: 'd0' });
    await t.rejects(m.run('qom-list', { path: '/machine/peripheral/d0' }));
  }
  await m.run('object-del', { id: 'm256' });
  await new Promise((told) => setImmediate(told));
  t.equal(m.events.filter(({ name }) => name === 'DEVICE_DELETED').length, 3);
});

t.test('a powered slot lets go when the guest does', needsNative, async (t) => {
  for (const bus of ['rp0', 'ds0']) {
    const m = await startMachine(t, [
      ...ALL,
      ...device(`cxl-type3,id=d0,bus=${bus},volatile-memdev=m256`),
    ]);
    await m.run('device_del', { id: 'd0' });
    await m.run('qom-list', { path: '/machine/peripheral/d0' });
    await t.rejects(m.run('device_del', { id: 'd0' }), {
      message: 'Device d0 is already in the process of unplug',
    });
    await m.run('guest-eject', { id: 'd0' });
    await t.rejects(m.run('qom-list', { path: '/machine/peripheral/d0' }), bus);
    await m.run('object-del', { id: 'm256' });
  }
});

t.test('a whole switch goes with what is behind it', needsNative, async (t) => {
  const m = await startMachine(t, [
    ...ALL,
    ...device('cxl-type3,id=d0,bus=ds0,volatile-memdev=m256'),
  ]);
  await m.run('device_del', { id: 'us0' });
  await m.run('guest-eject', { id: 'us0' });
  for (const id of ['us0', 'ds0', 'd0', 'cci0'])
    await t.rejects(m.run('qom-list', { path: `/machine/peripheral/${id}` }), id);
  await m.run('object-del', { id: 'm256' });
  await add(m, 'cxl-upstream', 'rp1', { id: 'us0' });
});

import t from 'tap';
import { startMachine } from '../support/machine.js';

/** Texts and values are those of QEMU 7.2 for the same requests. */

const MiB = 1n << 20n;
const WORDS = ['-nodefaults', '-machine', 'q35', '-m', '128M,slots=2,maxmem=1G'];
const backend = (id: string, size: bigint) => ({ 'qom-type': 'memory-backend-ram', id, size });

t.test('memory modules take slots and addresses', async (t) => {
  const { machine, run } = await startMachine(t, WORDS);
  for (const id of ['m0', 'm1', 'm2']) await run('object-add', backend(id, 128n * MiB));
  await run('device_add', { driver: 'pc-dimm', id: 'd0', memdev: 'm0' });
  await run('device_add', { driver: 'pc-dimm', id: 'd1', memdev: 'm1' });
  await t.rejects(run('device_add', { driver: 'pc-dimm', id: 'd2', memdev: 'm2' }), {
    message: 'no free slots available',
  });
  const dimm = (id: string, addr: bigint, slot: bigint, memdev: string) => ({
    type: 'dimm',
    data: {
      id,
      addr,
      size: 128n * MiB,
      slot,
      node: 0n,
      memdev: `/objects/${memdev}`,
      hotplugged: true,
      hotpluggable: true,
    },
  });
  t.strictSame(await run('query-memory-devices'), [
    dimm('d0', 1n << 32n, 0n, 'm0'),
    dimm('d1', (1n << 32n) + 128n * MiB, 1n, 'm1'),
  ]);
  t.strictSame(await run('query-memory-size-summary'), {
    'base-memory': 128n * MiB,
    'plugged-memory': 256n * MiB,
  });
  const show = (property: string) => run('qom-get', { path: '/machine/peripheral/d1', property });
  t.equal(await show('addr'), (1n << 32n) + 128n * MiB);
  t.equal(await show('slot'), 1n);
  t.equal(await show('size'), 128n * MiB);
  t.equal(await show('parent_bus'), '');
  t.equal(await show('hotpluggable'), true);

  machine.platform.memory.write((1n << 32n) + 8n, 4, 0x1234n);
  t.equal(machine.objects.memdevs().length, 4, 'the RAM of the machine is a backend too');
  t.equal(machine.platform.memory.read((1n << 32n) + 8n, 4), 0x1234n, 'the guest sees the memory');
});

t.test('query-acpi-ospm-status lists the slots', async (t) => {
  const { run } = await startMachine(t, [...WORDS, '-machine', 'nvdimm=on']);
  const slot = (number: string, rest = {}) => ({
    ...rest,
    slot: number,
    'slot-type': 'DIMM',
    source: 0n,
    status: 0n,
  });
  t.strictSame(await run('query-acpi-ospm-status'), [slot('0'), slot('1')]);
  for (const id of ['m0', 'm1', 'm2']) await run('object-add', backend(id, 128n * MiB));
  await run('device_add', { driver: 'pc-dimm', id: 'd1', memdev: 'm1', slot: 1n });
  await run('device_add', { driver: 'nvdimm', id: 'n0', memdev: 'm0' });
  t.strictSame(await run('query-acpi-ospm-status'), [slot('0'), slot('1', { device: 'd1' })]);
});

t.test('refusals of memory modules', async (t) => {
  const { run } = await startMachine(t, WORDS);
  await run('object-add', backend('m0', 128n * MiB));
  await run('object-add', backend('m1', 128n * MiB));
  await run('object-add', backend('odd', MiB + 4096n));
  await run('object-add', backend('big', 2048n * MiB));
  const add = (args: Record<string, string | bigint | number>) =>
    run('device_add', { driver: 'pc-dimm', id: 'd1', ...args });
  const before = [
    [{}, "'memdev' property must be set"],
    [{ memdev: 'm0', slot: 9n }, 'invalid slot number 9, valid range is [0-1]'],
    [{ memdev: 'odd' }, 'backend memory size must be multiple of 0x200000'],
    [
      { memdev: 'big' },
      'not enough space, currently 0x0 in use of total space for memory devices 0x38000000',
    ],
    [
      { memdev: 'm0', node: 5n },
      "'DIMM property node has value 5' which exceeds the number of numa nodes: 1",
    ],
    [{ memdev: 'm0', bus: 'pcie.0' }, "Device 'pc-dimm' can't go on PCIE bus"],
    [{ memdev: 'm0', size: 5n }, "Property 'pc-dimm.size' is not writable"],
    [{ memdev: 'm0', addr: 5n }, 'address must be aligned to 0x200000 bytes'],
    [
      { memdev: 'm0', addr: 1n << 40n },
      "can't add memory device [0x10000000000:0x8000000], usable range for memory devices [0x100000000:0xb8000000]",
    ],
    [{ driver: 'nvdimm', memdev: 'm0' }, "nvdimm is not enabled: missing 'nvdimm' in '-M'"],
  ] as const;
  for (const [args, message] of before) await t.rejects(add(args), { message });
  t.strictSame(await run('query-memory-devices'), [], 'nothing half-done');
  await add({ id: 'd0', memdev: 'm0' });
  const after = [
    [{ memdev: 'm0' }, "can't use already busy memdev: m0"],
    [{ memdev: 'm1', slot: 0n }, 'slot 0 is busy'],
    [{ memdev: 'm1', addr: 1n << 32n }, "address range conflicts with memory device id='d0'"],
  ] as const;
  for (const [args, message] of after) await t.rejects(add(args), { message });
  await t.rejects(run('object-del', { id: 'm0' }), {
    message: "object 'm0' is in use, can not be deleted",
  });
});

t.test('machines without room for memory modules say so', async (t) => {
  const plain = await startMachine(t, ['-machine', 'q35']);
  await plain.run('object-add', backend('m0', 128n * MiB));
  await t.rejects(plain.run('device_add', { driver: 'pc-dimm', memdev: 'm0' }), {
    message: "no slots where allocated, please specify the 'slots' option",
  });
  const bare = await startMachine(t, ['-machine', 'none']);
  await t.rejects(bare.run('device_add', { driver: 'pc-dimm' }), {
    message: "Device 'pc-dimm' can not be hotplugged on this machine",
  });
});

/** What comes after the reply has come. */
const afterReply = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

t.test('a memory module goes when the guest lets it', async (t) => {
  const { events, run } = await startMachine(t, WORDS);
  await run('object-add', backend('m0', 128n * MiB));
  await run('device_add', { driver: 'pc-dimm', id: 'd0', memdev: 'm0' });
  await t.rejects(run('guest-eject', { id: 'd0' }), {
    message: "No unplug of device 'd0' is pending",
  });
  await run('device_del', { id: 'd0' });
  await run('device_del', { id: 'd0' });
  await afterReply();
  t.strictSame(events, [], 'it stays until the guest side acts');
  const data = { device: 'd0', path: '/machine/peripheral/d0' };
  await run('qom-set', { path: '/machine', property: 'guest-policy', value: 'reject' });
  await run('device_del', { id: 'd0' });
  await afterReply();
  t.strictSame(events.splice(0), [{ name: 'DEVICE_UNPLUG_GUEST_ERROR', data }]);
  await t.rejects(run('guest-eject', { id: 'd0' }), {
    message: "No unplug of device 'd0' is pending",
  });
  await run('qom-set', { path: '/machine', property: 'guest-policy', value: 'accept' });
  await run('device_del', { id: 'd0' });
  await afterReply();
  t.strictSame(events.splice(0), [{ name: 'DEVICE_DELETED', data }]);
  t.strictSame(await run('query-memory-devices'), []);
  await run('object-del', { id: 'm0' });
});

t.test('an nvdimm from the command line is there at start and stays', async (t) => {
  const { run } = await startMachine(t, [
    ...['-machine', 'q35,nvdimm=on', '-m', 'size=262144k,slots=8,maxmem=2097152k'],
    ...['-numa', 'node,nodeid=0,cpus=0-1'],
    ...['-object', '{"qom-type":"memory-backend-ram","id":"memnvdimm0","size":134217728}'],
    ...['-device', '{"driver":"nvdimm","node":0,"memdev":"memnvdimm0","id":"nvdimm0","slot":0}'],
  ]);
  const [found] = (await run('query-memory-devices')) as { type: string; data: unknown }[];
  t.match(found, { type: 'nvdimm', data: { id: 'nvdimm0', hotplugged: false, slot: 0n } });
  await t.rejects(run('device_del', { id: 'nvdimm0' }), {
    message: 'nvdimm device hot unplug is not supported yet.',
  });
});

t.test('an unplug that waits for the guest goes along in a saved module', async (t) => {
  const machines = [await startMachine(t, WORDS), await startMachine(t, WORDS)];
  for (const { run } of machines) {
    await run('object-add', backend('m0', 128n * MiB));
    await run('device_add', { driver: 'pc-dimm', id: 'd0', memdev: 'm0' });
  }
  const [from, to] = machines;
  await from?.run('device_del', { id: 'd0' });
  const [source, target] = machines.map(({ machine }) => machine.devices.find('d0').device);
  target?.load(source?.save() ?? {});
  t.throws(() => target?.load({}), {
    message: 'saved memory module.unplugPending must be true or false',
  });
  await to?.run('guest-eject', { id: 'd0' });
  t.notOk(to?.machine.devices.has('d0'));
});

import t from 'tap';
import type { DeviceState } from '../../devices/core/device.js';
import { COMMON } from '../../devices/virtio/registers.js';
import type { Json } from '../side-by-side/client.js';
import type { Cleanup } from '../support/daemon.js';
import { startMachine } from '../support/machine.js';

/** Texts and values are those of QEMU 7.2 for the same requests. */

const MiB = 1n << 20n;
const BASE = 1n << 32n;
const WORDS = ['-nodefaults', '-machine', 'pc', '-m', '128M,maxmem=2G'];
const backend = (id: string, size: bigint) => ({ 'qom-type': 'memory-backend-ram', id, size });
/** What comes after the reply has come. */
const afterReply = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

const start = async (t: Cleanup, words: readonly string[] = WORDS) => {
  const started = await startMachine(t, words);
  const { run, events } = started;
  await run('object-add', backend('b', 128n * MiB));
  const at = '/machine/peripheral/x';
  return {
    ...started,
    add: (args: Record<string, Json>) =>
      run('device_add', { driver: 'virtio-mem-pci', id: 'x', ...args }),
    request: (value: Json) => run('qom-set', { path: at, property: 'requested-size', value }),
    get: (property: string) => run('qom-get', { path: at, property }),
    policy: (value: string) =>
      run('qom-set', { path: '/machine', property: 'guest-policy', value }),
    sizes: () => events.splice(0).filter(({ name }) => name === 'MEMORY_DEVICE_SIZE_CHANGE'),
  };
};
const changed = (size: bigint) => ({
  name: 'MEMORY_DEVICE_SIZE_CHANGE',
  data: { id: 'x', size, 'qom-path': '/machine/peripheral/x' },
});

t.test('refusals of device_add change nothing', async (t) => {
  const { run, add } = await start(t);
  await run('object-add', backend('odd', 3n * MiB));
  await run('object-add', backend('big', 4096n * MiB));
  const cases = [
    [{}, "'memdev' property must be set"],
    [{ memdev: 'odd' }, 'backend memory size must be multiple of 0x200000'],
    [
      { memdev: 'big' },
      'not enough space, currently 0x0 in use of total space for memory devices 0x78000000',
    ],
    [{ memdev: 'b', 'block-size': 0n }, "'block-size' property has to be at least 0x100000"],
    [{ memdev: 'b', 'block-size': 4096n }, "'block-size' property has to be at least 0x100000"],
    [{ memdev: 'b', 'block-size': 3n * MiB }, "'block-size' property has to be a power of two"],
    [{ memdev: 'b', 'block-size': 'a' }, "Parameter 'block-size' expects uint64"],
    [
      { memdev: 'b', 'requested-size': MiB },
      "'requested-size' property has to be multiples of 'block-size' (0x200000)",
    ],
    [{ memdev: 'b', memaddr: 1n }, 'address must be aligned to 0x200000 bytes'],
    [
      { memdev: 'b', memaddr: 2n * MiB },
      "can't add memory device [0x200000:0x8000000], usable range for memory devices [0x100000000:0x78000000]",
    ],
    [
      { memdev: 'b', node: 3n },
      "'node' property has value '3', which exceedsthe number of numa nodes: 1",
    ],
    [{ memdev: 'b', size: 5n }, "Property 'virtio-mem.size' is not writable"],
  ] as const;
  for (const [args, message] of cases) await t.rejects(add(args), { message });
  t.strictSame(await run('query-memory-devices'), [], 'nothing half-done');
  await add({ memdev: 'b' });
  await t.rejects(add({ id: 'y', memdev: 'b', memaddr: BASE + 256n * MiB }), {
    message: "'memdev' property specifies a busy memdev: b",
  });
  await t.rejects(run('object-del', { id: 'b' }), {
    message: "object 'b' is in use, can not be deleted",
  });
});

t.test('a machine without maxmem has no room', async (t) => {
  const { add } = await start(t, ['-nodefaults', '-machine', 'pc', '-m', '128M']);
  await t.rejects(add({ memdev: 'b' }), {
    message:
      'memory devices (e.g. for memory hotplug) are not enabled, please specify the maxmem option',
  });
});

t.test('modules and virtio-mem share the room; only what is plugged counts', async (t) => {
  const { run, add, policy } = await start(t, [
    ...['-nodefaults', '-machine', 'pc', '-m', '128M,slots=2,maxmem=512M'],
  ]);
  await policy('accept');
  await run('object-add', backend('m', 64n * MiB));
  await run('object-add', backend('c', 256n * MiB));
  await add({ memdev: 'b', 'requested-size': 8n * MiB });
  await run('device_add', { driver: 'pc-dimm', id: 'd', memdev: 'm' });
  await t.rejects(add({ id: 'y', memdev: 'c' }), {
    message:
      'not enough space, currently 0xc000000 in use of total space for memory devices 0x18000000',
  });
  await afterReply();
  t.match(await run('query-memory-devices'), [
    { type: 'virtio-mem', data: { memaddr: BASE } },
    { type: 'dimm', data: { addr: BASE + 128n * MiB, slot: 0n } },
  ]);
  t.strictSame(await run('query-memory-size-summary'), {
    'base-memory': 128n * MiB,
    'plugged-memory': 72n * MiB,
  });
});

t.test('blocks larger than a huge page decide about the place', async (t) => {
  const { run, add } = await start(t);
  await run('object-add', backend('s', 64n * MiB));
  await add({ id: 'first', memdev: 's' });
  await t.rejects(add({ memdev: 'b', 'block-size': 128n * MiB, memaddr: BASE + 64n * MiB }), {
    message: 'address must be aligned to 0x8000000 bytes',
  });
  await add({ memdev: 'b', 'block-size': 128n * MiB });
  t.match(await run('query-memory-devices'), [
    { data: { id: 'first' } },
    { data: { id: 'x', memaddr: BASE + 128n * MiB } },
  ]);
});

t.test('what is requested is checked, stored and left to the guest', async (t) => {
  const { run, add, get, request, sizes } = await start(t);
  await add({ memdev: 'b', 'requested-size': 32n * MiB });
  await request(64n * MiB);
  const block = "'requested-size' has to be multiples of 'block-size' (0x200000)";
  const cases = [
    [1n, block],
    [MiB, block],
    [-1n, block],
    [256n * MiB, "'requested-size' cannot exceed the memory backend size(0x8000000)"],
    ['64M', "Parameter 'requested-size' expects uint64"],
    [true, "Parameter 'requested-size' expects uint64"],
    [null, "Parameter 'requested-size' expects uint64"],
  ] as const;
  for (const [value, message] of cases) await t.rejects(request(value), { message });
  const set = (property: string) =>
    run('qom-set', { path: '/machine/peripheral/x', property, value: 4n });
  await t.rejects(set('size'), { message: "Property 'virtio-mem.size' is not writable" });
  await t.rejects(set('block-size'), { message: "'block-size' cannot be changed" });
  for (const name of ['memaddr', 'node', 'prealloc'])
    await t.rejects(set(name), {
      message: `Attempt to set property '${name}' on anonymous device (type 'virtio-mem') after it was realized`,
    });
  await afterReply();
  t.strictSame(await run('query-memory-devices'), [
    {
      type: 'virtio-mem',
      data: {
        id: 'x',
        memaddr: BASE,
        'requested-size': 64n * MiB,
        size: 0n,
        'max-size': 128n * MiB,
        'block-size': 2n * MiB,
        node: 0n,
        memdev: '/objects/b',
      },
    },
  ]);
  t.strictSame(sizes(), [], 'nobody is there to answer');
  t.equal(await get('memaddr'), BASE);
  t.equal(await get('size'), 0n);
  t.equal(await get('requested-size'), 64n * MiB);
  t.equal(await get('memdev'), '/objects/b');
  t.strictSame(
    await run('human-monitor-command', { 'command-line': 'info memory-devices' }),
    [
      'Memory device [virtio-mem]: "x"',
      '  memaddr: 0x100000000',
      '  node: 0',
      '  requested-size: 67108864',
      '  size: 0',
      '  max-size: 134217728',
      '  block-size: 2097152',
      '  memdev: /objects/b',
      '',
    ].join('\r\n'),
  );
});

t.test('with guest-policy=accept the size follows and every change is told', async (t) => {
  const { machine, run, add, get, policy, request, sizes } = await start(t);
  const { memory } = machine.platform;
  await policy('accept');
  await add({ memdev: 'b', 'requested-size': 2n * MiB });
  await afterReply();
  t.strictSame(sizes(), [changed(2n * MiB)]);
  memory.write(BASE + 2n * MiB - 8n, 8, 5n);
  memory.write(BASE + 2n * MiB, 8, 6n);
  t.equal(memory.read(BASE + 2n * MiB - 8n, 8), 5n, 'the last plugged bytes are memory');
  await request(4n * MiB);
  await request(4n * MiB);
  await afterReply();
  t.strictSame(sizes(), [changed(4n * MiB)], 'once');
  t.equal(memory.read(BASE + 2n * MiB, 8), 0n, 'what was beyond the end took no write');
  await run('system_reset');
  await afterReply();
  t.strictSame(sizes(), [changed(0n), changed(4n * MiB)], 'the guest starts over');
  await request(0n);
  await afterReply();
  t.strictSame(sizes(), [changed(0n)]);
  t.equal(await get('size'), 0n);
});

t.test('more may be requested at the start than there is: the guest takes all', async (t) => {
  const { add, policy, sizes } = await start(t);
  await policy('accept');
  await add({ memdev: 'b', 'requested-size': 256n * MiB });
  await afterReply();
  t.strictSame(sizes(), [changed(128n * MiB)]);
});

t.test('guest-memory-resize plays the driver', async (t) => {
  const { run, add, sizes, request } = await start(t);
  await add({ memdev: 'b', 'requested-size': 8n * MiB });
  const resize = (size: bigint) => run('guest-memory-resize', { id: 'x', size });
  await resize(4n * MiB);
  await t.rejects(resize(MiB), {
    message: 'size 1048576 is no multiple of the block size 2097152',
  });
  await t.rejects(resize(10n * MiB), {
    message: 'size 10485760 is beyond the 8388608 bytes that are requested',
  });
  await resize(8n * MiB);
  await request(0n);
  await resize(2n * MiB);
  t.strictSame(sizes(), [changed(4n * MiB), changed(8n * MiB), changed(2n * MiB)]);
  await run('object-add', backend('m', 4n * MiB));
  await t.rejects(run('guest-memory-resize', { id: 'nope', size: 0n }), {
    message: "Device 'nope' not found",
  });
});

t.test('a device without memory can leave, one with memory cannot', async (t) => {
  const { run, add, policy, request, events } = await start(t);
  await policy('accept');
  await add({ memdev: 'b', 'requested-size': 2n * MiB });
  await afterReply();
  await t.rejects(run('device_del', { id: 'x' }), {
    message: 'virtio-mem device cannot get unplugged while some of its memory is still plugged',
  });
  await run('guest-memory-resize', { id: 'x', size: 0n });
  await t.rejects(run('device_del', { id: 'x' }), {
    message: "virtio-mem device cannot get unplugged while 'requested-size' != '0'",
  });
  await request(0n);
  await afterReply();
  events.length = 0;
  await run('device_del', { id: 'x' });
  await afterReply();
  const gone = { device: 'x', path: '/machine/peripheral/x' };
  t.strictSame(events, [{ name: 'DEVICE_DELETED', data: gone }]);
  t.strictSame(await run('query-memory-devices'), []);
  await run('object-del', { id: 'b' });
});

t.test('the function looks as that of QEMU; the driver can read what is asked', async (t) => {
  const { machine, add, run, config } = await start(t);
  await add({ memdev: 'b', addr: '4', 'block-size': 4n * MiB, 'requested-size': 32n * MiB });
  const words = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => config.read(0, 4, 0, from + 4 * i));
  t.strictSame(words(0, 4), [0x10581af4, 0x00100000, 0x00ff0001, 0]);
  t.equal(config.read(0, 4, 0, 0x34), 0x84);
  const structures = [
    ...[0x01100009, 4, 0, 0x1000],
    ...[0x03104009, 4, 0x1000, 0x1000],
    ...[0x04105009, 4, 0x2000, 0x1000],
    ...[0x02146009, 4, 0x3000, 0x1000, 4],
    ...[0x05147009, 0, 0, 0, 0],
  ];
  t.strictSame(words(0x40, structures.length), structures);
  config.write(0, 4, 0, 4, 2, 2);
  const read = async (offset: number, size: number) =>
    run('guest-mmio-read', {
      id: 'x',
      bar: 4n,
      offset: BigInt(0x2000 + offset),
      size: BigInt(size),
    });
  for (const [offset, size, value] of [
    [0x00, 8, 4n * MiB],
    [0x08, 2, 0n],
    [0x10, 8, BASE],
    [0x18, 8, 128n * MiB],
    [0x20, 8, 128n * MiB],
    [0x28, 8, 0n],
    [0x30, 8, 32n * MiB],
    [0x34, 4, 0n],
  ] as const)
    t.strictSame(await read(offset, size), { value }, `offset ${String(offset)}`);
  t.equal(machine.memorySlots.pluggedSize, 0n);
});

t.test('features and status answer as those of every virtio function', async (t) => {
  const { add, run, config } = await start(t);
  await add({ memdev: 'b', addr: '4' });
  config.write(0, 4, 0, 4, 2, 2);
  const common = (offset: number, size: number) => {
    return { id: 'x', bar: 4n, offset: BigInt(offset), size: BigInt(size) };
  };
  const write = (offset: number, size: number, value: bigint) =>
    run('guest-mmio-write', { ...common(offset, size), value });
  const read = (offset: number, size: number) => run('guest-mmio-read', common(offset, size));
  await write(COMMON.DEVICE_FEATURE_SELECT, 4, 1n);
  t.strictSame(await read(COMMON.DEVICE_FEATURE, 4), { value: 1n }, 'VERSION_1 is offered');
  await write(COMMON.DEVICE_STATUS, 1, 3n);
  t.strictSame(await read(COMMON.DEVICE_STATUS, 1), { value: 3n });
  await run('system_reset');
  config.write(0, 4, 0, 4, 2, 2);
  t.strictSame(await read(COMMON.DEVICE_STATUS, 1), { value: 0n });
});

t.test('saved state brings back sizes, a state that does not fit changes nothing', async (t) => {
  const { machine, add, run, get, request } = await start(t);
  await add({ memdev: 'b', 'requested-size': 8n * MiB });
  await run('guest-memory-resize', { id: 'x', size: 4n * MiB });
  const { device } = machine.devices.find('x');
  const saved = device.save();
  await run('system_reset');
  await request(0n);
  device.load(saved);
  t.equal(await get('size'), 4n * MiB);
  t.equal(await get('requested-size'), 8n * MiB);
  t.strictSame(device.save(), saved);
  const wrong: readonly DeviceState[] = [
    { ...saved, size: 1n },
    { ...saved, size: 256n * MiB },
    { ...saved, requestedSize: 3n },
    { ...saved, requestedSize: 'all' },
    {},
  ];
  for (const state of wrong)
    t.throws(() => device.load(state), {
      message: /^saved (state does not fit device type )?virtio-mem-pci/,
    });
  t.strictSame(device.save(), saved);
});

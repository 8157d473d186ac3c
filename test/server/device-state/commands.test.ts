import t from 'tap';
import type { Json } from '../../side-by-side/client.js';
import { startDaemon, type Cleanup } from '../../support/daemon.js';
import { CTL, StateClient } from '../../support/state-client.js';

const start = async (t: Cleanup, ...words: readonly string[]) => {
  const { qmp } = await startDaemon(t, [
    ...['-M', 'pc', '-nodefaults', '-device', 'state-sample,id=s0,x-vfio-state=on', ...words],
  ]);
  const client = new StateClient(qmp, 's0');
  await client.enable();
  return { qmp, client };
};
const decoded = (answer: Json): number[] => [
  ...Buffer.from((answer as { bitmap: string }).bitmap, 'base64'),
];

t.test('DEVICE_STATE_CHANGED tells every change and nothing else', async (t) => {
  const { qmp, client } = await start(t);
  await qmp.execute('subscribe-events', { events: ['DEVICE_STATE_CHANGED'] });
  const change = async (): Promise<Json> => (await qmp.event('DEVICE_STATE_CHANGED')).data ?? null;
  const device = { device: 's0', path: '/machine/peripheral/s0' };
  await qmp.execute('device-state-set', { id: 's0', state: 'running-logging' });
  t.match(await change(), { ...device, from: 'running', to: 'running-logging' });
  await qmp.execute('device-state-set', { id: 's0', state: 'running-logging' });
  await client.setState(3);
  t.match(await change(), { ...device, from: 'running-logging', to: 'stop-logging' });
  await qmp.execute('system_reset');
  t.match(await change(), { ...device, from: 'stop-logging', to: 'running' });
});

t.test('the four states by name', async (t) => {
  const { qmp, client } = await start(t);
  for (const [state, number] of [
    ['stop', 1],
    ['stop-logging', 3],
    ['running-logging', 2],
    ['running', 0],
  ] as const) {
    t.strictSame(await qmp.execute('device-state-set', { id: 's0', state }), {});
    t.equal(await client.number(CTL.STATE, 4), number);
    t.match(await client.info(), { state, consistent: state.startsWith('stop') });
  }
});

t.test('what cannot be is refused with the thing, the value and the rule', async (t) => {
  const { qmp, client } = await start(t, '-device', 'edu,id=e0');
  await qmp.execute('device_add', { driver: 'vfio-state', id: 'v0', target: 'e0' });
  const access = { id: 's0', region: 'control', offset: 4n };
  const four = Buffer.from([4, 0, 0, 0]).toString('base64');
  await client.setState(1);
  await client.write(CTL.MEMORY_SIZE, [8, 100n]);
  for (const [command, args, desc] of [
    [
      'vfio-state-write',
      { ...access, data: four },
      "write of 4 bytes at 4 in region 'control' of device 's0': EINVAL, state 4 is none of 0 to 3",
    ],
    ['vfio-state-write', { ...access, data: 'A' }, "Parameter 'data' expects base64"],
    [
      'vfio-state-read',
      { ...access, length: 3n },
      "read of 3 bytes at 4 in region 'control' of device 's0': EINVAL, 3 bytes at 4 are no whole fields of the control structure",
    ],
    [
      'vfio-state-read',
      { ...access, region: 'config', length: 2n ** 20n },
      "read of 1048576 bytes at 4 in region 'config' of device 's0': EINVAL, 1048576 bytes at 4 are not inside the 1048576 bytes of the region",
    ],
    [
      'vfio-state-read',
      { ...access, region: 'config', length: 0n },
      "read of 0 bytes at 4 in region 'config' of device 's0': EINVAL, 0 bytes at 4 are not inside the 1048576 bytes of the region",
    ],
    [
      'vfio-state-read',
      { ...access, region: 'config', length: 4_194_305n },
      "Parameter 'length' expects at most 4194304 bytes",
    ],
    [
      'vfio-state-read',
      { ...access, region: 'config', length: 4_194_304n },
      /EINVAL, 4194304 bytes at 4 are not inside/,
    ],
    ['vfio-state-read', { ...access, id: 'e1', length: 4n }, "Device 'e1' not found"],
    ['vfio-state-read', { ...access, region: 'rom', length: 4n }, /does not accept value 'rom'/],
    [
      'device-state-set',
      { id: 's0', state: 'running' },
      "device 's0' cannot go to state 'running': EINVAL, device 's0' cannot run: a load is not complete",
    ],
    ['device-state-set', { id: 's0', state: 'asleep' }, /does not accept value 'asleep'/],
    [
      'query-dirty-pages',
      { id: 's0', pages: 0n },
      "Parameter 'pages' expects a value between 1 and 33554432",
    ],
    [
      'query-dirty-pages',
      { id: 's0', pages: 33_554_433n },
      "Parameter 'pages' expects a value between 1 and 33554432",
    ],
    [
      'query-dirty-pages',
      { id: 's0', start: 1n, pages: 1n },
      "dirty pages of device 's0': EINVAL, address 1 is no multiple of 4096",
    ],
    [
      'query-dirty-pages',
      { id: 's0', start: 2n ** 64n - 4096n, pages: 2n },
      "dirty pages of device 's0': EINVAL, 2 pages from 18446744073709547520 on do not exist",
    ],
    [
      'query-dirty-pages',
      { id: 's0', memory: 'device', pages: 1n, clear: true },
      "Parameter 'clear' is for system memory: passes take pages of device memory",
    ],
    [
      'query-dirty-pages',
      { id: 'e0', memory: 'device', pages: 1n },
      "dirty pages of device 'e0': ENODEV, device 'e0' has no capability device-memory",
    ],
  ] as [string, Record<string, Json>, string | RegExp][])
    await t.rejects(qmp.execute(command, args), { message: desc }, command);
});

t.test('query-dirty-pages tells, and forgets when it is asked to', async (t) => {
  const { qmp, client } = await start(t);
  const ask = async (args: Record<string, Json>): Promise<Json> =>
    qmp.execute('query-dirty-pages', { id: 's0', pages: 100n, ...args });
  await qmp.execute('device-state-set', { id: 's0', state: 'running-logging' });
  await client.dma(0x10_0000n, 1);
  await client.dma(0x16_3ffen, 4);
  const start_ = { start: 0x10_0000n };
  t.match(await ask(start_), { 'page-size': 4096n, dirty: 2n });
  t.match(await ask(start_), { dirty: 2n }, 'a question changes nothing');
  t.strictSame(decoded(await ask({ ...start_, clear: true })), [
    1,
    ...Array<number>(11).fill(0),
    8,
    0,
    0,
    0,
  ]);
  t.match(await ask(start_), { dirty: 0n });
  t.match(await ask({ start: 0x16_4000n, pages: 1n }), { dirty: 1n }, 'pages outside stay');

  t.match(await ask({ memory: 'device' }), { dirty: 5n }, 'all of it when a session begins');
  await client.pass(2 ** 20);
  await client.writeBar(2, 17_000, [1]);
  t.strictSame(decoded(await ask({ memory: 'device', pages: 8n })).slice(0, 1), [16]);
  t.match(await ask({ memory: 'device', start: 16_384n, pages: 1n }), { dirty: 1n });
  t.match(await client.info(), { pass: 1n, pending: 3616n, 'dirty-pages': 1n });
});

t.test('query-device-state changes nothing, also of all devices at once', async (t) => {
  const { qmp, client } = await start(t, '-device', 'edu,id=e0');
  await client.setState(2);
  const all = (await qmp.execute('query-device-state')) as Record<string, Json>[];
  t.strictSame(await qmp.execute('query-device-state'), all);
  t.match(
    all.find(({ device }) => device === 's0'),
    {
      ...{ type: 'state-sample', state: 'running-logging', pass: 0n, 'dirty-pages': 5n },
      ...{ pending: 20_000n, 'memory-size': 20_000n, 'config-size': 304n, loading: false },
      ...{ capabilities: ['device-memory', 'system-memory'], latched: 0n, dropped: 0n },
    },
  );
  const edu = all.find(({ device }) => device === 'e0');
  t.match(edu, { type: 'edu', state: 'running', capabilities: ['system-memory'] });
  t.notOk(edu !== undefined && 'regions' in edu, 'no regions');
  t.ok(
    all.some(({ path }) => String(path).startsWith('/machine/unattached')),
    'parts of the board too',
  );
});

t.test('writes to a device in STOP are counted, and done when it goes on', async (t) => {
  const { client } = await start(t, '--limit', 'state-latched=2');
  await client.setState(1);
  await client.writeBar(2, 0, [0xaa]);
  for (const value of [1, 2, 3]) await client.writeBar(0, 0x20, [value]);
  t.match(await client.info(), { latched: 2n, dropped: 1n });
  const before = await client.config();
  t.equal(before[48 + 0x20], 0x20, 'what is saved does not have them');
  t.equal(await client.setState(0), 'OK');
  t.equal((await client.readBar(0, 0x21))[0x20], 2);
  t.equal((await client.readBar(2, 1))[0], 3, 'memory is as it was');
});

t.test('--limit state-pass-bytes bounds snapshots, passes and loads', async (t) => {
  const { client } = await start(t, '--limit', 'state-pass-bytes=8192');
  t.equal(await client.write(CTL.MEMORY_ACTION, [4, 1n]), 'EFBIG');
  await client.setState(2);
  const lengths: number[] = [];
  for (let pass = await client.pass(2 ** 20); pass.length > 0; pass = await client.pass(2 ** 20))
    lengths.push(pass.length);
  t.strictSame(lengths, [48 + 8192, 48 + 8192, 48 + 3616]);
  await client.setState(1);
  const most = 32 + 2 * 16 + 8192;
  t.equal(await client.write(CTL.MEMORY_SIZE, [8, BigInt(most)]), 'OK');
  t.equal(await client.write(CTL.MEMORY_SIZE, [8, BigInt(most + 1)]), 'EFBIG');
});

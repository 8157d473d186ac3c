import t from 'tap';
import { startMachine, type TestMachine } from '../support/machine.js';
import { needsNative } from '../support/mdevice.js';

const MiB = 1n << 20n;
const CAPACITY = ['-object', 'memory-backend-ram,id=dcm,size=512M'];
const DEVICE = 'cxl-type3,id=d0,bus=pcie.0,num-dc-regions=2,volatile-dc-memdev=dcm';

/** Config A of reference/cxl.md §11 in a machine. */
const configA = (t: Parameters<typeof startMachine>[0], policy = 'manual'): Promise<TestMachine> =>
  startMachine(t, [
    ...['-M', `q35,guest-policy=${policy}`, '-nodefaults', '-S'],
    ...CAPACITY,
    ...['-device', DEVICE],
  ]);
const extents = (...ranges: readonly (readonly [number, number])[]) =>
  ranges.map(([offset, len]) => ({ offset: BigInt(offset) * MiB, len: BigInt(len) * MiB }));
const dpas = (...ranges: readonly (readonly [number, number])[]) =>
  extents(...ranges).map(({ offset, len }) => ({ 'start-dpa': offset, len }));

const add = (m: TestMachine, more: object): Promise<unknown> =>
  m.run('cxl-add-dynamic-capacity', {
    ...{ path: 'd0', 'host-id': 0n, 'selection-policy': 'prescriptive', region: 0n },
    ...more,
  });
const release = (m: TestMachine, more: object): Promise<unknown> =>
  m.run('cxl-release-dynamic-capacity', {
    ...{ path: 'd0', 'host-id': 0n, 'removal-policy': 'prescriptive', region: 0n },
    ...more,
  });
interface Info {
  pending: { extents: unknown[] }[];
  accepted: { offset: bigint; len: bigint }[];
  tags: unknown[];
  blocks: unknown[];
  'extents-available': number;
}
const info = async (m: TestMachine): Promise<Info> => {
  const [first] = (await m.run('query-cxl-dynamic-capacity')) as Info[];
  if (first === undefined) throw new Error('no device');
  return first;
};
const accepted = async (m: TestMachine): Promise<number[][]> =>
  (await info(m)).accepted.map(({ offset, len }) => [Number(offset / MiB), Number(len / MiB)]);

/** Runs until `done` gives true; deferred work needs a few turns of the loop. */
const settle = async (done: () => Promise<boolean>): Promise<void> => {
  for (let i = 0; i < 1000 && !(await done()); i++)
    await new Promise((resolve) => setImmediate(resolve));
};

t.test('offered over QMP, answered by the mailbox', needsNative, async (t) => {
  const m = await configA(t);
  const tag = '5be13bce-ae34-4a77-b6c3-16df975fcf1a';
  await add(m, { tag, extents: extents([0, 128], [128, 64]) });
  t.match(await info(m), {
    device: 'd0',
    path: '/machine/peripheral/d0',
    'extents-supported': 512,
    'extents-available': 510,
    regions: [{ region: 0, base: 0n, len: 256n * MiB }, { region: 1 }],
    pending: [{ extents: [{ region: 0, offset: 0n, tag }, { offset: 128n * MiB }] }],
    accepted: [],
    tags: [{ tag, pending: 192n * MiB, accepted: 0n }],
    blocks: [{ first: 0n, count: 96n, heads: [0] }],
  });
  await m.run('guest-cxl-respond', { id: 'd0', action: 'accept', extents: dpas([0, 64]) });
  t.strictSame(await accepted(m), [[0, 64]]);
  t.match(
    m.events.filter(({ name }) => name.startsWith('CXL')),
    [
      { name: 'CXL_DYNAMIC_CAPACITY_ACCEPTED', data: { device: 'd0', region: 0, tag } },
      { name: 'CXL_DYNAMIC_CAPACITY_REJECTED', data: { ranges: [{}, {}] } },
    ],
  );
  await m.run('guest-cxl-release', { id: 'd0', extents: dpas([8, 8]) });
  t.strictSame(await accepted(m), [
    [0, 8],
    [16, 48],
  ]);
  t.equal(m.events.at(-1)?.name, 'CXL_DYNAMIC_CAPACITY_RELEASED');
});

t.test(
  'guest-cxl-respond: whole offers, sub-ranges, and what it refuses',
  needsNative,
  async (t) => {
    const m = await configA(t);
    const respond = (action: string, more = {}): Promise<unknown> =>
      m.run('guest-cxl-respond', { id: 'd0', action, ...more });
    await t.rejects(respond('accept'), { message: "device 'd0' offers no extents" });
    await add(m, {
      extents: extents(...Array.from({ length: 20 }, (_, i) => [4 * i, 2] as const)),
    });
    await add(m, { extents: extents([100, 4]) });
    await t.rejects(respond('accept', { extents: dpas([100, 4]) }), {
      message: 'extent at 104857600 of 4194304 bytes is not part of one offered extent',
    });
    await respond('accept');
    t.equal((await info(m)).accepted.length, 20, 'a chain of 20 records is one offer');
    await respond('reject', { extents: dpas([100, 2]) });
    t.strictSame((await accepted(m)).at(-1), [102, 2]);
    await add(m, { extents: extents([200, 4]) });
    await respond('reject');
    t.equal((await info(m)).accepted.length, 21);
    await t.rejects(m.run('guest-cxl-release', { id: 'd0', extents: dpas([200, 4]) }), {
      message: "device 'd0' refused: Invalid Physical Address (fh)",
    });
    await add(m, { extents: extents([210, 4]) });
    await m.run('system_reset');
    await t.rejects(respond('accept'), { message: "device 'd0' offers no extents" });
  },
);

t.test('guest-cxl-mailbox runs any opcode', needsNative, async (t) => {
  const m = await configA(t);
  const run = (opcode: number, payload?: string): Promise<unknown> =>
    m.run('guest-cxl-mailbox', {
      ...{ id: 'd0', opcode: BigInt(opcode) },
      ...(payload === undefined ? {} : { payload }),
    });
  t.strictSame(await run(0x4800, 'AAA='), {
    'return-code': 0,
    payload: Buffer.from('02000000000000000002000000020000' + '00'.repeat(8), 'hex').toString(
      'base64',
    ),
  });
  t.strictSame(await run(0x4101), { 'return-code': 3, payload: '' });
  await t.rejects(run(0x4800, '*'), { message: "Parameter 'payload' expects base64" });
  await t.rejects(run(0x0103, Buffer.alloc(2049).toString('base64')), {
    message: "payload of 2049 bytes exceeds the 2048 of device 'd0'",
  });
  await t.rejects(m.run('guest-cxl-mailbox', { id: 'nosuch', opcode: 0n }), {
    message: "Device 'nosuch' not found",
  });
});

t.test('guest-policy accept answers adds and releases, reject refuses', needsNative, async (t) => {
  const m = await configA(t, 'accept');
  await add(m, { extents: extents(...Array.from({ length: 12 }, (_, i) => [4 * i, 2] as const)) });
  await settle(async () => (await accepted(m)).length === 12);
  t.equal((await accepted(m)).length, 12);
  await release(m, { extents: extents([0, 2]) });
  await settle(async () => (await accepted(m)).length === 11);
  t.equal((await accepted(m)).length, 11);
  await m.run('qom-set', { path: '/machine', property: 'guest-policy', value: 'reject' });
  await add(m, { extents: extents([100, 2]) });
  await settle(async () => (await info(m)).pending.length === 0);
  t.equal((await info(m)).pending.length, 0);
  t.equal((await accepted(m)).length, 11);
});

t.test('guest-policy answers what waited when it is set', needsNative, async (t) => {
  const m = await configA(t);
  await add(m, { extents: extents([0, 2]) });
  await add(m, { extents: extents([4, 2]) });
  await m.run('qom-set', { path: '/machine', property: 'guest-policy', value: 'accept' });
  await settle(async () => (await accepted(m)).length === 2);
  t.strictSame(await accepted(m), [
    [0, 2],
    [4, 2],
  ]);
});

t.test('guest-policy answers offers of the fabric manager too', needsNative, async (t) => {
  const m = await startMachine(t, [
    ...['-M', 'q35,cxl=on,guest-policy=accept', '-nodefaults', '-S', ...CAPACITY],
    ...['-device', 'pxb-cxl,id=cxl.0,bus=pcie.0,bus_nr=52'],
    ...['-device', 'cxl-rp,id=rp0,bus=cxl.0,chassis=0,slot=0'],
    ...['-device', 'cxl-upstream,id=us0,bus=rp0,addr=0.0,multifunction=on'],
    ...['-device', 'cxl-switch-mailbox-cci,id=cci0,bus=rp0,addr=0.1,target=us0'],
    ...['-device', 'cxl-downstream,id=ds0,bus=us0,chassis=0,slot=1,port=3'],
    ...['-device', 'cxl-type3,id=d0,bus=ds0,num-dc-regions=2,volatile-dc-memdev=dcm'],
  ]);
  const add5604 = new Uint8Array(32 + 40);
  add5604[2] = 2;
  add5604[28] = 1;
  new DataView(add5604.buffer).setBigUint64(40, 4n * MiB, true);
  const message = Uint8Array.of(0, 0, 0, 0x04, 0x56, add5604.length, 0, 0, 0, 0, 0, 0);
  const header = Uint8Array.of(3, 0, message.length + add5604.length, 0);
  const payload = Buffer.concat([header, message, add5604]).toString('base64');
  const reply = (await m.run('guest-cxl-mailbox', { id: 'cci0', opcode: 0x5300n, payload })) as {
    'return-code': number;
    payload: string;
  };
  t.equal(reply['return-code'], 0);
  t.equal(
    Buffer.from(reply.payload, 'base64').readUInt16LE(12),
    0,
    'the code of the inner command',
  );
  await settle(async () => (await accepted(m)).length === 1);
  t.strictSame(await accepted(m), [[0, 4]]);
});

t.test(
  'what is refused before the device is looked at, and how it is found',
  needsNative,
  async (t) => {
    const m = await startMachine(t, [
      ...['-M', 'q35', '-nodefaults', '-S', ...CAPACITY, '-device', DEVICE],
      ...['-object', 'memory-backend-ram,id=vol,size=256M'],
      ...['-device', 'cxl-type3,id=plain,bus=pcie.0,volatile-memdev=vol'],
    ]);
    const cases: readonly (readonly [Promise<unknown>, string])[] = [
      [
        add(m, { path: 'x', 'selection-policy': 'enable-shared-access', extents: [] }),
        'Selection policy not supported',
      ],
      [add(m, { path: 'x', extents: [] }), 'Unable to resolve CXL type 3 device'],
      [add(m, { path: '/machine', extents: [] }), 'Unable to resolve CXL type 3 device'],
      [add(m, { path: 'plain', extents: [] }), 'No dynamic capacity support from the device'],
      [add(m, { region: 2n, extents: [] }), 'region id is too large'],
      [
        release(m, { 'removal-policy': 'tag-based', 'forced-removal': true, extents: [] }),
        'Forced removal not supported yet',
      ],
      [release(m, { 'removal-policy': 'tag-based', extents: [] }), 'Removal policy not supported'],
      [release(m, { path: 'x', extents: [] }), 'Unable to resolve CXL type 3 device'],
      [add(m, { 'host-id': 65536n, extents: [] }), `Parameter 'host-id' expects uint16_t`],
      [
        add(m, { 'selection-policy': 'bogus', extents: [] }),
        `Parameter 'selection-policy' does not accept value 'bogus'`,
      ],
    ];
    for (const [run, message] of cases) await t.rejects(run, { message });
    t.equal(await add(m, { extents: [] }), undefined, 'nothing to add is no fault');
    await add(m, { path: '/machine/peripheral/d0', extents: extents([0, 2]) });
    t.equal(((await m.run('query-cxl-dynamic-capacity')) as unknown[]).length, 1);
  },
);

t.test('injection: checks in order, records in the logs', needsNative, async (t) => {
  const m = await configA(t);
  const media = {
    ...{ log: 'warning', flags: 1n, dpa: 1000n, descriptor: 3n, type: 3n },
    'transaction-type': 192n,
  };
  const general = {
    ...{ path: 'd0', ...media, channel: 3n, device: 5n, 'component-id': 'iras mem' },
  };
  const fault = (path: string) => m.run('cxl-inject-general-media-event', { ...general, path });
  await t.rejects(fault('nosuch'), { message: 'Unable to resolve path' });
  await t.rejects(fault('/machine'), { message: 'Path does not point to a CXL type 3 device' });
  await m.run('cxl-inject-general-media-event', general);
  await m.run('cxl-inject-dram-event', {
    ...{ path: 'd0', ...media, channel: 3n, rank: 17n, 'nibble-mask': 37421234n },
    ...{ 'bank-group': 7n, bank: 11n, row: 2n, column: 77n },
    'correction-mask': [33n, 44n, 55n, 66n, 77n],
  });
  await m.run('cxl-inject-memory-module-event', {
    ...{ path: 'd0', log: 'warning', flags: 1n, type: 3n, 'health-status': 2n },
    ...{ 'media-status': 5n, 'additional-status': 1n, 'life-used': 55n, temperature: -5n },
    ...{ 'dirty-shutdown-count': 1000n, 'corrected-volatile-error-count': 2000n },
    'corrected-persistent-error-count': 3000n,
  });
  const reply = (await m.run('guest-cxl-mailbox', {
    ...{ id: 'd0', opcode: 0x0100n, payload: 'AQ==' },
  })) as { payload: string };
  const bytes = Buffer.from(reply.payload, 'base64');
  const body = (i: number, length: number): string =>
    bytes
      .subarray(32 + 128 * i + 48)
      .subarray(0, length)
      .toString('hex');
  // reference/cxl.md §6.3, golden bodies.
  t.equal(body(0, 26), 'e8030000000000000303c00d00030005000069726173206d656d');
  t.equal(body(1, 25), 'e8030000000000000303c0ff000311b2003b070b0200004d00');
  t.equal(
    body(1, 57).slice(50),
    [33, 44, 55, 66].map((n) => `${n.toString(16).padStart(2, '0')}00000000000000`).join(''),
  );
  t.equal(body(2, 19), '0302050137fbffe8030000d0070000b80b0000');
});

t.test('injected poison: checks in order', needsNative, async (t) => {
  const m = await configA(t);
  const poison = (start: bigint, length: bigint, path = 'd0'): Promise<unknown> =>
    m.run('cxl-inject-poison', { path, start, length });
  await t.rejects(poison(1n, 65n, 'x'), {
    message: 'Poison injection must be in multiples of 64 bytes',
  });
  await t.rejects(poison(1n, 64n, 'x'), {
    message: 'Poison start address must be 64 byte aligned',
  });
  await t.rejects(poison(0n, 64n, 'x'), { message: 'Unable to resolve path' });
  await t.rejects(poison(0n, 64n, '/machine'), {
    message: 'Path does not point to a CXL type 3 device',
  });
  await poison(0n, 64n);
  await t.rejects(poison(0n, 64n), {
    message: 'Overlap with existing poisoned region not supported',
  });
});

t.test(
  'errors of the link are masked after reset, then recorded and reported',
  needsNative,
  async (t) => {
    const m = await configA(t);
    const inject = async (): Promise<void> => {
      await m.run('cxl-inject-uncorrectable-errors', {
        path: 'd0',
        errors: [{ type: 'cache-address-parity', header: [3n, 4n] }],
      });
      await m.run('cxl-inject-correctable-error', { path: 'd0', type: 'physical' });
    };
    const component = async (offset: number): Promise<unknown> =>
      m.run('guest-mmio-read', { id: 'd0', bar: 0n, offset: BigInt(0x1000 + offset), size: 4n });
    const config = async (offset: number): Promise<unknown> =>
      m.run('guest-config-read', { id: 'd0', offset: BigInt(offset), size: 4n });
    await m.run('guest-config-write', { id: 'd0', offset: 4n, size: 2n, value: 6n });
    await inject();
    t.strictSame(await component(0x80), { value: 0n });
    for (const mask of [0x84n, 0x90n])
      await m.run('guest-mmio-write', {
        id: 'd0',
        bar: 0n,
        offset: 0x1000n + mask,
        size: 4n,
        value: 0n,
      });
    await inject();
    t.strictSame(await component(0x80), { value: 2n });
    t.strictSame(await component(0x94), { value: 0x201n });
    t.strictSame(await component(0x98), { value: 3n });
    t.strictSame(await component(0x8c), { value: 0x40n });
    t.strictSame(await config(0x204), { value: 1 << 22 });
    t.strictSame(await config(0x210), { value: 1 << 14 });
  },
);

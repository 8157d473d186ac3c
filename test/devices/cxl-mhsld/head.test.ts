import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import type { Device } from '../../../devices/core/device.js';
import { dpa } from '../../../devices/cxl/addresses.js';
import { packExtent, type Extent } from '../../../devices/cxl/extents.js';
import { asCxlMemoryTarget, type CxlMemoryTarget } from '../../../devices/cxl/memory-target.js';
import { asCxlMemoryDevice } from '../../../devices/cxl/type3.js';
import type { Json } from '../../side-by-side/client.js';
import { startMachine, type TestMachine } from '../../support/machine.js';
import { needsNative } from '../../support/mdevice.js';
import { CXL_PORTS, OWNERS_AT, ownerMasks, poolName, SHARED_OBJECTS } from '../../support/pools.js';

const MiB = 1n << 20n;
const BACKENDS = [
  ...[
    '-object',
    'memory-backend-ram,id=dc,size=4G',
    '-object',
    'memory-backend-ram,id=odd,size=300M',
  ],
  ...['-object', 'memory-backend-ram,id=vol,size=256M'],
];
const machine = (t: Test): Promise<TestMachine> => startMachine(t, [...CXL_PORTS, ...BACKENDS]);

type Values = Readonly<Record<string, string | bigint | boolean>>;
const HEAD: Values = {
  ...{ driver: 'cxl-mhsld', id: 'h', bus: 'rp0', 'num-dc-regions': 1n },
  ...{ 'volatile-dc-memdev': 'dc', 'mhd-head': 0n, 'mhd-init': true },
};
/** Plugs a head in; the reset gives power to its slot. */
const attach = async (m: TestMachine, name: string, values: Values = {}): Promise<void> => {
  await m.run('device_add', { ...HEAD, 'mhd-state_file': name, ...values });
  await m.run('system_reset');
};
const detach = async (m: TestMachine): Promise<void> => {
  await m.run('device_del', { id: 'h' });
  await m.run('guest-eject', { id: 'h' });
};
const add = (m: TestMachine, offset: number, len: number): Promise<unknown> =>
  m.run('cxl-add-dynamic-capacity', {
    ...{ path: 'h', 'host-id': 0n, 'selection-policy': 'prescriptive', region: 0n },
    extents: [{ offset: BigInt(offset) * MiB, len: BigInt(len) * MiB }],
  });
const accept = (m: TestMachine): Promise<unknown> =>
  m.run('guest-cxl-respond', { id: 'h', action: 'accept' });
const pathOf = (name: string): string => join(SHARED_OBJECTS, name);
const map = (name: string, first: number, count: number): string =>
  ownerMasks(name, first, count).toString('hex');
const deviceOf = (m: TestMachine): Device => m.machine.devices.find('h').device;

t.test('what is refused, after what every memory device refuses', needsNative, async (t) => {
  const name = poolName(t);
  mkdirSync(pathOf(`${name}.tags`));
  const m = await machine(t);
  const cases: readonly (readonly [Values, string])[] = [
    [
      { 'volatile-dc-memdev': 'odd', 'mhd-head': 9n },
      'backend size is not multiple of region len: 0x12c00000',
    ],
    [
      { 'num-dc-regions': 0n, 'volatile-memdev': 'vol' },
      'MHSLD does not have dynamic capacity to manage',
    ],
    [{ 'mhd-head': 8n }, 'MHD Head ID must be between 0-7'],
    [{ 'mhd-head': 0xffff_ffffn }, 'MHD Head ID must be between 0-7'],
    [{ 'mhd-state_file': '' }, 'mhd-state_file property not set'],
    [{ 'mhd-state_file': 'a/b' }, "mhd-state_file 'a/b' must be a name without a slash"],
    [{ 'mhd-state_file': '..' }, "mhd-state_file '..' must be a name without a slash"],
    [{ 'mhd-state_file': 'x'.repeat(256) }, 'mhd-state_file must have 255 bytes at most'],
    [{ 'mhd-init': false }, 'failed to open mhsld state errno 2'],
    [{ 'mhd-state_file': `${name}.tags` }, 'failed to open mhsld state errno 21'],
  ];
  for (const [values, message] of cases) await t.rejects(attach(m, name, values), { message });
  t.notOk(existsSync(pathOf(name)));
  for (const id of ['dc', 'odd', 'vol']) await m.run('object-del', { id });
});

t.test('a head is attached once, and its blocks go with it', needsNative, async (t) => {
  const name = poolName(t);
  const [one, two] = [await machine(t), await machine(t)];
  await attach(one, name);
  t.equal(statSync(pathOf(name)).size, OWNERS_AT + 2048);
  await t.rejects(attach(two, name), { message: `head 0 of mhsld state '${name}' is in use` });
  await attach(two, name, { 'mhd-head': 1n, 'mhd-init': false });
  await add(one, 0, 4);
  await accept(one);
  await add(one, 4, 4);
  t.equal(map(name, 0, 5), '0101010100');
  await detach(one);
  t.equal(map(name, 0, 5), '0000000000');
  await one.run('object-del', { id: 'dc' });
  await detach(two);
  t.notOk(existsSync(pathOf(name)));
});

t.test(
  'a reset drops offers, and keeps list and map alike (vector M14)',
  needsNative,
  async (t) => {
    const name = poolName(t);
    const [one, two] = [await machine(t), await machine(t)];
    await attach(one, name);
    await attach(two, name, { 'mhd-head': 1n });
    await add(one, 0, 20);
    await accept(one);
    await add(one, 20, 20);
    await one.run('system_reset');
    t.equal(map(name, 0, 20), '01'.repeat(10) + '00'.repeat(10));
    await add(two, 20, 20);
    await t.rejects(add(two, 0, 2), { message: 'mhsld is enabled and extent reservation failed' });
  },
);

t.test('a loaded head has exactly what it had, or nothing is changed', needsNative, async (t) => {
  const name = poolName(t);
  const [one, two] = [await machine(t), await machine(t)];
  await attach(one, name);
  await attach(two, name, { 'mhd-head': 1n });
  await add(one, 0, 8);
  await accept(one);
  await add(one, 8, 4);
  const saved = deviceOf(one).save();
  await one.run('guest-cxl-release', { id: 'h', extents: [{ 'start-dpa': 0n, len: 4n * MiB }] });
  await one.run('guest-cxl-respond', { id: 'h', action: 'reject' });
  await add(one, 100, 2);
  await add(two, 2, 2);
  const before = [map(name, 0, 60), deviceOf(one).save()];
  t.throws(() => void deviceOf(one).load(saved), {
    message: 'saved dynamic capacity cannot be had: mhsld is enabled and extent reservation failed',
  });
  t.strictSame([map(name, 0, 60), deviceOf(one).save()], before);
  await two.run('guest-cxl-respond', { id: 'h', action: 'reject' });
  void deviceOf(one).load(saved);
  t.equal(map(name, 0, 60), '01'.repeat(6) + '00'.repeat(54));
  t.strictSame(deviceOf(one).save(), saved);
});

t.test(
  'mhd-adopt takes what a dead head had, and only then gives it back',
  needsNative,
  async (t) => {
    const name = poolName(t);
    const [one, two] = [await machine(t), await machine(t)];
    await attach(two, name, { 'mhd-head': 1n });
    const state = readFileSync(pathOf(name));
    state.fill(1, OWNERS_AT + 3, OWNERS_AT + 7);
    writeFileSync(pathOf(name), state);
    // The backend is taken already: the head must not lose what it would have adopted.
    await one.run('device_add', {
      ...HEAD,
      'mhd-state_file': poolName(t),
      id: 'other',
      bus: 'rp1',
    });
    await t.rejects(attach(one, name, { 'mhd-adopt': true }), { message: /multiple times/ });
    await one.run('device_del', { id: 'other' });
    t.equal(map(name, 3, 4), '01010101');
    await attach(one, name, { 'mhd-adopt': true });
    const [info] = (await one.run('query-cxl-dynamic-capacity')) as { accepted: unknown[] }[];
    t.match(info?.accepted, [{ offset: 6n * MiB, len: 8n * MiB }]);
    await detach(one);
    t.equal(map(name, 3, 4), '00000000');
  },
);

t.test('static memory keeps a head out of a pool that counts it (§9.5)', needsNative, async (t) => {
  const name = poolName(t);
  const theirs = Buffer.alloc(OWNERS_AT + 2048);
  theirs.set([8, 8, 0, 1]);
  theirs.writeBigUInt64LE(2048n, 16);
  writeFileSync(pathOf(name), theirs);
  const m = await machine(t);
  const values = { 'mhd-head': 2n, 'mhd-init': false };
  await t.rejects(attach(m, name, { ...values, 'volatile-memdev': 'vol' }), {
    message: `mhsld state '${name}' was made by a program that counts blocks from the start of static memory, a device with static memory cannot join it`,
  });
  t.strictSame(readFileSync(pathOf(name)), theirs);
  await attach(m, name, values);
  theirs[4] = 2;
  t.strictSame(readFileSync(pathOf(name)), theirs);
});

const TAG = '5be13bce-ae34-4a77-b6c3-16df975fcf1a';
const offer = (m: TestMachine, policy: string, extents: Json, tag = TAG): Promise<unknown> =>
  m.run('cxl-add-dynamic-capacity', {
    ...{ path: 'h', 'host-id': 0n, 'selection-policy': policy, region: 0n, tag, extents },
  });
const memoryOf = (m: TestMachine): CxlMemoryTarget => {
  const target = asCxlMemoryTarget(deviceOf(m));
  if (target === undefined) throw new Error('no memory');
  return target;
};
const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text));
const readAt = (m: TestMachine, address: bigint, length: number): string => {
  const into = new Uint8Array(length);
  return memoryOf(m).readDpa(dpa(address), into) ?? Buffer.from(into).toString();
};

t.test('an access needs every block it touches (vector M15)', needsNative, async (t) => {
  const name = poolName(t);
  const [one, two] = [await machine(t), await machine(t)];
  await attach(one, name);
  await attach(two, name, { 'mhd-head': 1n });
  await add(one, 0, 2);
  await add(two, 2, 2);
  await accept(one);
  await accept(two);
  const zeros = '\0'.repeat(8);
  t.equal(readAt(one, 2n * MiB - 8n, 8), zeros);
  for (const address of [2n * MiB - 4n, 2n * MiB]) t.equal(readAt(one, address, 8), 'unbacked');
  t.equal(readAt(two, 2n * MiB, 8), zeros);
  // Another program takes the bit away: what the list says no longer counts.
  const state = readFileSync(pathOf(name));
  state[OWNERS_AT] = 2;
  writeFileSync(pathOf(name), state);
  t.equal(readAt(one, 0n, 8), 'not-owner');
});

t.test('heads that share a file share its bytes, block by block', needsNative, async (t) => {
  const name = poolName(t);
  const file = join(t.testdir(), 'memory');
  const words = [
    ...CXL_PORTS,
    ...['-object', `memory-backend-file,id=dc,size=256M,mem-path=${file},share=on`],
  ];
  const [one, two] = [await startMachine(t, words), await startMachine(t, words)];
  await attach(one, name);
  await attach(two, name, { 'mhd-head': 1n });
  await t.rejects(offer(two, 'enable-shared-access', []), { message: /no head of the pool/ });
  await offer(one, 'prescriptive', [{ offset: 0n, len: 4n * MiB }]);
  await accept(one);
  t.equal(memoryOf(one).writeDpa(dpa(2n * MiB), bytes('from one')), undefined);
  t.equal(readAt(two, 2n * MiB, 8), 'unbacked');
  await offer(two, 'enable-shared-access', []);
  await accept(two);
  t.equal(map(name, 0, 3), '030300');
  t.equal(readAt(two, 2n * MiB, 8), 'from one');
  t.equal(memoryOf(two).writeDpa(dpa(0n), bytes('from two')), undefined);
  t.equal(readAt(one, 0n, 8), 'from two');
  await detach(two);
  t.equal(map(name, 0, 3), '010100');
});

t.test('what is to be erased is erased before others can have it', needsNative, async (t) => {
  const name = poolName(t);
  const [one, two] = [await machine(t), await machine(t)];
  await attach(one, name);
  await attach(two, name, { 'mhd-head': 1n });
  await add(one, 0, 4);
  await accept(one);
  memoryOf(one).writeDpa(dpa(0n), bytes('a secret'));
  await one.run('cxl-release-dynamic-capacity', {
    ...{ path: 'h', 'host-id': 0n, 'removal-policy': 'prescriptive', region: 0n },
    ...{ 'sanitize-on-release': true, extents: [{ offset: 0n, len: 4n * MiB }] },
  });
  await one.run('guest-cxl-release', { id: 'h', extents: [{ 'start-dpa': 0n, len: 4n * MiB }] });
  await add(one, 0, 4);
  await accept(one);
  t.equal(readAt(one, 0n, 8), '\0'.repeat(8));
});

const fabricOf = (m: TestMachine) => {
  const device = asCxlMemoryDevice(deviceOf(m));
  if (device === undefined) throw new Error('no memory device');
  return device.state.fabric;
};

t.test('the fabric manager reserves as QMP does, and sees the heads', needsNative, async (t) => {
  const name = poolName(t);
  const [one, two] = [await machine(t), await machine(t)];
  await attach(one, name);
  await attach(two, name, { 'mhd-head': 1n });
  const fabricAdd = (m: TestMachine, extents: readonly Extent[]): number => {
    const input = new Uint8Array(32 + 40 * extents.length);
    input[2] = 2;
    input[28] = extents.length;
    for (const [i, extent] of extents.entries()) input.set(packExtent(extent), 32 + 40 * i);
    return fabricOf(m).execute(0x5604, input).code;
  };
  const plain = { tag: '0'.repeat(32), sequence: 0 };
  t.equal(fabricAdd(one, [{ ...plain, base: 0n, len: 4n * MiB }]), 0);
  t.equal(map(name, 0, 3), '010100');
  t.equal(fabricAdd(two, [{ ...plain, base: 2n * MiB, len: 2n * MiB }]), 2, 'somebody has it');
  t.equal(fabricAdd(two, []), 2);
  t.equal(map(name, 0, 3), '010100');
  const { output } = fabricOf(two).execute(0x5500, Uint8Array.of(0, 8));
  t.equal(Buffer.from(output).toString('hex'), '08080000000800000001ffffffffffff');
});

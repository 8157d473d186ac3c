import t from 'tap';
import { ArrayMemory } from '../../support/pci.js';
import { fetchAll, LENGTH, loadAll, pagesOf } from '../../support/state-stream.js';
import { fakeTarget } from '../../support/state-target.js';

const STATES = [0, 1, 2, 3];

t.test('every transition, with what it does to activity and session (§3)', (t) => {
  for (const from of STATES)
    for (const to of STATES) {
      const { control, activity, memory, changes } = fakeTarget();
      control.setState(from);
      if (from >= 2) fetchAll(control);
      memory.write(0n, Uint8Array.of(1));
      const pass = control.info().pass;
      changes.length = 0;
      control.setState(to);
      const what = `${String(from)} to ${String(to)}`;
      t.equal(control.state, to, what);
      t.equal(activity.stopped, (to & 1) === 1, `${what}: stopped`);
      t.strictSame(changes, from === to ? [] : [[from, to]], `${what}: told`);
      const kept = from >= 2 && to >= 2;
      const dirty = to < 2 ? 0 : kept ? 1 : 5;
      t.equal(control.info().dirtyPages, dirty, `${what}: dirty pages`);
      t.equal(control.info().pass, kept ? pass : 0, `${what}: passes`);
    }
  t.end();
});

t.test('states that are none are refused, and the state stays', (t) => {
  const { control, changes } = fakeTarget();
  for (const state of STATES) {
    control.setState(state);
    for (const none of [4, 5, 7, 0x8000_0000, 0xffff_ffff]) {
      changes.length = 0;
      t.throws(() => control.setState(none), { errno: 'EINVAL', message: /none of 0 to 3/ });
      t.equal(control.state, state);
      t.strictSame(changes, []);
    }
  }
  t.end();
});

t.test('a device that others hold too goes on when all let go', (t) => {
  const { control, activity } = fakeTarget();
  const release = activity.hold();
  control.setState(1);
  release();
  t.equal(activity.stopped, true);
  control.setState(0);
  t.equal(activity.stopped, false);
  t.end();
});

t.test('a load that is not complete keeps the device from running, whatever comes between', (t) => {
  const { control, memory } = fakeTarget();
  const other = fakeTarget();
  other.memory.write(0n, new Uint8Array(20_000).fill(7));
  const stream = fetchAll(other.control);
  control.setState(1);
  control.announceMemory(BigInt(stream.length));
  for (const state of [0, 2])
    t.throws(() => control.setState(state), { errno: 'EINVAL', message: /not complete/ });
  control.setState(3);
  for (const state of [0, 2])
    t.throws(() => control.setState(state), { name: 'StateError', errno: 'EINVAL' });
  t.equal(control.memorySize(), stream.length, 'the announced length, and no pass');
  t.equal(control.info().pass, 0);
  t.throws(() => control.memoryChunk(0n, LENGTH), { name: 'StateError', errno: 'EBUSY' });
  t.throws(() => control.announceMemory(0n), { errno: 'EBUSY', message: /needs state 1/ });
  control.setState(1);
  loadAll(control, stream);
  control.setState(0);
  t.equal(memory.bytes[19_999], 7);
  t.end();
});

t.test('what was announced reads back until the load ends', (t) => {
  const { control } = fakeTarget();
  control.setState(1);
  control.announceConfig(96n, 4096);
  control.announceMemory(100n);
  t.strictSame([control.configSize(), control.memorySize()], [96, 100]);
  control.announceConfig(0n, 4096);
  control.announceMemory(0n);
  t.strictSame([control.configSize(), control.memorySize()], [32 + 16 + 64, 20_048]);
  t.equal(control.loading, false);
  t.end();
});

t.test('loads need state 1, data that was announced, and its place', (t) => {
  const { control } = fakeTarget();
  const region = new Uint8Array(LENGTH);
  for (const state of [0, 2, 3]) {
    control.setState(state);
    t.throws(() => control.announceMemory(1n), { name: 'StateError', errno: 'EBUSY' });
    t.throws(() => control.announceConfig(1n, 4096), { name: 'StateError', errno: 'EBUSY' });
    t.throws(() => control.loadMemoryChunk(0n, region), { name: 'StateError', errno: 'EBUSY' });
    t.throws(() => control.loadConfig(region), { name: 'StateError', errno: 'EBUSY' });
  }
  control.setState(1);
  t.throws(() => control.loadMemoryChunk(0n, region), { name: 'StateError', errno: 'EINVAL' });
  t.throws(() => control.loadConfig(region), { name: 'StateError', errno: 'EINVAL' });
  control.announceMemory(4096n);
  t.throws(() => control.loadMemoryChunk(4096n, region), { errno: 'EINVAL', message: /beyond/ });
  t.end();
});

t.test('a container tells whether it was taken in LOGGING, whatever is in it (§8)', (t) => {
  const { control } = fakeTarget();
  for (const [state, flags, pass] of [
    [0, 1, 0],
    [1, 1, 0],
    [2, 0, 1],
    [3, 0, 2],
  ] as const) {
    control.setState(state);
    const config = Buffer.from(control.configSnapshot());
    t.strictSame([config.readUInt32LE(8), config.readUInt32LE(12)], [flags, 0], 'configuration');
    if (pass > 0) control.memorySize();
    const memory = Buffer.from(control.memoryChunk(0n, LENGTH));
    t.strictSame([memory.readUInt32LE(8), memory.readUInt32LE(12)], [flags, pass], 'memory');
  }
  const logged = control.configSnapshot();
  control.setState(1);
  control.announceConfig(BigInt(logged.length), 4096);
  control.loadConfig(logged);
  t.equal(control.loading, false, 'and is loaded either way');
  t.end();
});

t.test('a configuration that is refused leaves the device as it was', (t) => {
  const { control, config } = fakeTarget();
  const good = control.configSnapshot();
  control.setState(1);
  const region = new Uint8Array(4096);
  const attempts: [string, (bytes: Uint8Array) => void][] = [
    ['magic', (bytes) => (bytes[0] = 0)],
    ['version', (bytes) => (bytes[4] = 2)],
    ['kind', (bytes) => (bytes[6] = 2)],
    ['flags', (bytes) => (bytes[8] = 4)],
    ['capacity', (bytes) => (bytes[16] = 65)],
    ['records', (bytes) => (bytes[24] = 2)],
    ['checksum', (bytes) => (bytes[28] = (bytes[28] ?? 0) ^ 1)],
    ['data', (bytes) => (bytes[50] = 1)],
  ];
  for (const [what, damage] of attempts) {
    region.set(good);
    damage(region);
    control.announceConfig(BigInt(good.length), 4096);
    t.throws(() => control.loadConfig(region), { name: 'StateError', errno: 'EINVAL' }, what);
    t.ok(config.every((byte) => byte === 0));
    t.throws(
      () => control.setState(0),
      { name: 'StateError', errno: 'EINVAL' },
      'it is not loaded',
    );
  }
  region.set(good);
  control.loadConfig(region);
  control.setState(0);
  t.end();
});

t.test('sizes at their limits: of the region, and of the device', (t) => {
  const { control } = fakeTarget();
  control.setState(1);
  control.announceConfig(4096n, 4096);
  t.throws(() => control.announceConfig(4097n, 4096), { name: 'StateError', errno: 'EFBIG' });
  t.equal(control.configSize(), 4096, 'the previous size is kept');
  const most = BigInt(32 + 5 * 16 + 20_000);
  control.announceMemory(most);
  t.throws(() => control.announceMemory(most + 1n), { name: 'StateError', errno: 'EFBIG' });
  t.throws(() => control.announceMemory((1n << 64n) - 1n), { name: 'StateError', errno: 'EFBIG' });
  t.equal(control.memorySize(), Number(most));
  t.end();
});

t.test('a snapshot is as large as a pass may be, and no larger', (t) => {
  const fits = fakeTarget(8192, { passBytes: 8192 });
  t.equal(fetchAll(fits.control).length, 48 + 8192);
  const over = fakeTarget(8193, { passBytes: 8192 });
  t.equal(over.control.memorySize(), 48 + 8193, 'the size is told');
  t.throws(() => over.control.memoryChunk(0n, LENGTH), { errno: 'EFBIG', message: /8193.*8192/ });
  t.end();
});

t.test('memory above the limit comes in several passes, each page in its turn', (t) => {
  const { control, memory } = fakeTarget(10 * 4096, { passBytes: 4 * 4096 });
  control.setState(2);
  const seen: number[][] = [];
  const pass = (): void => void seen.push(pagesOf(fetchAll(control), 10 * 4096));
  pass();
  memory.write(0n, Uint8Array.of(1));
  pass();
  pass();
  t.strictSame(seen, [
    [0, 1, 2, 3],
    [4, 5, 6, 7],
    [8, 9, 0],
  ]);
  t.equal(control.memorySize(), 0);
  t.equal(control.info().pass, 3);
  t.end();
});

t.test('a pass that was not fetched whole is put back', (t) => {
  const { control, memory } = fakeTarget(5 * 4096);
  control.setState(2);
  control.memorySize();
  control.memoryChunk(0n, LENGTH);
  t.equal(control.info().pending, 5 * 4096, 'nothing of it counts as brought');
  t.equal(fetchAll(control).length, 48 + 5 * 4096, 'all of it again');
  t.equal(control.info().pending, 0);
  memory.write(4096n, Uint8Array.of(1));
  const size = control.memorySize();
  t.equal(size, 48 + 4096);
  memory.write(8192n, Uint8Array.of(1));
  t.strictSame(pagesOf(fetchAll(control), 5 * 4096), [1, 2]);
  t.equal(control.info().pass, 4);
  t.end();
});

t.test('no pass was taken: the first chunk takes one, others are refused', (t) => {
  const { control } = fakeTarget();
  control.setState(2);
  t.throws(() => control.memoryChunk(4096n, LENGTH), { errno: 'EINVAL', message: /no pass/ });
  t.equal(control.memoryChunk(0n, LENGTH).length, LENGTH);
  t.equal(control.info().pass, 1);
  t.end();
});

t.test('a device that gets other memory during a session is copied whole again', (t) => {
  const { control, memories } = fakeTarget();
  control.setState(2);
  fetchAll(control);
  memories.add('more', new ArrayMemory(4096));
  const stream = fetchAll(control);
  t.strictSame(pagesOf(stream, 24_096), [0, 1, 2, 3, 4, 5]);
  t.equal(control.info().pass, 2);
  t.end();
});

t.test('memory that cannot be written is no part of the state', (t) => {
  const { control, memories } = fakeTarget(8192);
  const rom = new ArrayMemory(4096);
  memories.add('rom', Object.defineProperty(rom, 'readonly', { value: true }));
  t.equal(control.info().memorySize, 8192);
  t.equal(control.memorySize(), 48 + 8192);
  control.setState(2);
  t.equal(fetchAll(control).length, 48 + 8192);
  t.end();
});

t.test('a device that has left answers ENODEV, and runs', (t) => {
  const { control, activity } = fakeTarget();
  control.setState(3);
  control.close();
  t.equal(activity.stopped, false);
  t.throws(() => control.setState(0), { errno: 'ENODEV', message: /dev0' has left/ });
  t.throws(() => control.memorySize(), { name: 'StateError', errno: 'ENODEV' });
  t.throws(() => control.configSize(), { name: 'StateError', errno: 'ENODEV' });
  t.throws(() => control.systemPages(0n, 1n, true), { name: 'StateError', errno: 'ENODEV' });
  t.end();
});

t.test('a reset in any state: running, logs empty, nothing half loaded (§3)', (t) => {
  for (const state of STATES) {
    const { control, activity, changes, dma } = fakeTarget();
    control.setState(state);
    dma(0n, 4096);
    if (state === 1) control.announceMemory(10n);
    changes.length = 0;
    activity.reset();
    t.equal(control.state, 0);
    t.equal(activity.stopped, false);
    t.equal(control.loading, false);
    t.strictSame(changes, state === 0 ? [] : [[state, 0]]);
    t.match(control.info(), { dirtyPages: 0, dirtySystemPages: 0, pass: 0 });
  }
  t.end();
});

/** What a client and the guest side may do in a session. */

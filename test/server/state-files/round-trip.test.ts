import * as fs from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import {
  needsNative,
  randomBytes,
  savedDevice,
  type SavedDevice,
} from '../../support/saved-device.js';

const MiB = 1 << 20;
const fill = ({ memories }: SavedDevice, seed: number): void => {
  for (const [i, memory] of memories.entries())
    memory.write(0n, randomBytes(seed + i, Number(memory.size)));
};

t.test('a device is saved to a file and loaded into another one', needsNative, async (t) => {
  const sizes = [BigInt(3 * MiB + 5000), 4096n, BigInt(MiB)];
  const [source, target] = [await savedDevice(t, sizes), await savedDevice(t, sizes)];
  fill(source, 1);
  fill(target, 100);
  source.entry.device.load({ ...source.entry.device.save() });
  const path = join(t.testdir(), 'state');
  const saved = (await source.run('device-save', { id: 'd', path })) as Record<string, bigint>;
  t.equal(saved['bytes'], BigInt(fs.statSync(path).size));
  t.equal(
    saved['memory-size'],
    sizes.reduce((a, b) => a + b),
  );
  t.notOk('data' in saved);
  t.equal(fs.statSync(path).mode & 0o777, 0o600, 'for its owner alone');
  t.notOk(source.entry.activity.stopped, 'the device goes on');
  await target.run('device-state-set', { id: 'd', state: 'stop' });
  t.strictSame(await target.run('device-load', { id: 'd', path }), undefined);
  t.ok(target.snapshot().equals(source.snapshot()));
  await target.run('device-state-set', { id: 'd', state: 'running' });
  t.notOk(target.entry.activity.stopped, 'and so does the other one');
});

t.test('a device is saved inline, by its path', needsNative, async (t) => {
  const source = await savedDevice(t, [65_536n]);
  fill(source, 2);
  const before = source.snapshot();
  const id = '/machine/peripheral/d';
  const { data, bytes } = (await source.run('device-save', { id })) as {
    data: string;
    bytes: bigint;
  };
  t.equal(BigInt(Buffer.from(data, 'base64').length), bytes);
  fill(source, 3);
  await source.run('device-state-set', { id: 'd', state: 'stop' });
  await source.run('device-load', { id, data });
  t.ok(source.snapshot().equals(before));
});

t.test('the same device has the same bytes', needsNative, async (t) => {
  const [a, b] = [await savedDevice(t, [8192n]), await savedDevice(t, [8192n])];
  t.strictSame(await a.run('device-save', { id: 'd' }), await b.run('device-save', { id: 'd' }));
});

t.test('what was written, and nothing else, is there afterwards', needsNative, async (t) => {
  const pages = 300;
  const sizes = [BigInt(pages * 4096 + 100), BigInt(pages * 4096)];
  const [source, target] = [await savedDevice(t, sizes), await savedDevice(t, sizes)];
  await target.run('device-state-set', { id: 'd', state: 'stop' });
  const place = fc.record({
    memory: fc.nat(1),
    page: fc.nat(pages - 1),
    length: fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 1, max: 2 * MiB })),
    byte: fc.nat(255),
  });
  const write = (
    { memories }: SavedDevice,
    places: (typeof place extends fc.Arbitrary<infer T> ? T : never)[],
  ): void => {
    for (const { memory: index, page, length, byte } of places) {
      const memory = memories[index];
      const at = BigInt(page * 4096);
      const left = Number((memory?.size ?? 0n) - at);
      memory?.write(at, new Uint8Array(Math.min(length, left)).fill(byte));
    }
  };
  const wipe = ({ memories }: SavedDevice): void => {
    for (const memory of memories) memory.write(0n, new Uint8Array(Number(memory.size)));
  };
  await fc.assert(
    fc.asyncProperty(fc.array(place, { maxLength: 20 }), fc.array(place), async (mine, theirs) => {
      wipe(source);
      write(source, mine);
      write(target, theirs);
      const { data } = (await source.run('device-save', { id: 'd' })) as { data: string };
      await target.run('device-load', { id: 'd', data });
      return target.snapshot().equals(source.snapshot());
    }),
    { numRuns: 20 },
  );
});

t.test('a sparse device takes little room and time', needsNative, async (t) => {
  const sizes = [BigInt(64 * 1024 * MiB), BigInt(16 * 1024 * MiB)];
  const [source, target] = [await savedDevice(t, sizes), await savedDevice(t, sizes)];
  await target.run('device-state-set', { id: 'd', state: 'stop' });
  const places = [0n, 5_000_000_000n, BigInt(16 * 1024 * MiB) - 1n];
  for (const memory of source.memories) for (const place of places) memory.writeInt(place, 1, 7n);
  for (const memory of target.memories) memory.writeInt(9_000_000_000n, 1, 1n);
  const path = join(t.testdir(), 'state');
  await source.run('device-save', { id: 'd', path });
  t.ok(fs.statSync(path).size < 100_000);
  await target.run('device-load', { id: 'd', path });
  for (const memory of target.memories) {
    for (const place of places) t.equal(memory.readInt(place, 1), 7n);
    t.equal(memory.readInt(9_000_000_000n, 1), 0n, 'what the state has not is zero');
  }
});

import * as fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { HostMemory } from '../../../devices/core/host-memory.js';
import { NativeHostMemory } from '../../../server/os/host-memory.js';
import { NativeLoader } from '../../../server/os/native.js';

const loader = new NativeLoader();
const service = new NativeHostMemory(loader);
const needsNative = loader.status().native === 'full' ? {} : { skip: 'koffi is not installed' };

const MiB = 1n << 20n;
const GiB = 1n << 30n;

/** All pieces that are told, adjacent ones as one. */
const storedIn = (memory: HostMemory): { start: bigint; end: bigint }[] => {
  const found: { start: bigint; end: bigint }[] = [];
  let range = memory.stored?.(0n);
  for (; range !== undefined; range = memory.stored?.(range.end)) {
    const last = found.at(-1);
    if (range.end === range.start) continue;
    if (last?.end === range.start) last.end = range.end;
    else found.push({ ...range });
  }
  return found;
};
const covers = (ranges: readonly { start: bigint; end: bigint }[], at: bigint): boolean =>
  ranges.some(({ start, end }) => start <= at && at < end);

t.test('memory tells what has storage', needsNative, async (t) => {
  for (const share of [false, true])
    t.test(share ? 'shared' : 'private', async (t) => {
      const memory = service.anonymous({ size: 16n * GiB + 12_288n, share, name: 'sparse' });
      t.teardown(() => memory.close());
      t.strictSame(storedIn(memory), [], 'nothing at first');
      const places = [0n, 5n * MiB + 4095n, 7n * GiB - 1n, 15n * GiB, memory.size - 1n];
      for (const place of places) memory.writeInt(place, 1, 1n);
      const found = storedIn(memory);
      t.strictSame(
        places.filter((place) => !covers(found, place)),
        [],
      );
      const bytes = found.reduce((sum, { start, end }) => sum + end - start, 0n);
      t.ok(bytes <= 64n * MiB, `not much more than was written: ${String(bytes)}`);
      t.equal(memory.stored?.(memory.size), undefined, 'nothing behind the end');
      t.ok(covers([memory.stored?.(15n * GiB + 1n) ?? { start: 0n, end: 0n }], 15n * GiB + 1n));
    });
});

t.test('a file tells its holes, at its own offset', needsNative, async (t) => {
  const path = join(t.testdir(), 'file');
  fs.writeFileSync(path, '');
  fs.truncateSync(path, Number(4n * MiB));
  const file = service.open(path);
  t.teardown(() => file.close());
  const memory = file.map(MiB, 2n * MiB);
  t.teardown(() => memory.close());
  t.strictSame(storedIn(memory), []);
  memory.write(65_536n, new Uint8Array(100).fill(7));
  const found = storedIn(memory);
  t.ok(covers(found, 65_536n));
  t.ok(covers(found, 65_635n));
  t.notOk(covers(found, 0n));
  t.notOk(covers(found, 2n * MiB - 1n));
  fs.truncateSync(path, Number(2n * MiB));
  t.strictSame(storedIn(memory), [{ start: 0n, end: 2n * MiB }], 'what is gone is not zero');
  file.close();
  t.strictSame(storedIn(memory), [{ start: 0n, end: 2n * MiB }], 'nobody to ask');
});

t.test('private memory of a file, and of a device, may be anything', needsNative, async (t) => {
  const path = join(t.testdir(), 'file');
  fs.writeFileSync(path, Buffer.alloc(8192));
  const file = service.open(path);
  const zero = service.open('/dev/zero');
  for (const memory of [file.map(0n, 8192n, { share: false }), zero.map(0n, 8192n)]) {
    t.strictSame(storedIn(memory), [{ start: 0n, end: 8192n }]);
    memory.close();
  }
  file.close();
  zero.close();
});

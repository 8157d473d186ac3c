import { readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { MappedBytes } from '../../../server/os/atomic-bytes.js';
import { NativeLoader } from '../../../server/os/native.js';
import { NativeSharedObjects } from '../../../server/os/shared-objects.js';

const loader = new NativeLoader();
if (loader.load() === undefined) t.bailout('koffi is not installed');

t.test('bytes in words and single steps agree with a plain array', async () => {
  const SIZE = 40;
  const operation = fc.record({
    kind: fc.constantFrom('claim', 'set', 'clear', 'exchange', 'findSet', 'findClear'),
    at: fc.nat(SIZE - 1),
    length: fc.nat(SIZE),
    mask: fc.integer({ min: 1, max: 255 }),
    to: fc.nat(255),
  });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 20 }), (operations) => {
      const mapped = new MappedBytes(new ArrayBuffer(SIZE));
      const model = new Array<number>(SIZE).fill(0);
      for (const { kind, at, length: wanted, mask, to } of operations) {
        const end = Math.min(at + wanted, SIZE);
        const places = Array.from({ length: end - at }, (_, i) => at + i);
        const first = (test: (value: number) => boolean): number =>
          places.find((i) => test(model[i] ?? 0)) ?? -1;
        if (kind === 'claim') {
          const stop = first((value) => value !== 0);
          const count = stop < 0 ? end - at : stop - at;
          if (mapped.claim(at, end - at, mask) !== count) return false;
          model.fill(mask, at, at + count);
        } else if (kind === 'set') {
          mapped.setBits(at, end - at, mask);
          for (const i of places) model[i] = (model[i] ?? 0) | mask;
        } else if (kind === 'clear') {
          mapped.clearBits(at, end - at, mask);
          for (const i of places) model[i] = (model[i] ?? 0) & ~mask;
        } else if (kind === 'exchange') {
          mapped.exchangeBits(at, end - at, mask, to);
          for (const i of places) {
            const old = model[i] ?? 0;
            if ((old & mask) !== 0) model[i] = (old & ~mask) | to;
          }
        } else if (kind === 'findSet') {
          if (mapped.findSet(at, end - at, mask) !== first((v) => (v & mask) !== 0)) return false;
        } else if (mapped.findClear(at, end - at, mask) !== first((v) => (v & mask) !== mask))
          return false;
      }
      return model.every((value, i) => mapped.load(i) === value);
    }),
    { numRuns: 500 },
  );
});

t.test('ranges outside the object are refused', async (t) => {
  const bytes = new MappedBytes(new ArrayBuffer(8));
  const message = /outside a shared object of 8 bytes/;
  t.throws(() => bytes.load(8), { message });
  t.throws(() => bytes.store(-1, 0), { message });
  t.throws(() => bytes.claim(1, 8, 1), { message });
  t.throws(() => bytes.copy(0, 9), { message });
});

t.test('an object is created whole, once, and seen by others', async (t) => {
  const folder = t.testdir();
  const objects = new NativeSharedObjects(loader, folder);
  const content = new Uint8Array(5000).fill(7);
  const made = objects.create('one', content);
  t.teardown(() => made.close());
  t.strictSame(new Uint8Array(readFileSync(join(folder, 'one'))), content);
  t.equal(statSync(join(folder, 'one')).mode & 0o777, 0o666 & ~process.umask());
  t.throws(() => objects.create('one', content), { code: 'EEXIST' });
  t.strictSame(readdirSync(folder), ['one']);
  const other = objects.open('one');
  t.teardown(() => other.close());
  other.bytes.store(4999, 9);
  t.equal(made.bytes.load(4999), 9);
  t.equal(made.size, 5000);
});

t.test('what is no shared object is refused', async (t) => {
  const folder = t.testdir({ empty: '', folder: {}, file: 'x' });
  symlinkSync('file', join(folder, 'link'));
  const objects = new NativeSharedObjects(loader, folder);
  t.throws(() => objects.open('none'), { code: 'ENOENT' });
  t.throws(() => objects.open('empty'), { code: 'EINVAL' });
  t.throws(() => objects.open('folder'), { code: 'EISDIR' });
  t.throws(() => objects.open('link'), { code: 'ELOOP' });
  const open = readdirSync('/proc/self/fd').length;
  t.throws(() => objects.open('empty'), { code: 'EINVAL' });
  t.equal(readdirSync('/proc/self/fd').length, open);
});

t.test('locks exclude other open objects, of this process too', async (t) => {
  const folder = t.testdir();
  const objects = new NativeSharedObjects(loader, folder);
  const a = objects.create('one', new Uint8Array(1));
  const b = objects.open('one');
  t.teardown(() => a.close());
  t.ok(a.lock(3));
  t.ok(b.isLocked(3));
  t.notOk(a.isLocked(3), 'its own does not count');
  t.notOk(b.lock(3));
  t.notOk(b.lock(3, 5), 'also after waiting');
  t.ok(b.lock(4), 'another number is free');
  b.close();
  b.close();
  t.notOk(a.isLocked(4), 'closing gives locks up');
  a.unlock(3);
  const again = objects.open('one');
  t.ok(again.lock(3));
  again.close();
});

t.test('a name that leads elsewhere, a cut object', async (t) => {
  const folder = t.testdir();
  const objects = new NativeSharedObjects(loader, folder);
  const object = objects.create('one', new Uint8Array(10));
  t.teardown(() => object.close());
  t.ok(object.isLinked() && object.isWhole());
  writeFileSync(join(folder, 'one'), '123');
  t.notOk(object.isWhole());
  object.unlink();
  object.unlink();
  t.notOk(object.isLinked());
  objects.create('one', new Uint8Array(10)).close();
  t.notOk(object.isLinked(), 'another object of that name');
});

t.test('without the native layer objects are refused with what is missing', async (t) => {
  const objects = new NativeSharedObjects(new NativeLoader({ disabled: true }));
  const message = /^shared memory needs the optional package koffi/;
  t.throws(() => objects.open('one'), { code: 'ENOTSUP', message });
  t.throws(() => objects.create('one', new Uint8Array(1)), { code: 'ENOTSUP', message });
});

import fc from 'fast-check';
import t from 'tap';
import { DIRTY_PAGE, DirtyLog, type Watched } from '../../../devices/core/dirty-log.js';

const watched = (size: bigint) => {
  const hooks = new Set<(offset: bigint, len: number) => void>();
  const memory: Watched = {
    size,
    onWrite: (hook) => {
      hooks.add(hook);
      return () => void hooks.delete(hook);
    },
  };
  const write = (offset: bigint, len: number) => hooks.forEach((hook) => hook(offset, len));
  return { memory, write, hooks };
};

t.test('follows writes until it is closed', (t) => {
  const { memory, write, hooks } = watched(20_000n);
  const log = new DirtyLog(memory);
  t.equal(log.dirtyPages, 0);
  write(5000n, 1);
  write(17_000n, 1);
  t.strictSame(log.take(), [
    { offset: 4096, length: 4096 },
    { offset: 16_384, length: 3616 },
  ]);
  t.strictSame([log.dirtyPages, log.take()], [0, []]);
  log.close();
  t.equal(hooks.size, 0);
  t.end();
});

t.test('pages beyond 2^32 bytes and beyond 2^31 pages', (t) => {
  const size = 2n ** 40n;
  const { memory, write } = watched(size);
  const log = new DirtyLog(memory);
  write(size - 1n, 1);
  write(2n ** 33n, 8192);
  t.strictSame(log.take(), [
    { offset: 2 ** 33, length: 8192 },
    { offset: Number(size) - 4096, length: 4096 },
  ]);
  t.end();
});

t.test('is a set of pages', (t) => {
  const range = fc.tuple(fc.nat(999_999), fc.nat(50_000));
  const size = 1_000_000;
  fc.assert(
    fc.property(fc.array(range), fc.nat(300), fc.nat(40), (ranges, from, limit) => {
      const { memory } = watched(BigInt(size));
      const log = new DirtyLog(memory);
      const model = new Set<number>();
      for (const [offset, given] of ranges) {
        const length = Math.min(given, size - offset);
        log.mark(offset, length);
        for (let at = offset; at < offset + length; at++) model.add(Math.floor(at / DIRTY_PAGE));
      }
      t.equal(log.dirtyPages, model.size);
      const expected = [...model].sort((a, b) => a - b).filter((page) => page >= from);
      const taken = log.take(from, limit).flatMap(({ offset, length }) => {
        const first = offset / DIRTY_PAGE;
        return Array.from({ length: Math.ceil(length / DIRTY_PAGE) }, (_, i) => first + i);
      });
      t.strictSame(taken, expected.slice(0, limit));
      t.equal(log.dirtyPages, model.size - taken.length);
      t.notOk(taken.some((page) => log.isDirty(page)));
    }),
    { numRuns: 60 },
  );
  t.end();
});

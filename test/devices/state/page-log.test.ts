import fc from 'fast-check';
import t from 'tap';
import { checkStart, PageLog } from '../../../devices/state/page-log.js';

const bits = (bytes: Uint8Array): number[] => {
  const found: number[] = [];
  for (const [i, byte] of bytes.entries())
    for (let bit = 0; byte >> bit !== 0; bit++) if ((byte >> bit) & 1) found.push(i * 8 + bit);
  return found;
};

t.test('a write marks every page that has a byte of it', (t) => {
  const log = new PageLog();
  log.mark(0x10_0000n, 1);
  log.mark(0x10_7000n, 4096);
  log.mark(0x16_3ffen, 4);
  log.mark(0x20_0000n, 0);
  t.equal(log.count, 4);
  t.strictSame(bits(log.bitmap(0x100, 101, false)), [0, 7, 99, 100]);
  t.end();
});

t.test('pages at the ends of leaves, and of the address space', (t) => {
  const log = new PageLog();
  const leaf = 1n << 27n;
  log.mark(leaf - 1n, 2);
  log.mark((1n << 64n) - 1n, 1);
  t.strictSame(bits(log.bitmap(32_767, 2, false)), [0, 1]);
  t.strictSame(bits(log.bitmap(2 ** 52 - 1, 1, false)), [0]);
  t.end();
});

t.test('a bitmap has whole words, and nothing past the range', (t) => {
  const log = new PageLog();
  log.mark(0n, 4096 * 130);
  for (const [pages, length] of [
    [1, 8],
    [64, 8],
    [65, 16],
    [129, 24],
  ] as const) {
    const bitmap = log.bitmap(0, pages, false);
    t.equal(bitmap.length, length);
    t.equal(bits(bitmap).length, pages);
  }
  t.end();
});

t.test('whatever was marked: a range is told once, others stay', (t) => {
  const marks = fc.array(fc.tuple(fc.nat(70_000), fc.integer({ min: 1, max: 3 })), {
    maxLength: 20,
  });
  fc.assert(
    fc.property(marks, fc.nat(70_000), fc.integer({ min: 1, max: 70_000 }), (all, first, count) => {
      const log = new PageLog();
      const model = new Set<number>();
      for (const [page, pages] of all) {
        log.mark(BigInt(page) * 4096n, pages * 4096);
        for (let n = 0; n < pages; n++) model.add(page + n);
      }
      const inside = [...model].filter((page) => page >= first && page < first + count);
      const expected = inside.map((page) => page - first).sort((a, b) => a - b);
      const asked = bits(log.bitmap(first, count, false)).join();
      const taken = bits(log.bitmap(first, count, true)).join();
      const again = bits(log.bitmap(first, count, true)).length;
      const same = asked === expected.join() && taken === asked && again === 0;
      return same && log.count === model.size - inside.length;
    }),
    { numRuns: 100 },
  );
  t.end();
});

t.test('a query begins at a page', (t) => {
  checkStart(0n);
  checkStart((1n << 64n) - 4096n);
  for (const start of [1n, 4095n, (1n << 64n) - 1n])
    t.throws(() => checkStart(start), { errno: 'EINVAL', message: /no multiple of 4096/ });
  t.end();
});

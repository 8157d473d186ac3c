import fc from 'fast-check';
import t from 'tap';
import { IntervalSet } from '../../../devices/core/interval-set.js';

const SPACE = 64;
const interval = fc
  .tuple(fc.integer({ min: 0, max: SPACE - 1 }), fc.integer({ min: 0, max: 20 }))
  .map(([base, len]) => ({ base: BigInt(base), len: BigInt(Math.min(len, SPACE - base)) }));
const step = fc.record({ add: fc.boolean(), interval });

t.test('behaves as a set of addresses', async () => {
  fc.assert(
    fc.property(fc.array(step), interval, (steps, asked) => {
      const set = new IntervalSet();
      const model = new Set<bigint>();
      for (const {
        add,
        interval: { base, len },
      } of steps) {
        if (add) set.add({ base, len });
        else set.delete({ base, len });
        for (let at = base; at < base + len; at++)
          if (add) model.add(at);
          else model.delete(at);
      }
      const inside: bigint[] = [];
      for (let at = asked.base; at < asked.base + asked.len; at++)
        if (model.has(at)) inside.push(at);
      const listed = (parts: readonly { base: bigint; len: bigint }[]): bigint[] =>
        parts.flatMap(({ base, len }) =>
          Array.from({ length: Number(len) }, (_, i) => base + BigInt(i)),
        );
      t.equal(set.size, BigInt(model.size));
      t.strictSame(
        listed(set.intervals),
        [...model].sort((a, b) => Number(a - b)),
      );
      t.equal(set.covers(asked), BigInt(inside.length) === asked.len);
      t.equal(set.overlaps(asked), inside.length > 0);
      t.strictSame(listed(set.within(asked)), inside);
      t.equal(BigInt(listed(set.gaps(asked)).length), asked.len - BigInt(inside.length));
      const { intervals } = set;
      intervals.slice(1).forEach(({ base }, i) => {
        const before = intervals[i];
        t.ok(before !== undefined && before.base + before.len < base, 'neither touch nor overlap');
      });
    }),
  );
});

import {
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import type { Test } from 'tap';
import { Pool } from '../../../devices/cxl-mhsld/pool.js';
import type { AttachOptions } from '../../../devices/cxl-mhsld/pool.js';
import { NativeLoader } from '../../../server/os/native.js';
import { NativeSharedObjects } from '../../../server/os/shared-objects.js';

const loader = new NativeLoader();
if (loader.load() === undefined) t.bailout('koffi is not installed');

const BLOCKS = 2048;
const OWNERS = 24;

/** A pool of 4 GiB in a folder of its own, and what becomes of its object. */
const startPool = (t: Test, blocks = BLOCKS) => {
  const folder = t.testdir();
  const path = join(folder, 'state');
  const objects = new NativeSharedObjects(loader, folder);
  const pools: Pool[] = [];
  t.teardown(() => pools.forEach((pool) => pool.detach()));
  const attach = (head: number, options: Partial<AttachOptions> = {}): Pool => {
    const given = { name: 'state', head, blocks, init: pools.length === 0, adopt: false };
    const pool = Pool.attach(objects, { ...given, ...options });
    pools.push(pool);
    return pool;
  };
  const bytes = (): Buffer => readFileSync(path);
  const map = (first: number, last = first): number[] => [
    ...bytes().subarray(OWNERS + first, OWNERS + last + 1),
  ];
  return { folder, path, objects, attach, bytes, map };
};
const range = (first: number, count: number) => ({ first, count });
const same = (value: number, count: number): number[] => new Array<number>(count).fill(value);

t.test('a new object is byte for byte the layout of reference/cxl.md §9.2', async (t) => {
  const { attach, bytes } = startPool(t);
  attach(0);
  const expected = Buffer.alloc(OWNERS + BLOCKS);
  expected.set([8, 8, 0, 255, 255, 255, 255, 255, 255, 255]);
  expected.writeBigUInt64LE(2048n, 16);
  t.strictSame(bytes(), expected);
});

t.test('claims of two heads on the same blocks (vector M1)', async (t) => {
  const { attach, map } = startPool(t);
  const [zero, one] = [attach(0), attach(1)];
  t.equal(zero.claim([range(0, 32)]), undefined);
  t.strictSame(one.claim([range(16, 32)]), { block: 16, heads: [0] });
  t.strictSame(map(0, 31), same(1, 32));
  t.strictSame(map(32, 47), same(0, 16), 'the loser leaves no trace');
  t.equal(one.claim([range(32, 32)]), undefined);
  t.strictSame(map(32, 63), same(2, 32));
});

t.test('a failed claim of several extents undoes them all (vectors M2, M3)', async (t) => {
  const { attach, map } = startPool(t);
  const [zero, one] = [attach(0), attach(1)];
  one.claim([range(200, 10)]);
  t.strictSame(zero.claim([range(0, 4), range(8, 2), range(200, 4)]), { block: 200, heads: [1] });
  t.strictSame(map(0, 9), same(0, 10));
  t.strictSame(map(200, 209), same(2, 10));
  zero.claim([range(5, 1)]);
  one.claim([range(7, 1)]);
  t.strictSame(zero.claim([range(4, 4)]), { block: 5, heads: [0] });
  t.strictSame(map(4, 7), [0, 1, 0, 2], 'what was its own before stays');
});

t.test('a dead head keeps its blocks until it comes back, adopts or is freed (M11)', async (t) => {
  const { attach, map, folder, objects } = startPool(t);
  const zero = attach(0);
  const dead = Pool.attach(objects, {
    name: 'state',
    head: 2,
    blocks: BLOCKS,
    init: false,
    adopt: false,
  });
  dead.claim([range(100, 100)]);
  t.throws(() => attach(2), { message: "head 2 of mhsld state 'state' is in use" });
  t.throws(() => zero.freeHead(2), { message: "head 2 of mhsld state 'state' is attached" });
  // What the object looks like after a kill: the bits stay, the lock does not.
  copyFileSync(join(folder, 'state'), join(folder, 'after-kill'));
  dead.detach();
  const others = { name: 'after-kill', init: false };
  const survivor = attach(1, others);
  t.strictSame(survivor.heads()[2], { head: 2, state: 'dead', blocks: 100 });
  const adopted = attach(2, { ...others, adopt: true });
  t.ok(adopted.owns(range(100, 100)));
  adopted.detach();
  t.equal(survivor.heads()[2]?.state, 'free');
  t.strictSame(map(100, 199), same(0, 100));
});

t.test('a survivor frees a dead head, a new head of that number starts empty', async (t) => {
  const { attach, folder } = startPool(t);
  const two = attach(2);
  two.claim([range(100, 100)]);
  for (const name of ['first', 'second']) copyFileSync(join(folder, 'state'), join(folder, name));
  const survivor = attach(3, { name: 'first', init: false });
  t.equal(survivor.freeHead(2), 100);
  t.strictSame(survivor.heads()[2], { head: 2, state: 'free', blocks: 0 });
  t.strictSame(survivor.owners(), []);
  const restarted = attach(2, { name: 'second', init: false });
  t.strictSame(restarted.owners(), []);
  t.equal(restarted.logicalDevices()[2], 2);
});

t.test('the last one out removes the object (M12)', async (t) => {
  const { attach, path, map } = startPool(t);
  const [zero, one] = [attach(0), attach(1)];
  zero.claim([range(0, 4)]);
  one.claim([range(4, 4)]);
  zero.detach();
  t.strictSame(map(0, 7), [...same(0, 4), ...same(2, 4)]);
  const three = attach(3, { init: false });
  t.strictSame([...three.logicalDevices()], [255, 1, 255, 3, 255, 255, 255, 255]);
  t.strictSame(three.owners(), [{ first: 4, count: 4, heads: [1] }]);
  one.detach();
  t.ok(existsSync(path));
  three.detach();
  three.detach();
  t.notOk(existsSync(path));
  t.throws(() => attach(4, { init: false }), { message: 'failed to open mhsld state errno 2' });
});

t.test(
  'an object that is not what the device expects is refused and not written (M13)',
  async (t) => {
    const { attach, path, bytes } = startPool(t);
    const zero = attach(0);
    zero.claim([range(0, 4)]);
    const before = bytes();
    attach(1, { init: true }).detach();
    t.strictSame(bytes(), before, 'a live object is joined, not made anew');
    const refuses = (message: string): void => {
      const held = bytes();
      t.throws(() => attach(5), { message });
      t.strictSame(bytes(), held, message);
    };
    t.throws(() => attach(5, { blocks: 1024 }), {
      message: "mhsld state 'state' has 2048 blocks, the device 1024",
    });
    zero.detach();
    writeFileSync(path, before);
    const good = bytes();
    const patched = (offset: number, ...values: number[]): void => {
      const copy = Buffer.from(good);
      copy.set(values, offset);
      writeFileSync(path, copy);
    };
    patched(0, 0);
    refuses("mhsld state 'state' has 0 heads, not 8");
    patched(1, 200);
    refuses("mhsld state 'state' has 200 logical devices, not 8");
    patched(16, 0, 16);
    refuses("mhsld state 'state' has 4096 blocks, the device 2048");
    writeFileSync(path, good.subarray(0, 100));
    refuses("mhsld state 'state' has 100 bytes, which no layout of 2048 blocks has");
    writeFileSync(path, good.subarray(0, 23));
    refuses("mhsld state 'state' has 23 bytes, too few for a header of 24");
    writeFileSync(path, '');
    refuses("mhsld state 'state' is empty or no regular file");
  },
);

t.test('the later layout with link information is recognised by its size', async (t) => {
  const { attach, path } = startPool(t);
  const content = Buffer.alloc(96 + BLOCKS);
  content.set([8, 8]);
  content.writeBigUInt64LE(2048n, 16);
  content.fill(0x5a, 24, 96);
  content[96 + 3] = 4;
  writeFileSync(path, content);
  const zero = attach(0, { init: false });
  t.strictSame(zero.owners(), [{ first: 3, count: 1, heads: [2] }]);
  t.strictSame(zero.claim([range(0, 4)]), { block: 3, heads: [2] });
  zero.claim([range(0, 3)]);
  const now = readFileSync(path);
  t.strictSame([...now.subarray(96, 100)], [1, 1, 1, 4]);
  t.ok(now.subarray(24, 96).every((byte) => byte === 0x5a));
});

t.test('an object that was cut is not touched any more', async (t) => {
  const { attach, path } = startPool(t, 65536);
  const zero = attach(0);
  zero.claim([range(60000, 10)]);
  truncateSync(path, 4096);
  t.throws(() => zero.claim([range(0, 1)]), {
    message: "mhsld state 'state' has lost bytes since it was opened",
  });
  zero.release([range(60000, 10)]);
  t.strictSame(zero.owners(), []);
  truncateSync(path, 0);
  t.strictSame(
    zero.heads().map(({ state, blocks }) => [state, blocks]),
    [['attached', 0], ...Array.from({ length: 7 }, () => ['free', 0])],
  );
  t.strictSame([...zero.logicalDevices()], same(255, 8));
  t.throws(() => zero.freeHead(1), {
    message: "mhsld state 'state' has lost bytes since it was opened",
  });
  zero.detach();
  t.equal(statSync(path).size, 0);
});

const TAG = '00112233445566778899aabbccddeeff';

t.test('blocks are shared by their tag, with those that own them', async (t) => {
  const { attach, map, folder } = startPool(t);
  const [zero, one, two] = [attach(0), attach(1), attach(2)];
  t.equal(one.share(TAG), 'unknown');
  zero.claim([range(8, 2), range(0, 4)]);
  t.ok(zero.tag(TAG, [range(8, 2), range(0, 4)]));
  t.strictSame(one.share(TAG), [range(8, 2), range(0, 4)], 'in the order of the tag');
  t.strictSame(map(0, 9), [3, 3, 3, 3, 0, 0, 0, 0, 3, 3]);
  t.strictSame(one.share(TAG), { block: 8, heads: [0, 1] }, 'once');
  zero.release([range(0, 1)]);
  one.release([range(0, 1)]);
  t.strictSame(two.share(TAG), { block: 0, heads: [] }, 'not when a part of it is free');
  t.strictSame(map(0, 9), [0, 3, 3, 3, 0, 0, 0, 0, 3, 3]);
  t.equal(two.claim([range(0, 1)]), undefined);
  t.strictSame(zero.share(TAG), { block: 8, heads: [0, 1] });
  for (const pool of [zero, one, two]) pool.detach();
  t.strictSame(readdirSync(folder), [], 'the tags go with the pool');
});

t.test('who claims blocks anew takes their tag off', async (t) => {
  const { attach } = startPool(t);
  const [zero, one] = [attach(0), attach(1)];
  zero.claim([range(0, 4)]);
  zero.tag(TAG, [range(0, 4)]);
  zero.release([range(0, 4)]);
  zero.claim([range(3, 1)]);
  t.equal(one.share(TAG), 'unknown');
});

t.test('tags fit as often as eight heads can have extents, and once more is told', async (t) => {
  const { attach } = startPool(t, 8192);
  const zero = attach(0);
  const each = Array.from({ length: 4096 }, (_, i) => range(i, 1));
  zero.claim([range(0, 8192)]);
  t.ok(zero.tag(TAG, each));
  t.notOk(zero.tag(TAG.replace('00', 'ff'), [range(5000, 1)]));
  t.ok(zero.tag(TAG.replace('00', 'ff'), [range(5, 1)]), 'in the place of another');
});

t.test('any sequence of claims and releases agrees with a model', async (t) => {
  const BLOCKS = 70;
  const { attach, map } = startPool(t, BLOCKS);
  const pools = Array.from({ length: 8 }, (_, head) => attach(head));
  const step = fc.record({
    head: fc.nat(7),
    claim: fc.boolean(),
    ranges: fc.array(fc.tuple(fc.nat(BLOCKS - 1), fc.integer({ min: 1, max: 20 })), {
      minLength: 1,
      maxLength: 3,
    }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      for (const pool of pools) pool.release([range(0, BLOCKS)]);
      const owner = same(-1, BLOCKS);
      for (const { head, claim, ranges } of steps) {
        const wanted = ranges.map(([first, count]) =>
          range(first, Math.min(count, BLOCKS - first)),
        );
        const blocks = wanted.flatMap(({ first, count }) =>
          Array.from({ length: count }, (_, i) => first + i),
        );
        const pool = pools[head];
        if (!claim) {
          pool?.release(wanted);
          for (const b of blocks) if (owner[b] === head) owner[b] = -1;
          continue;
        }
        const free = blocks.every((b) => owner[b] === -1) && new Set(blocks).size === blocks.length;
        if ((pool?.claim(wanted) === undefined) !== free) return false;
        if (free) for (const b of blocks) owner[b] = head;
      }
      const expected = owner.map((head) => (head < 0 ? 0 : 1 << head));
      return JSON.stringify(map(0, BLOCKS - 1)) === JSON.stringify(expected);
    }),
    { numRuns: 100 },
  );
});

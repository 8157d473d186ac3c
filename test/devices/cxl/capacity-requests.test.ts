import t from 'tap';
import { MiB, Type3Bench, extent, releaseRequest } from '../../support/type3.js';

t.test('a request of a hundred thousand extents is refused at once', async (t) => {
  const b = Type3Bench.configA(t);
  const extents = Array.from({ length: 100_000 }, () => extent(0, 2));
  t.throws(() => b.manager.add({ hostId: 0, policy: 'prescriptive', region: 0, extents }), {
    message: /^100000 more extents exceed the limit of 512/,
  });
  t.throws(() => b.manager.release(releaseRequest([], { extents })), {
    message: /^100000 more event records exceed the 4096/,
  });
});

t.test('tags and sequence stay with their extents', async (t) => {
  const tag = '5BE13BCE-AE34-4A77-B6C3-16DF975FCF1A';
  const digits = tag.replaceAll('-', '').toLowerCase();
  const b = Type3Bench.configA(t);
  const request = { hostId: 7, policy: 'prescriptive' as const, region: 1, tag };
  b.manager.add({ ...request, extents: [extent(0, 8)] });
  t.match(b.records().list[0], { tag: digits, hostId: 7 });
  b.respond([256, 8]);
  b.release([258, 2]);
  t.strictSame(
    b.capacity.accepted.map((e) => e.tag),
    [digits, digits],
  );
  t.throws(() => b.manager.add({ ...request, extents: [extent(100, 2)] }), {
    message: `tag '${tag}' is in use by pending or accepted extents`,
  });
  t.throws(() => b.manager.add({ ...request, tag: 'x', extents: [extent(100, 2)] }), {
    message: `Parameter 'tag' expects a UUID of 36 characters, not 'x'`,
  });
  b.manager.release(releaseRequest([], { policy: 'tag-based', tag, region: 1 }));
  t.strictSame(
    b
      .records()
      .list.slice(1)
      .map(({ type, dpa, more }) => [type, dpa / MiB, more]),
    [
      [1, 256n, 1],
      [1, 260n, 0],
    ],
  );
  t.throws(() => b.manager.release(releaseRequest([], { policy: 'tag-based', tag })), {
    message: `region 0 has no accepted extent with tag '${tag}'`,
  });
});

t.test('free takes the lowest free blocks; contiguous the lowest run that fits', async (t) => {
  const b = Type3Bench.configA(t);
  b.add([2, 2], [8, 248]);
  b.respond([2, 2], [8, 248]);
  const add = (policy: 'free' | 'contiguous', ...lens: number[]): void =>
    b.manager.add({ hostId: 0, policy, region: 0, extents: lens.map((len) => extent(99, len)) });
  const offered = (): number[][] =>
    b.capacity.pending.flatMap(({ extents }) =>
      extents.map(({ base, len }) => [Number(base / MiB), Number(len / MiB)]),
    );
  t.throws(() => add('contiguous', 6), {
    message: 'region 0 has no 6291456 free bytes in one run',
  });
  t.throws(() => add('free', 4, 4), { message: 'region 0 has no 8388608 free bytes' });
  t.throws(() => add('free', 3), { message: 'dpa or len is not aligned to region block size' });
  t.strictSame(offered(), []);
  add('contiguous', 2, 2);
  t.strictSame(offered(), [[4, 4]]);
  b.respond();
  add('free', 2, 2);
  t.strictSame(offered(), [
    [0, 2],
    [4, 2],
  ]);
});

t.test('forced removal takes pending and accepted extents at once', async (t) => {
  const b = Type3Bench.configA(t);
  b.add([0, 8]);
  b.respond([0, 8]);
  b.add([8, 8]);
  b.clear(4, 1, 2);
  b.manager.release(releaseRequest([[4, 8]], { forced: true }));
  t.strictSame(b.accepted(), [[0, 4]]);
  t.match(b.records().list, [{ type: 2, dpa: 4n * MiB, len: 8n * MiB, more: 0 }]);
  t.equal(b.respond([8, 8]), 0xf);
  t.equal(b.respond([12, 4]), 0, 'the rest of the offer stands');
  t.throws(() => b.manager.release(releaseRequest([[100, 2]], { forced: true })), {
    message: 'cannot release extent with non-existing DPA range',
  });
});

t.test('sanitize-on-release: the next one to have the block reads zeros', async (t) => {
  const b = Type3Bench.configA(t);
  const { device } = b;
  const address = 2n * MiB;
  const read = (): number[] | string => {
    const bytes = new Uint8Array(4);
    return device.readDpa(address as never, bytes) ?? [...bytes];
  };
  for (const sanitize of [false, true]) {
    b.add([0, 4]);
    b.respond([0, 4]);
    t.equal(device.writeDpa(address as never, Uint8Array.of(1, 2, 3, 4)), undefined);
    b.manager.release(releaseRequest([[2, 2]], { sanitize }));
    t.strictSame(read(), [1, 2, 3, 4], 'the host still has it');
    b.release([0, 4]);
    t.equal(read(), 'unbacked');
    b.add([2, 2]);
    b.respond([2, 2]);
    t.strictSame(read(), sanitize ? [0, 0, 0, 0] : [1, 2, 3, 4]);
    b.release([2, 2]);
  }
});

import t from 'tap';
import {
  MiB,
  Type3Bench,
  extent,
  releaseRequest,
  response,
  responseBytes,
  type Range,
} from '../../support/type3.js';

// Vectors of reference/cxl.md §11; ranges are in MiB.

t.test('V1: configuration of two empty regions', async (t) => {
  const b = Type3Bench.configA(t);
  const region = (base: string, handle: string): string =>
    `${base}010000000000000000000010000000000000200000000000${handle}00000000`;
  const limits = '00020000000200000000000000000000';
  const [first, second] = [
    region('0000000000000000', '00000000'),
    region('0000001000000000', '01000000'),
  ];
  t.equal(b.text(0x4800, '08 00'), `0202000000000000${first}${second}${limits}`);
  t.equal(b.text(0x4800, '01 01'), `0201000000000000${second}${limits}`);
  t.equal(b.text(0x4800, '00 00').length, 2 * 24);
  t.equal(b.text(0x4800, '08 02'), 'code 2');
  t.equal(b.text(0x4801, '0a000000 00000000'), '00'.repeat(16));
  t.strictSame([b.read(0x80, 8), b.read(0x88, 4), b.read(0x8a8, 8)], [0n, 0x3cbn, 0x14n]);
});

/** The state after V2. */
const afterV2 = (b: Type3Bench): void => {
  b.add([0, 128], [128, 64]);
  b.respond([0, 64]);
  b.add([64, 64]);
  b.respond([64, 64]);
};

t.test('V2: add and partial accept', async (t) => {
  const b = Type3Bench.configA(t);
  b.add([0, 128], [128, 64]);
  t.equal(b.read(0x80, 8), 0x10n);
  t.equal(b.available(), 510);
  const common = { type: 0, hostId: 0, tag: '0'.repeat(32), available: 510 };
  t.strictSame(b.records().list, [
    { handle: 1, more: 1, dpa: 0n, len: 0x8000000n, ...common },
    { handle: 2, more: 0, dpa: 0x8000000n, len: 0x4000000n, ...common },
  ]);
  t.equal(b.text(0x4801, '64000000 00000000'), '00'.repeat(16), 'pending ones are not listed');
  t.equal(b.text(0x4801, '64000000 01000000'), 'code 2');
  t.equal(b.run(0x4802, responseBytes([{ base: 0x20000000n, len: 2n * MiB }])).code, 0xf);
  t.equal(b.respond([0, 1]), 0x1e);
  t.equal(b.respond([0, 4], [2, 2]), 0x1e);
  t.equal(b.respond([120, 16]), 0xf);
  t.equal(b.run(0x4802, new Uint8Array(7)).code, 0x16);
  t.equal(b.run(0x4802, response([[0, 64]]).fill(2, 0, 1)).code, 0x16);
  t.equal(b.available(), 510, 'nothing changed');
  t.equal(b.respond([0, 64]), 0);
  t.strictSame(b.accepted(), [[0, 64]]);
  t.equal(b.available(), 511);
  t.strictSame(b.capacity.pending, []);
  b.add([64, 64]);
  t.equal(b.respond([64, 64]), 0);
  t.strictSame(b.accepted(), [
    [0, 64],
    [64, 128],
  ]);
  t.equal(b.available(), 510);
});

t.test('V3: error texts of adds, in the order of the checks', async (t) => {
  const b = Type3Bench.configA(t);
  afterV2(b);
  const bytes = (offset: bigint, len: bigint) => () =>
    b.manager.add({ hostId: 0, policy: 'prescriptive', region: 0, extents: [{ offset, len }] });
  const texts: readonly (readonly [() => void, string])[] = [
    [() => b.addTo(2, [0, 2]), 'region id is too large'],
    [() => b.add([0, 0]), 'extent with 0 length is not allowed'],
    [bytes(1n, 2n * MiB), 'dpa or len is not aligned to region block size'],
    [bytes(0n, 2n * MiB + 1n), 'dpa or len is not aligned to region block size'],
    [() => b.add([254, 4]), 'extent range is beyond the region end'],
    [bytes((1n << 64n) - 2n * MiB, 4n * MiB), 'extent range is beyond the region end'],
    [() => b.add([130, 4], [132, 2]), 'duplicate or overlapped extents are detected'],
    [() => b.add([0, 2]), 'cannot add DPA already accessible to the same LD'],
  ];
  const before = b.device.save();
  for (const [run, text] of texts) t.throws(run, { message: text });
  t.strictSame(b.device.save(), before, 'a refused request changes nothing');
  b.add([128, 2]);
  t.throws(() => b.add([128, 2]), { message: 'cannot add DPA again while still pending' });
});

t.test('V3: error texts of releases', async (t) => {
  const b = Type3Bench.configA(t);
  afterV2(b);
  b.add([128, 2]);
  t.throws(() => b.manager.release(releaseRequest([[128, 2]])), {
    message: 'cannot release extent with pending DPA range',
  });
  t.throws(() => b.manager.release(releaseRequest([[200, 2]])), {
    message: 'cannot release extent with non-existing DPA range',
  });
});

t.test('V4: release requests are records; released extents are split', async (t) => {
  const b = Type3Bench.configA(t);
  afterV2(b);
  b.clear(4, 1, 2, 3);
  b.manager.release(releaseRequest([[32, 64]]));
  const [record, ...others] = b.records().list;
  t.match(record, { type: 1, dpa: 0x2000000n, len: 0x4000000n, more: 0 });
  t.strictSame(others, []);
  t.equal(b.accepted().length, 2, 'the host was only asked');
  t.equal(b.release([32, 64]), 0);
  t.strictSame(b.accepted(), [
    [0, 32],
    [96, 128],
  ]);
  t.equal(b.available(), 510);
  t.equal(b.release([32, 2]), 0xf);
  t.equal(b.release(), 2);
  t.equal(b.run(0x4803, response([[0, 2]]).fill(2, 0, 1)).code, 0x16);
  t.equal(b.release([8, 8]), 0);
  t.strictSame(b.accepted(), [
    [96, 128],
    [0, 8],
    [16, 32],
  ]);
  t.equal(b.available(), 509);
  t.equal(b.release([0, 32]), 0xf);
  t.equal(b.release([0, 2], [200, 2]), 0xf);
  t.equal(b.available(), 509);
});

t.test('V5: groups are answered in order; adjacent extents are never merged', async (t) => {
  const b = Type3Bench.configB(t);
  b.add([0, 2]);
  b.add([4, 2]);
  t.equal(b.respond([4, 2]), 0xf);
  t.equal(b.respond([0, 2]), 0);
  t.equal(b.respond([4, 2]), 0);
  b.addTo(1, [0, 2]);
  t.equal(b.records().list.at(-1)?.dpa, 0x80000000n);
  t.equal(b.respond([2046, 4]), 0xf, 'crosses regions');
  t.equal(b.respond([2048, 2]), 0);
  b.add([2, 2]);
  b.respond([2, 2]);
  t.equal(b.accepted().length, 4);
});

t.test('V6: more than 8 records wait until the log drains', async (t) => {
  const b = Type3Bench.configA(t);
  b.enableMsix();
  b.run(0x0103, '01 01 01 01 01');
  b.add(...Array.from({ length: 10 }, (_, i) => [4 * i, 2] as const));
  t.strictSame(b.messages(), [2]);
  const first = b.records();
  t.strictSame(
    first.list.map(({ handle, more }) => [handle, more]),
    [1, 2, 3, 4, 5, 6, 7, 8].map((handle) => [handle, 1]),
  );
  t.equal(first.overflow, 0);
  t.equal(b.clear(4, 1, 2, 3, 4, 5, 6, 7, 8), 0);
  t.strictSame(b.messages(), [2], 'a new interrupt');
  const second = b.records();
  t.strictSame(
    second.list.map(({ handle, more }) => [handle, more]),
    [
      [9, 1],
      [10, 0],
    ],
  );
  t.equal(second.flags, 0);
  t.equal(b.respond([36, 2]), 0);
  t.strictSame(b.capacity.pending, [], 'nine extents were dropped');
});

t.test('V7: the limit of 512 extents', async (t) => {
  const b = Type3Bench.configB(t);
  const block = (first: number, count: number): Range[] =>
    Array.from({ length: count }, (_, i) => [2 * (first + i), 2] as const);
  const drain = (): void => {
    for (let list = b.records().list; list.length > 0; list = b.records().list)
      b.clear(4, ...list.map(({ handle }) => handle));
  };
  for (let i = 0; i < 5; i++) {
    b.add(...block(80 * i, 80));
    t.equal(b.respond(...block(80 * i, 80)), 0);
    drain();
  }
  t.equal(b.available(), 112);
  b.add(...block(400, 80));
  t.equal(b.available(), 32);
  t.equal(b.respond(...block(400, 80)), 0, 'the answered group is not counted twice');
  t.equal(b.available(), 32);
  t.throws(() => b.add(...block(500, 33)), {
    message: '33 more extents exceed the limit of 512: 480 are pending or accepted',
  });
  b.add(...block(500, 32));
  t.equal(b.available(), 0, 'the limit itself is reached');
  t.throws(() => Type3Bench.configB(t).add(...block(0, 600)), { message: /exceed the limit/ });
});

t.test('V8: reject', async (t) => {
  const b = Type3Bench.configA(t);
  b.add([0, 4]);
  t.equal(b.respond(), 0);
  t.equal(b.available(), 512);
  t.equal(b.respond(), 2);
  t.equal(b.respond([0, 2]), 0xf);
});

t.test('a response with more keeps the group until the last one', async (t) => {
  const b = Type3Bench.configA(t);
  b.add([0, 8], [16, 8]);
  t.equal(b.run(0x4802, response([[0, 4]], true)).code, 0);
  t.equal(b.capacity.pending.length, 1);
  t.equal(b.available(), 512 - 3, 'one accepted, two left');
  t.equal(b.respond([0, 4]), 0xf, 'what is accepted is no longer offered');
  t.equal(b.respond([16, 2]), 0);
  t.strictSame(b.accepted(), [
    [0, 4],
    [16, 18],
  ]);
  t.equal(b.available(), 510);
});

t.test('zero-length entries are refused', async (t) => {
  const b = Type3Bench.configA(t);
  b.add([0, 4]);
  t.equal(b.respond([0, 0]), 0x1e);
  b.respond([0, 4]);
  t.equal(b.release([0, 0]), 0x1e);
});

t.test('generation moves with the accepted list only', async (t) => {
  const b = Type3Bench.configA(t);
  b.add([0, 4]);
  t.equal(b.capacity.generation, 0);
  b.respond([0, 4]);
  t.equal(b.capacity.generation, 1);
  b.respond([0, 4]);
  t.equal(b.capacity.generation, 1);
  b.release([0, 2]);
  t.equal(b.capacity.generation, 2);
});

t.test('reset keeps accepted extents and drops offers with their unread records', async (t) => {
  const b = Type3Bench.configA(t);
  b.add([0, 4]);
  b.respond([0, 4]);
  b.add(...Array.from({ length: 10 }, (_, i) => [10 + 4 * i, 2] as const));
  b.manager.release(releaseRequest([[0, 2]]));
  b.device.reset('warm');
  b.device.pci.writeConfig(4, 2, 6);
  t.strictSame(b.accepted(), [[0, 4]]);
  t.equal(b.available(), 511);
  t.strictSame(
    b.records().list.map(({ type }) => type),
    [1],
    'the answered add and the offers have no record, the release has',
  );
  t.equal(b.read(0x80, 8), 0x10n);
});

t.test('what the host answered is told by event', async (t) => {
  const b = Type3Bench.configA(t);
  b.addTo(1, [0, 8]);
  b.respond([258, 2]);
  b.release([258, 2]);
  const ranges = (...list: readonly Range[]) => list.map(([offset, len]) => extent(offset, len));
  const common = { device: 'd0', path: '/machine/peripheral/d0', region: 1 };
  t.strictSame(b.emitted, [
    { event: 'CXL_DYNAMIC_CAPACITY_ACCEPTED', data: { ...common, ranges: ranges([2, 2]) } },
    { event: 'CXL_DYNAMIC_CAPACITY_REJECTED', data: { ...common, ranges: ranges([0, 2], [4, 4]) } },
    { event: 'CXL_DYNAMIC_CAPACITY_RELEASED', data: { ...common, ranges: ranges([2, 2]) } },
  ]);
});

t.test('a saved state is the whole state', async (t) => {
  const b = Type3Bench.configA(t);
  afterV2(b);
  b.add(...Array.from({ length: 12 }, (_, i) => [130 + 4 * i, 2] as const));
  b.manager.release(releaseRequest([[0, 2]], { sanitize: true }));
  const other = Type3Bench.configA(t);
  other.device.load(b.device.save());
  t.strictSame(other.device.save(), b.device.save());
  t.strictSame(other.accepted(), b.accepted());
  t.equal(other.respond([130, 2]), 0);
});

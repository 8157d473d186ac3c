import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import type { HostMemory, StoredRange } from '../../../devices/core/host-memory.js';
import { clearMemory } from '../../../server/machine/clear-memory.js';

const MiB = 1n << 20n;
const SIZE = 256n * MiB;
type Piece = readonly [what: 'clear' | 'write', offset: bigint, size: bigint];

/** Memory that holds ones in `stored`, and says what is done to it. */
const memoryWith = (
  stored: readonly StoredRange[],
  { punches = true }: { punches?: boolean } = {},
) => {
  const pieces: Piece[] = [];
  const memory: HostMemory = {
    size: SIZE,
    readonly: false,
    descriptor: undefined,
    read: (offset, into) => {
      into.fill(stored.some(({ start, end }) => start <= offset && offset < end) ? 1 : 0);
      return true;
    },
    write: (offset, from) => {
      pieces.push(['write', offset, BigInt(from.length)]);
      return true;
    },
    clear: (offset, size) => {
      if (punches) pieces.push(['clear', offset, size]);
      return punches;
    },
    stored: (from) => {
      const found = stored.find(({ end }) => end > from);
      return found && { start: found.start > from ? found.start : from, end: found.end };
    },
    readInt: () => 0n,
    writeInt: () => undefined,
    onWrite: () => () => undefined,
  };
  return { memory, pieces };
};
const isThere = (): boolean => true;

t.test('storage is taken away piece by piece, and others are served between them', async (t) => {
  const { memory, pieces } = memoryWith([
    { start: 0n, end: 100n * MiB },
    { start: 200n * MiB, end: 201n * MiB },
  ]);
  let turns = 0;
  let isDone = false;
  const others = async (): Promise<void> => {
    for (; !isDone; turns++) await setImmediate();
  };
  const counting = others();
  t.equal(await clearMemory({ memory, start: MiB, end: SIZE, isThere }), true);
  isDone = true;
  await counting;
  t.strictSame(pieces, [
    ['clear', MiB, 64n * MiB],
    ['clear', 65n * MiB, 35n * MiB],
    ['clear', 200n * MiB, MiB],
  ]);
  t.ok(turns >= pieces.length, `${String(turns)} turns`);
});

t.test('where storage stays, what is not zero is overwritten', async (t) => {
  const stored = [
    { start: 0n, end: 2n * MiB + 10n },
    { start: 4n * MiB, end: 5n * MiB },
  ];
  const { memory, pieces } = memoryWith(stored, { punches: false });
  t.equal(await clearMemory({ memory, start: MiB, end: 4n * MiB + 5n, isThere }), true);
  t.strictSame(pieces, [
    ['write', MiB, MiB],
    ['write', 2n * MiB, 10n],
    ['write', 4n * MiB, 5n],
  ]);

  const { stored: _, ...whole } = memory;
  pieces.length = 0;
  t.equal(await clearMemory({ memory: whole, start: 2n * MiB, end: 5n * MiB, isThere }), true);
  t.strictSame(
    pieces.map(([, offset]) => offset),
    [2n * MiB, 4n * MiB],
    'what is zero is not written',
  );
});

t.test('memory that goes meanwhile is not touched any more', async (t) => {
  const { memory, pieces } = memoryWith([{ start: 0n, end: SIZE }]);
  const cleared = clearMemory({ memory, start: 0n, end: SIZE, isThere: () => pieces.length < 2 });
  t.equal(await cleared, false);
  t.equal(pieces.length, 2);

  const gone: HostMemory = { ...memory, clear: () => false, read: () => false };
  t.equal(await clearMemory({ memory: gone, start: 0n, end: SIZE, isThere }), false);
  const refused = clearMemory({
    memory,
    start: 0n,
    end: SIZE,
    isThere: () => {
      throw new Error('the device is gone');
    },
  });
  await t.rejects(refused, { message: 'the device is gone' });
});

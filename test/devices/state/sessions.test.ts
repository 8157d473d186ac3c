import fc from 'fast-check';
import t from 'tap';
import { crc32 } from '../../../devices/core/crc32.js';
import { containerLength, readContainer } from '../../../devices/state/container.js';
import { StateError } from '../../../devices/state/errno.js';
import { fetchAll, LENGTH, loadAll, pagesOf } from '../../support/state-stream.js';
import { fakeTarget, type FakeTarget } from '../../support/state-target.js';

type Step =
  | { readonly kind: 'write'; readonly offset: number; readonly length: number }
  | { readonly kind: 'pass' }
  | { readonly kind: 'partial' }
  | { readonly kind: 'state'; readonly state: number };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('write' as const),
      offset: fc.nat(19_999),
      length: fc.integer({ min: 1, max: 9000 }),
    }),
    fc.record({ kind: fc.constant('pass' as const) }),
    fc.record({ kind: fc.constant('partial' as const) }),
    fc.record({ kind: fc.constant('state' as const), state: fc.constantFrom(2, 3) }),
  ),
  { maxLength: 30 },
);

/** Plays the steps and gives all passes that were fetched whole. */
const play = ({ control, memory }: FakeTarget, session: readonly Step[]): Uint8Array[] => {
  const passes: Uint8Array[] = [];
  let value = 0;
  const run = (step: Step): void => {
    if (step.kind === 'write') {
      const length = Math.min(step.length, 20_000 - step.offset);
      memory.write(BigInt(step.offset), new Uint8Array(length).fill(++value));
    } else if (step.kind === 'pass') passes.push(fetchAll(control));
    else if (step.kind === 'partial') {
      if (control.memorySize() > LENGTH) control.memoryChunk(0n, LENGTH);
    } else control.setState(step.state);
  };
  control.setState(2);
  for (const step of session) run(step);
  control.setState(3);
  for (let size = -1; size !== 0;) {
    const pass = fetchAll(control);
    passes.push(pass);
    size = pass.length;
  }
  return passes.filter(({ length }) => length > 0);
};

t.test('whatever the session: its passes, loaded in order, make the same memory', (t) => {
  fc.assert(
    fc.property(
      steps,
      fc.constantFrom(4096, 8192, 65_536),
      fc.constantFrom(4096, 12_288, 2 ** 24),
      (session, length, passBytes) => {
        const source = fakeTarget(20_000, { passBytes });
        const target = fakeTarget(20_000);
        const passes = play(source, session);
        target.control.setState(1);
        for (const pass of passes) loadAll(target.control, pass, length);
        return target.digest() === source.digest();
      },
    ),
    { numRuns: 200 },
  );
  t.end();
});

t.test('a pass has the pages that were written since the one before, and no others', (t) => {
  const writes = fc.array(fc.tuple(fc.nat(19_999), fc.integer({ min: 1, max: 5000 })));
  fc.assert(
    fc.property(fc.array(writes, { maxLength: 6 }), (rounds) => {
      const { control, memory } = fakeTarget();
      control.setState(2);
      fetchAll(control);
      return rounds.every((round) => {
        const expected = new Set<number>();
        for (const [offset, wanted] of round) {
          const length = Math.min(wanted, 20_000 - offset);
          memory.write(BigInt(offset), new Uint8Array(length));
          for (let at = offset >> 12; at <= (offset + length - 1) >> 12; at++) expected.add(at);
        }
        const stream = fetchAll(control);
        const found = stream.length === 0 ? [] : pagesOf(stream, 20_000);
        return found.join() === [...expected].sort((a, b) => a - b).join();
      });
    }),
    { numRuns: 200 },
  );
  t.end();
});

t.test('a damaged stream is refused and leaves the memory, or has all it says', (t) => {
  const source = fakeTarget();
  source.memory.write(
    0n,
    new Uint8Array(20_000).map((_, i) => i),
  );
  source.control.setState(2);
  fetchAll(source.control);
  source.memory.write(5000n, Uint8Array.of(1));
  source.memory.write(17_000n, Uint8Array.of(1));
  const good = fetchAll(source.control);
  const damage = fc.oneof(
    fc.record({ at: fc.nat(good.length - 1), flip: fc.integer({ min: 1, max: 255 }) }),
    fc.record({ at: fc.nat(63), flip: fc.integer({ min: 1, max: 255 }) }),
    fc.record({ cut: fc.integer({ min: 1, max: good.length - 1 }) }),
  );
  fc.assert(
    fc.property(damage, fc.boolean(), (how, mended) => {
      const { control, memory, digest } = fakeTarget();
      const stream = 'cut' in how ? good.slice(0, how.cut) : good.slice();
      if ('at' in how) stream[how.at] = (stream[how.at] ?? 0) ^ how.flip;
      // Hostile rather than damaged: the checksum fits.
      if (mended && stream.length > 32)
        new DataView(stream.buffer).setUint32(28, crc32(stream.subarray(32)), true);
      const before = digest();
      control.setState(1);
      try {
        loadAll(control, stream);
      } catch (error) {
        return error instanceof StateError && error.errno === 'EINVAL' && digest() === before;
      }
      return readContainer(stream, 'memory', 20_000).every(({ offset, data }) =>
        data.every((byte, i) => memory.bytes[offset + i] === byte),
      );
    }),
    { numRuns: 500 },
  );
  t.end();
});

t.test('the length of a container is known before it is made', (t) => {
  t.equal(
    containerLength([
      { offset: 0, length: 10 },
      { offset: 4096, length: 4 },
    ]),
    32 + 32 + 14,
  );
  t.end();
});

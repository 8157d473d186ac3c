import fc from 'fast-check';
import t from 'tap';
import { CTL_SIZE, readControl, writeControl } from '../../../devices/state/ctl-registers.js';
import { StateError } from '../../../devices/state/errno.js';
import type { StateRegions } from '../../../devices/state/regions.js';
import { DATA_REGIONS } from '../../../devices/state/regions.js';
import { fakeTarget } from '../../support/state-target.js';

/** Offsets and widths of the compiled structure. reference/vfio-device-state.md §2 */
const FIELDS = [
  [0, 4],
  [4, 4],
  [8, 4],
  [12, 4],
  [20, 8],
  [28, 4],
  [36, 8],
  [44, 8],
  [52, 8],
  [60, 8],
] as const;
const LENGTHS = { config: 4096, memory: 4096, bitmap: 4096 };

const regionsOf = (target = fakeTarget()): StateRegions => target.control.attachRegions(LENGTHS);
const errnoOf = (access: () => unknown): string | undefined => {
  try {
    access();
    return undefined;
  } catch (error) {
    if (error instanceof StateError) return error.errno;
    throw error;
  }
};

t.test('accesses of every offset and length: whole fields and nothing else', (t) => {
  const starts = new Set<number>(FIELDS.map(([offset]) => offset));
  const ends = new Set<number>(FIELDS.map(([offset, size]) => offset + size));
  const wrong: string[] = [];
  for (let offset = 0; offset <= CTL_SIZE + 4; offset++)
    for (let length = 0; length <= CTL_SIZE + 4; length++) {
      const isAccess = length > 0 && starts.has(offset) && ends.has(offset + length);
      const errno = errnoOf(() => readControl(regionsOf(), offset, length));
      if (errno !== (isAccess ? undefined : 'EINVAL'))
        wrong.push(`${String(length)} at ${String(offset)}: ${String(errno)}`);
    }
  t.strictSame(wrong, []);
  t.equal(CTL_SIZE, 68);
  t.end();
});

t.test('the whole structure in one read, holes 0', (t) => {
  const { control } = fakeTarget();
  const regions = control.attachRegions(LENGTHS);
  control.setState(1);
  regions.setPosition(8192n);
  regions.setStart(0x5000n);
  const words = new DataView(readControl(regions, 0, CTL_SIZE).buffer);
  t.strictSame(
    [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64].map((at) =>
      words.getUint32(at, true),
    ),
    [1, 1, 3, 0, 0, 112, 0, 0, 0, 20_048, 0, 8192, 0, 0x5000, 0, 0, 0],
  );
  t.end();
});

t.test('what holes are given is forgotten', (t) => {
  const { control } = fakeTarget();
  const regions = control.attachRegions(LENGTHS);
  control.setState(1);
  const bytes = new Uint8Array(16).fill(0xff);
  // GET_BUFFER, a hole, and a size of 0.
  bytes.set([1, 0, 0, 0]);
  bytes.fill(0, 8);
  writeControl(regions, 12, bytes);
  t.strictSame([...readControl(regions, 12, 16)].slice(0, 8), Array(8).fill(0));
  t.end();
});

interface Access {
  readonly region: 'control' | (typeof DATA_REGIONS)[number];
  readonly offset: number;
  readonly length: number;
  /** Undefined reads. */
  readonly value: bigint | undefined;
}
const values = fc.oneof(
  fc.constantFrom(0n, 1n, 2n, 3n, 112n, 4096n, 8192n, 20_048n, 1n << 63n, (1n << 64n) - 1n),
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
);
const accesses: fc.Arbitrary<Access> = fc.oneof(
  fc
    .tuple(fc.constantFrom(...FIELDS), fc.option(values, { nil: undefined }))
    .map(([[offset, length], value]) => ({ region: 'control' as const, offset, length, value })),
  fc.record({
    region: fc.constantFrom('control' as const, ...DATA_REGIONS),
    offset: fc.nat(5000),
    length: fc.nat(100),
    value: fc.option(values, { nil: undefined }),
  }),
);

const bytesOf = (value: bigint, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => Number((value >> BigInt(8 * (i % 8))) & 0xffn));

t.test(
  'whatever is read and written: an answer or an errno, and a device that can be reset',
  (t) => {
    const run = (regions: StateRegions, { region, offset, length, value }: Access): void => {
      if (region === 'control') {
        if (value === undefined) readControl(regions, offset, length);
        else writeControl(regions, offset, bytesOf(value, length));
      } else if (value === undefined) regions.read(region, offset, length);
      else regions.write(region, offset, bytesOf(value, length));
    };
    fc.assert(
      fc.property(fc.array(accesses, { maxLength: 60 }), (all) => {
        const target = fakeTarget();
        const before = target.digest();
        const regions = regionsOf(target);
        for (const access of all) errnoOf(() => run(regions, access));
        const { state } = target.control;
        const stopped = target.activity.stopped === ((state & 1) === 1);
        const saved = regions.save();
        regions.prepareLoad(saved)();
        target.activity.reset();
        return stopped && target.control.state === 0 && target.digest() === before;
      }),
      { numRuns: 500 },
    );
    t.end();
  },
);

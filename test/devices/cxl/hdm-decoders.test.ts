import fc from 'fast-check';
import t from 'tap';
import { hpa } from '../../../devices/cxl/addresses.js';
import { HdmDecoders } from '../../../devices/cxl/hdm-decoders.js';
import {
  interleaveGranularity,
  interleaveWays,
  interleaveWaysCode,
} from '../../../devices/cxl/interleave.js';
import { program, UNIT, type DecoderSettings } from '../../support/cxl.js';

const HDM_AT = 0x1128;

const device = (...decoders: readonly DecoderSettings[]): HdmDecoders =>
  programmed(new HdmDecoders({ role: 'device', decoders: 4, targetCount: 1 }), decoders);
const router = (...decoders: readonly DecoderSettings[]): HdmDecoders =>
  programmed(new HdmDecoders({ role: 'router', decoders: 4, targetCount: 8 }), decoders);

const programmed = (hdm: HdmDecoders, decoders: readonly DecoderSettings[]): HdmDecoders => {
  for (const [i, settings] of decoders.entries())
    program((offset, value) => hdm.write(offset - HDM_AT, Number(value)), i, settings);
  return hdm;
};

t.test('registers have the values and masks of the reference (§3.2)', async (t) => {
  t.equal(device().read(0), 0x1b12);
  t.equal(router().read(0), 0x0382);
  const masks = (hdm: HdmDecoders): string[] => {
    const found: string[] = [];
    for (let offset = 0; offset < 0x30; offset += 4) {
      hdm.write(offset, 0xffff_ffff);
      const ones = hdm.read(offset) >>> 0;
      hdm.write(offset, 0);
      const bits = (ones ^ hdm.read(offset)) >>> 0;
      if (bits !== 0) found.push(`${offset.toString(16)}:${bits.toString(16)}`);
    }
    return found;
  };
  const common = ['4:3', '10:f0000000', '14:ffffffff', '18:f0000000', '1c:ffffffff', '20:17ff'];
  t.strictSame(masks(device()), [...common, '24:f0000000', '28:ffffffff']);
  t.strictSame(masks(router()), [...common, '24:ffffffff', '28:ffffffff']);
});

t.test('a commit takes at once, and goes with the bit', async (t) => {
  const hdm = device();
  hdm.write(0x20, 0x200);
  t.equal(hdm.read(0x20), 0x600);
  hdm.write(0x20, 0);
  t.equal(hdm.read(0x20), 0);
});

t.test('check values of §3.3: offset in the decoder to DPA', async (t) => {
  const rows: readonly (readonly [ways: number, ig: number, ...pairs: [bigint, bigint][]])[] = [
    [2, 0, [0x100n, 0n], [0x200n, 0x100n], [0x340n, 0x140n], [0x3040n, 0x1840n]],
    [4, 0, [0x600n, 0x100n], [0x3040n, 0xc40n]],
    [2, 4, [0x1000n, 0n], [0x2000n, 0x1000n]],
    [3, 0, [0x300n, 0x100n], [0x1000n, 0x500n], [0x3040n, 0x1040n]],
    [6, 0, [0x600n, 0x100n], [0x2000n, 0x500n]],
    [12, 0, [0xc00n, 0x100n], [0x3040n, 0x440n]],
  ];
  const base = 3n * UNIT;
  for (const [ways, granularity, ...pairs] of rows)
    for (const [offset, expected] of pairs) {
      const hdm = device({ base, size: 12n * UNIT, ways, granularity });
      t.equal(hdm.toDpa(hpa(base + offset)), expected, `${String(ways)} ways, ${String(offset)}`);
    }
});

t.test('device addresses of later decoders follow those of earlier ones', async (t) => {
  const first = { base: 2n * UNIT, size: 4n * UNIT, ways: 2 };
  const second = { base: 8n * UNIT, size: UNIT, skip: UNIT };
  const hdm = device(first, second);
  t.equal(hdm.toDpa(hpa(8n * UNIT + 5n)), 3n * UNIT + 5n, 'size over ways, then the skip');
  t.equal(hdm.toDpa(hpa(2n * UNIT - 1n)), 'not-committed', 'walks on to the third decoder');
  const all = device(first, second, { base: 9n * UNIT, size: 0n }, { base: 9n * UNIT, size: 0n });
  t.equal(all.toDpa(hpa(2n * UNIT - 1n)), 'out-of-range');
  t.equal(all.toDpa(hpa(9n * UNIT)), 'out-of-range', 'the end is exclusive');
  const gap = device({ ...first, commit: false }, second);
  t.equal(gap.toDpa(hpa(8n * UNIT)), 'not-committed', 'one that is not committed ends the walk');
});

t.test('routers choose by the whole address; uncommitted ones lead nowhere', async (t) => {
  const hdm = router(
    { base: UNIT, size: UNIT, ways: 2, granularity: 1, targets: [7, 9] },
    { base: 4n * UNIT, size: UNIT, targets: [3], commit: false },
    { base: 4n * UNIT, size: UNIT, targets: [5] },
  );
  t.equal(hdm.toPort(hpa(UNIT + 511n)), 7);
  t.equal(hdm.toPort(hpa(UNIT + 512n)), 9);
  t.equal(hdm.toPort(hpa(4n * UNIT)), 'not-committed', 'although a later one would match');
  t.equal(hdm.toPort(hpa(9n * UNIT)), 'no-route');
});

t.test('reserved interleave codes decode nothing', async (t) => {
  t.equal(interleaveWays(5), undefined);
  const hdm = device({ base: UNIT, size: UNIT });
  hdm.write(0x20, 0x250);
  t.equal(hdm.toDpa(hpa(UNIT)), 'not-committed');
});

t.test('interleaving gives every host address one place on one target, and back', async (t) => {
  const ways = fc.constantFrom(1, 2, 3, 4, 6, 8, 12, 16);
  const offsets = fc.bigInt(0n, 48n * UNIT - 1n);
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(ways, fc.integer({ min: 0, max: 6 }), offsets, (count, ig, offset) => {
        const base = 16n * UNIT;
        const size = 48n * UNIT;
        const hdm = device({ base, size, ways: count, granularity: ig });
        const granule = interleaveGranularity(ig);
        const dpa = hdm.toDpa(hpa(base + offset));
        if (typeof dpa === 'string') return false;
        const target = (offset / granule) % BigInt(count);
        const row = dpa / granule;
        const back = (row * BigInt(count) + target) * granule + (dpa % granule);
        const inRun = hdm.run(hpa(base + offset));
        const next = hdm.toDpa(hpa(base + offset + inRun - 1n));
        return back === offset && dpa < size / BigInt(count) && next === dpa + inRun - 1n;
      }),
    ),
  );
  t.equal(interleaveWaysCode(5), undefined);
});

t.test('saved registers are taken over as a whole or not at all', async (t) => {
  const hdm = device({ base: UNIT, size: UNIT });
  const other = device();
  other.prepareLoad([...hdm.words])();
  t.equal(other.toDpa(hpa(UNIT + 3n)), 3n);
  t.throws(() => other.prepareLoad([0, 0, 0]), { message: /saved decoders must be a list of \d+/ });
  t.throws(() => other.prepareLoad([...hdm.words].fill(1)), {
    message: 'saved decoders[0] has bits that the register does not have',
  });
  t.equal(other.toDpa(hpa(UNIT + 3n)), 3n);
  other.reset();
  t.equal(other.toDpa(hpa(UNIT)), 'not-committed');
});

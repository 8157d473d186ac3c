import fc from 'fast-check';
import t from 'tap';
import { ConfigSpace } from '../../../devices/pci/config-space.js';
import { CAPABILITY, CONFIG } from '../../../devices/pci/registers.js';

const byte = fc.integer({ min: 0, max: 0xff });

t.test('a write follows the masks, byte by byte (§1.2)', async () => {
  const access = fc.record({
    offset: fc.integer({ min: 0, max: 255 }),
    size: fc.constantFrom(1 as const, 2 as const, 4 as const),
    value: fc.integer({ min: 0, max: 0xffff_ffff }),
  });
  const masks = fc.array(fc.tuple(byte, byte, byte), { minLength: 256, maxLength: 256 });
  fc.assert(
    fc.property(masks, fc.array(access, { maxLength: 20 }), (initial, accesses) => {
      const config = new ConfigSpace(false);
      initial.forEach(([value, wmask, w1c], i) => {
        config.bytes[i] = value;
        config.wmask[i] = wmask;
        config.w1cmask[i] = w1c & ~wmask;
      });
      const model = [...config.bytes];
      for (const { offset, size, value } of accesses) {
        config.write(offset, size, value);
        for (let i = 0; i < size && offset + i < 256; i++) {
          const [, wmask = 0, w1c = 0] = initial[offset + i] ?? [];
          const v = Math.floor(value / 256 ** i) % 256;
          const stored = ((model[offset + i] ?? 0) & ~wmask) | (v & wmask);
          model[offset + i] = stored & ~(v & w1c & ~wmask);
        }
      }
      return model.every((expected, i) => config.bytes[i] === expected);
    }),
  );
});

t.test('reads are little-endian and unsigned', async (t) => {
  const config = new ConfigSpace(false);
  config.set(0x10, 4, 0xfedcba98);
  t.strictSame(
    [0x10, 0x11, 0x12].map((at) => config.get(at, 1)),
    [0x98, 0xba, 0xdc],
  );
  t.equal(config.get(0x10, 2), 0xba98);
  t.equal(config.get(0x10, 4), 0xfedcba98);
});

t.test('the last capability added is the first in the list, read-only until told', async (t) => {
  const config = new ConfigSpace(true);
  t.equal(config.get(CONFIG.STATUS, 2), 0);
  t.equal(config.addCapability(CAPABILITY.MSI, 14), 0x40);
  t.equal(config.get(CONFIG.STATUS, 2), 0x10);
  t.equal(config.addCapability(CAPABILITY.EXPRESS, 0x3c), 0x50, 'capabilities own whole dwords');
  t.equal(config.get(CONFIG.CAPABILITIES, 1), 0x50);
  t.equal(config.get(0x50, 2), 0x4010);
  t.equal(config.get(0x40, 2), 0x0005);
  config.write(0x44, 4, 0xffff_ffff);
  config.write(0x8c, 4, 0x12345678);
  t.strictSame(
    [config.get(0x44, 4), config.get(0x8c, 4)],
    [0, 0x12345678],
    'free bytes are storage',
  );
  t.equal(config.findCapability(CAPABILITY.MSI), 0x40);
  t.equal(config.findCapability(CAPABILITY.MSIX), undefined);
});

t.test('a capability that is taken out leaves the list whole', async (t) => {
  for (const gone of [0x05, 0x10, 0x11]) {
    const config = new ConfigSpace(false);
    for (const id of [0x05, 0x10, 0x11]) config.addCapability(id, 8);
    config.removeCapability(gone, 8);
    const left = [0x05, 0x10, 0x11].filter((id) => config.findCapability(id) !== undefined);
    t.strictSame(
      left,
      [0x05, 0x10, 0x11].filter((id) => id !== gone),
    );
  }
  const config = new ConfigSpace(false);
  config.addCapability(0x05, 8);
  config.removeCapability(0x05, 8);
  t.strictSame([config.get(CONFIG.CAPABILITIES, 1), config.get(CONFIG.STATUS, 2)], [0, 0]);
});

t.test('a capability without room is a mistake of the device', async (t) => {
  const config = new ConfigSpace(false);
  config.addCapability(0x05, 0x10, 0x40);
  t.throws(() => config.addCapability(0x10, 8, 0x4c), RangeError);
  t.throws(() => config.addCapability(0x10, 0xc0), RangeError);
  t.throws(() => config.addExtendedCapability(1, 1, 8), RangeError, 'conventional');
});

t.test('extended capabilities are linked from 0x100 on', async (t) => {
  const config = new ConfigSpace(true);
  t.throws(() => config.addExtendedCapability(1, 2, 0x48, 0x140), /0x100/);
  t.equal(config.addExtendedCapability(0x0001, 2, 0x48), 0x100);
  t.equal(config.addExtendedCapability(0x000d, 1, 8), 0x148);
  t.equal(config.addExtendedCapability(0x0003, 1, 12, 0x200), 0x200);
  t.strictSame(
    [0x100, 0x148, 0x200].map((at) => config.get(at, 4)),
    [0x14820001, 0x2001000d, 0x00010003],
  );
  t.strictSame(config.extendedCapabilities(), [0x100, 0x148, 0x200]);
  t.equal(config.findExtendedCapability(0x000d), 0x148);
});

import fc from 'fast-check';
import t from 'tap';
import {
  checkCommonPciProperties,
  commonPciProperties,
  parseSlotAddress,
} from '../../../devices/pci/properties.js';

const { addr } = commonPciProperties;

t.test('an address is slot and function in hexadecimal, or a devfn (§3.3)', async (t) => {
  for (const [text, devfn] of [
    ['5', 0x28],
    ['1f.7', 0xff],
    ['0x4.0x1', 0x21],
    ['06.0', 0x30],
    [' 5.1', 0x29],
    ['+9', 0x48],
  ] as const) {
    t.equal(addr.parseText(text, 'addr', 'edu'), devfn, text);
    t.equal(addr.parse(text, 'addr', 'edu'), devfn, text);
  }
  for (const devfn of [-1n, 0n, 8n, 255n]) t.equal(addr.parse(devfn, 'addr', 'edu'), Number(devfn));
  t.equal(addr.show(8), 8n);
});

t.test('what is no address is refused by name, value and type', async (t) => {
  for (const text of ['zz', '', '20', '1.8', '6.', '7 ', '-1', '1.2.3'])
    t.throws(() => addr.parseText(text, 'addr', 'ivshmem-plain'), {
      class: 'GenericError',
      message: `Property 'ivshmem-plain.addr' doesn't take value '${text}'`,
    });
  for (const value of [-2n, 256n, 1n << 63n])
    t.throws(() => addr.parse(value, 'addr', 'edu'), {
      class: 'GenericError',
      message: "Parameter 'addr' expects a value between -1 and 255",
    });
  for (const value of [true, null, 1.5, [], {}])
    t.throws(() => addr.parse(value, 'addr', 'edu'), {
      class: 'GenericError',
      message: "Invalid parameter type for 'addr', expected int or str",
    });
});

t.test('every address that is printed is read back', async () => {
  const text = fc.tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 10 }));
  fc.assert(
    fc.property(text, ([slot, fn]) => {
      const expected = slot < 32 && fn < 8 ? slot * 8 + fn : undefined;
      return parseSlotAddress(`${slot.toString(16)}.${fn.toString(16)}`) === expected;
    }),
  );
  fc.assert(
    fc.property(fc.string({ maxLength: 12 }), (any) => {
      const devfn = parseSlotAddress(any);
      return devfn === undefined || (devfn >= 0 && devfn <= 255);
    }),
  );
});

t.test('a ROM size is a power of two', async (t) => {
  checkCommonPciProperties({ romsize: 0xffff_ffff });
  checkCommonPciProperties({ romsize: 4096 });
  for (const romsize of [0, 3])
    t.throws(() => checkCommonPciProperties({ romsize }), {
      class: 'GenericError',
      message: `ROM size ${String(romsize)} is not a power of two`,
    });
});

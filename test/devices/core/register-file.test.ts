import fc from 'fast-check';
import t from 'tap';
import { RegisterFile, field, whole } from '../../../devices/core/register-file.js';
import type { RegisterMap } from '../../../devices/core/register-file.js';

const MAP = {
  CONTROL: {
    offset: 0x00,
    size: 4,
    fields: {
      GO: field([0, 0], 'RW'),
      MODE: field([7, 4], 'RW', 3n),
      ID: field([31, 24], 'RO', 9n),
    },
  },
  STATUS: { offset: 0x04, size: 4, fields: { EVENTS: field([3, 0], 'RW1C') } },
  WIDE: whole(0x08, 8, 'RW'),
} as const satisfies RegisterMap;
const RESET = 0x09000030n;

t.test('registers begin with their reset values and return to them', async (t) => {
  const file = new RegisterFile(MAP);
  t.equal(file.read(0, 4), RESET);
  file.write(0, 4, 0xffffffffn);
  t.equal(file.read(0, 4), 0x090000f1n, 'fields that can be written, no other bit');
  file.reset();
  t.equal(file.read(0, 8), RESET);
});

t.test('writing 1 clears bits that the device set', async (t) => {
  const file = new RegisterFile(MAP);
  file.set('STATUS', 0xfn);
  t.strictSame(file.write(4, 4, 0x5n), ['STATUS']);
  t.equal(file.get('STATUS'), 0xan);
});

t.test('one access of 8 bytes covers two registers, or one', async (t) => {
  const file = new RegisterFile(MAP);
  file.set('STATUS', 0xfn);
  t.strictSame(file.write(0, 8, 0x3_0000_0001n), ['CONTROL', 'STATUS']);
  t.equal(file.read(0, 8), 0xc_0900_0001n);
  t.strictSame(file.write(8, 8, (1n << 64n) - 1n), ['WIDE']);
  t.equal(file.get('WIDE'), (1n << 64n) - 1n);
});

t.test('where no register is, reads are 0 and writes touch nothing', async (t) => {
  const file = new RegisterFile(MAP);
  t.equal(file.read(0x10, 8), 0n);
  t.strictSame(file.write(0x10, 8, 1n), []);
});

t.test('fields are read and set by name', async (t) => {
  const file = new RegisterFile(MAP);
  t.equal(file.getField('CONTROL', 'MODE'), 3n);
  file.setField('CONTROL', 'MODE', 0x1fn);
  t.equal(file.getField('CONTROL', 'MODE'), 0xfn, 'cut to its width');
  t.equal(file.getField('CONTROL', 'GO'), 0n);
});

t.test('saved values come back; others are refused and change nothing', async (t) => {
  const file = new RegisterFile(MAP);
  file.write(0, 8, 0x11n);
  file.write(8, 8, 1n << 63n);
  const state = file.save();
  const other = new RegisterFile(MAP);
  for (const bad of [undefined, {}, { ...state, WIDE: 1n << 64n }, { ...state, STATUS: 1 }])
    t.throws(() => other.prepareLoad(bad), { name: 'QmpError' });
  t.throws(() => other.prepareLoad({ ...state, CONTROL: 0xffff_ffffn }), {
    message: 'saved registers.CONTROL has bits that the register does not have',
  });
  t.equal(other.read(0, 4), RESET);
  other.prepareLoad(state)();
  t.strictSame(other.save(), state);
});

t.test('halves written alone make the same as the whole', async () => {
  const half = fc.record({ high: fc.boolean(), value: fc.bigInt(0n, 0xffffffffn) });
  fc.assert(
    fc.property(fc.array(half), (writes) => {
      const file = new RegisterFile(MAP);
      let model = 0n;
      for (const { high, value } of writes) {
        file.write(high ? 12 : 8, 4, value);
        model = high ? (model & 0xffffffffn) | (value << 32n) : (model & ~0xffffffffn) | value;
      }
      return file.read(8, 8) === model && file.read(12, 4) === model >> 32n;
    }),
  );
});

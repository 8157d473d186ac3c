import t from 'tap';
import type { StateValue } from '../../../devices/core/device.js';
import {
  bitsOf,
  bytes,
  each,
  fields,
  flag,
  integer,
  list,
  map,
  part,
  text,
  unsigned,
  type Reader,
} from '../../../devices/core/saved-state.js';

const MAX_64 = (1n << 64n) - 1n;

t.test('what fits is taken as it is', async (t) => {
  const cases: [Reader<unknown>, StateValue][] = [
    [integer(7), 0],
    [integer(7), 7],
    [integer(7, 3), 3],
    [bitsOf(0x8000_0001), 0x8000_0001],
    [unsigned(8), 255n],
    [unsigned(), MAX_64],
    [flag, false],
    [text(/^[ab]+$/), 'ab'],
    [bytes(2), Uint8Array.of(1, 2)],
    [bytes(2, 0), new Uint8Array(0)],
    [list(flag, 2), [true, false]],
    [list(flag, 2), []],
    [each<unknown>([flag, integer(1)]), [true, 1]],
    [fields({ a: flag, b: part }), { a: true, b: [1] }],
    [map, { x: 1n }],
    [part, ''],
  ];
  for (const [reader, value] of cases) t.strictSame(reader(value, 'saved thing'), value);
});

t.test('bytes are copied', async (t) => {
  const saved = Uint8Array.of(1, 2);
  const read = bytes(2)(saved, 'saved thing');
  saved[0] = 9;
  t.equal(read[0], 1);
});

t.test('anything else is refused with its place and the rule', async (t) => {
  const cases: [Reader<unknown>, StateValue | undefined, string][] = [
    [integer(7), 8, ' must be an integer from 0 to 7'],
    [integer(7, 3), 2, ' must be an integer from 3 to 7'],
    [integer(7), 1.5, ' must be an integer from 0 to 7'],
    [integer(7), NaN, ' must be an integer from 0 to 7'],
    [integer(7), 1n, ' must be an integer from 0 to 7'],
    [integer(7), undefined, ' must be an integer from 0 to 7'],
    [bitsOf(1), 3, ' must be without other bits than 0x1'],
    [unsigned(8), 256n, ' must be an unsigned integer of 8 bits'],
    [unsigned(), -1n, ' must be an unsigned integer of 64 bits'],
    [unsigned(), MAX_64 + 1n, ' must be an unsigned integer of 64 bits'],
    [flag, 0, ' must be true or false'],
    [text(/^a$/), 'b', ' must be a text like /^a$/'],
    [bytes(2), new Uint8Array(3), ' must be 2 bytes'],
    [bytes(2), new Uint8Array(1), ' must be 2 bytes'],
    [bytes(2, 0), new Uint8Array(3), ' must be 0 to 2 bytes'],
    [list(flag, 1), [true, true], ' must be a list of 0 to 1'],
    [list(flag, 2, 2), [true], ' must be a list of 2'],
    [list(flag, 2), [true, 1], '[1] must be true or false'],
    [each([flag, flag]), [true], ' must be a list of 2'],
    [fields({ a: flag }), [], ' must be a map'],
    [fields({ a: flag }), new Uint8Array(1), ' must be a map'],
    [fields({ a: flag }), {}, '.a must be true or false'],
    [fields({ a: flag }), { a: true, b: 1 }, " has an unknown field 'b'"],
    [fields({ toString: flag }), {}, '.toString must be true or false'],
    [
      fields({ a: list(fields({ b: flag }), 3) }),
      { a: [{ b: 2 }] },
      '.a[0].b must be true or false',
    ],
    [map, 'x', ' must be a map'],
    [part, undefined, ' is missing'],
  ];
  for (const [reader, value, rest] of cases)
    t.throws(() => reader(value, 'saved thing'), {
      class: 'GenericError',
      message: `saved thing${rest}`,
    });
});

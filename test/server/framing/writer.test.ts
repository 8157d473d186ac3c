import fc from 'fast-check';
import t from 'tap';
import { formatDouble, parseNumber } from '../../../server/framing/number.js';
import { quote, writeJson, writePretty } from '../../../server/framing/writer.js';
import { PreparedJson } from '../../../server/session/target.js';

t.test('doubles are printed as C prints them with %.17g', async (t) => {
  for (const [value, text] of [
    [1, '1'],
    [-0, '-0'],
    [0.1, '0.10000000000000001'],
    [1e16, '10000000000000000'],
    [1e17, '1e+17'],
    [5e-324, '4.9406564584124654e-324'],
    [0.0001, '0.0001'],
    [0.00001, '1.0000000000000001e-05'],
    [123456.789, '123456.789'],
    [12345678.0009765625, '12345678.000976562'],
    [12345678.0029296875, '12345678.002929688'],
    [1.7976931348623157e308, '1.7976931348623157e+308'],
  ] as const)
    t.equal(formatDouble(value), text);
});

t.test('every double survives being printed', async () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) =>
      Object.is(Number(formatDouble(value)), value),
    ),
  );
});

t.test('64-bit integers stay integers, everything else is a double', async (t) => {
  for (const [text, value] of [
    ['18446744073709551615', 2n ** 64n - 1n],
    ['18446744073709551616', 2 ** 64],
    ['-9223372036854775808', -(2n ** 63n)],
    ['-9223372036854775809', -(2 ** 63)],
    ['9007199254740993', 9007199254740993n],
    ['1.0', 1],
  ] as const)
    t.equal(parseNumber(text), value, text);
});

t.test('output is ASCII', async (t) => {
  t.equal(quote('a"\\/\b\f\n\r\t\'\u007f'), String.raw`"a\"\\/\b\f\n\r\t'\u007F"`);
  t.equal(quote('é😀\u0000'), String.raw`"\u00E9\uD83D\uDE00\u0000"`);
  t.equal(quote('\ud800x'), String.raw`"\uFFFDx"`);
});

t.test('members keep their order, absent ones leave no trace', async (t) => {
  t.equal(writeJson({ b: 1n, a: undefined, c: [] }), '{"b": 1, "c": []}');
  t.equal(writeJson({ x: new PreparedJson([1n], '[1]') }), '{"x": [1]}');
});

t.test('the pretty form has a line for each item', async (t) => {
  const lines = ['{', '    "a": [', '        1,', '        {', '        }', '    ]', '}'];
  t.equal(writePretty({ a: new PreparedJson([1n, {}], '[1, {}]') }), lines.join('\r\n'));
});

t.test('what is no JSON is refused', async (t) => {
  for (const value of [NaN, Infinity, () => 1]) t.throws(() => writeJson([value]), RangeError);
});

import fc from 'fast-check';
import t from 'tap';
import { ObjectSplitter, parseJson, writeJson } from '../../ctl/json.js';
import type { JsonValue } from '../../schema/json.js';

const value = fc.letrec<{ any: JsonValue }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom<JsonValue>(null, true, false),
    fc.bigInt({ min: -(1n << 70n), max: 1n << 70n }),
    fc.double({ noNaN: true, noDefaultInfinity: true }).filter((n) => !Object.is(n, -0)),
    fc.string({ unit: 'binary' }),
    fc.array(tie('any'), { maxLength: 4 }),
    fc
      .dictionary(fc.oneof(fc.string(), fc.constant('__proto__')), tie('any'), {
        maxKeys: 4,
        noNullPrototype: false,
      })
      .map((object) => Object.assign(Object.create(null) as object, object)),
  ) as fc.Arbitrary<JsonValue>,
})).any;

t.test('every value is read back as it was written, compact and indented', async (t) => {
  fc.assert(
    fc.property(value, (given) => {
      t.strictSame(parseJson(writeJson(given)), given);
      t.strictSame(parseJson(writeJson(given, 2)), given);
    }),
    { numRuns: 200 },
  );
});

t.test('integers are exact beyond 2^53, and a double stays a double', async (t) => {
  for (const text of ['9007199254740993', '18446744073709551615', '-9223372036854775808', '0'])
    t.equal(parseJson(text), BigInt(text), text);
  t.equal(parseJson('1.0'), 1);
  t.equal(writeJson(1), '1.0');
  t.equal(writeJson(1e21), '1e+21');
  t.equal(writeJson(0.1), '0.1');
});

t.test('output is indented like JSON.stringify does', async (t) => {
  const given = { a: [1n, { b: 'é"' }], c: {}, d: [] };
  t.equal(writeJson(given, 2), JSON.stringify({ a: [1, { b: 'é"' }], c: {}, d: [] }, null, 2));
});

t.test('what is not strict JSON is refused with the place', async (t) => {
  for (const text of [
    ...['', '{', '[1,]', '{"a"}', "{'a':1}", '{"a":1,}', '01', '+1', '.5', 'tru', 'nulll', '"a'],
    ...['[1 2]', '{"a":1}}', '"\t"', '"\\x"', 'NaN', '-', '1.', '[', '{"a":1 "b":2}', `"\\`],
  ])
    t.throws(() => parseJson(text), { name: 'SyntaxError' }, text);
  t.throws(() => parseJson('['.repeat(100_000)), /nested deeper than 2048/);
});

t.test('a stream is cut into objects wherever its chunks end', async (t) => {
  const objects = fc.array(
    fc
      .dictionary(fc.string(), value, { maxKeys: 3 })
      .map((o) => Object.assign(Object.create(null) as object, o)),
    { maxLength: 5 },
  ) as fc.Arbitrary<JsonValue[]>;
  fc.assert(
    fc.property(objects, fc.array(fc.nat(40)), fc.constantFrom(0, 4), (list, cuts, indent) => {
      const stream = list.map((item) => `${writeJson(item, indent)}\r\n`).join('');
      const splitter = new ObjectSplitter();
      const found: JsonValue[] = [];
      let at = 0;
      for (const cut of [...cuts, stream.length]) {
        for (const text of splitter.push(stream.slice(at, at + cut))) found.push(parseJson(text));
        at += cut;
      }
      t.strictSame(found, list);
    }),
    { numRuns: 200 },
  );
});

import fc from 'fast-check';
import t from 'tap';
import { JsonStream } from '../../../server/framing/stream.js';
import type { JsonItem } from '../../../server/framing/stream.js';
import { writeJson } from '../../../server/framing/writer.js';
import type { JsonValue } from '../../../schema/json.js';

const drain = (stream: JsonStream): JsonItem[] => {
  const items: JsonItem[] = [];
  for (let item = stream.next(); item !== undefined; item = stream.next()) items.push(item);
  return items;
};
const readAll = (chunks: readonly Buffer[], stream = new JsonStream()): JsonItem[] =>
  chunks.flatMap((chunk) => {
    stream.push(chunk);
    return drain(stream);
  });
const read = (text: string, stream = new JsonStream()): JsonItem[] =>
  readAll([Buffer.from(text)], stream);
const shown = (items: readonly JsonItem[]): string =>
  items
    .map((item) => (item.kind === 'value' ? writeJson(item.value) : `! ${item.desc}`))
    .join('\n');
const singly = (bytes: Uint8Array): Buffer[] => [...bytes].map((byte) => Buffer.from([byte]));

const small = (limits: { depth?: number; tokens?: number; bytes?: number }): JsonStream =>
  new JsonStream({ depth: 8, tokens: 20, bytes: 100, ...limits });

const json: fc.Arbitrary<JsonValue> = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom<JsonValue>(null, true, false),
    fc.bigInt(-(2n ** 63n), 2n ** 64n - 1n),
    fc.double({ noNaN: true, noDefaultInfinity: true }).filter((x) => !Number.isInteger(x)),
    fc.string({ unit: 'binary' }).filter((x) => !/\p{Noncharacter_Code_Point}/u.test(x)),
    fc.array(tie('value')),
    fc.dictionary(fc.string(), tie('value'), { noNullPrototype: false }),
  ),
})).value;

t.test('what is written is read back the same', async () => {
  fc.assert(
    fc.property(json, (value) => {
      const text = writeJson(value);
      return shown(read(`${text}\n`)) === text;
    }),
  );
});

t.test('chunk borders change nothing', async () => {
  const part = fc.oneof(
    fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ':',
      ',',
      '"',
      "'",
      '\\',
      '\n',
      ' ',
      '1',
      '-',
      '.',
      'e',
      'a',
    ),
    fc.constantFrom('{"execute":"query-name","id":1}', '"\\ud83d\\ude00"', 'é', 'null', '{"a":[1,'),
  );
  const soup = fc.oneof(
    fc.array(part, { maxLength: 30 }).map((parts) => Buffer.from(parts.join(''))),
    fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
  );
  fc.assert(
    fc.property(soup, (bytes) => shown(readAll([bytes])) === shown(readAll(singly(bytes)))),
    { numRuns: 2000 },
  );
});

t.test('after any bytes, FF and a value give one error and the value', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      const stream = new JsonStream();
      readAll([Buffer.from(bytes)], stream);
      const after = readAll([Buffer.from([0xff]), Buffer.from('{"a":1}')], stream);
      const last = after.at(-1);
      const beforeLast = after.at(-2);
      return last?.kind === 'value' && beforeLast?.kind === 'error';
    }),
    { numRuns: 2000 },
  );
});

t.test('nothing is looked at before it is asked for', async (t) => {
  const stream = new JsonStream();
  stream.push(Buffer.from('{"a":1}{"a":2}'));
  t.equal(stream.pending, 14);
  t.match(stream.next(), { kind: 'value' });
  t.equal(stream.pending, 7, 'the second is still untouched');
  stream.push(Buffer.from('{}'));
  t.equal(stream.pending, 9);
  t.equal(drain(stream).length, 2);
});

t.test('any key is ordinary data', async (t) => {
  const [item] = read(String.raw`{"__proto__":{"x":1},"constructor":2}`);
  t.equal(
    item?.kind === 'value' && writeJson(item.value),
    '{"__proto__": {"x": 1}, "constructor": 2}',
  );
});

t.test('a number out of range is refused', async (t) => {
  for (const number of ['1e400', '-1e400', '9'.repeat(400)])
    t.equal(shown(read(`[${number}]`)), '! JSON parse error, number out of range');
});

t.test('nesting is bounded', async (t) => {
  const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
  t.equal(shown(read(nested(8), small({}))), nested(8), 'at the limit');
  const [error, ...rest] = read(nested(9), small({}));
  t.strictSame(error, { kind: 'error', desc: 'JSON nesting depth limit exceeded' });
  t.equal(rest.length, 9, 'each closer is an error of its own');
  t.equal(shown(read(nested(1024))), nested(1024), 'the default allows 1024');
  t.equal(read(nested(1025)).length, 1026);
});

t.test('tokens of a message are counted', async (t) => {
  const list = (count: number): string => `[${Array<string>(count).fill('1').join(',')}]`;
  t.match(read(list(9), small({ tokens: 19 })), [{ kind: 'value' }], '19 tokens');
  const [error] = read(list(9), small({ tokens: 18 }));
  t.strictSame(error, { kind: 'error', desc: 'JSON token count limit exceeded' });
});

t.test('bytes of a message are counted without blanks', async (t) => {
  const of = (len: number): string => `[   "${'x'.repeat(len)}"   ]`;
  // Two brackets, two quotes, and one more byte.
  t.match(read(of(95), small({})), [{ kind: 'value' }]);
  const [error] = read(of(96), small({}));
  t.strictSame(error, { kind: 'error', desc: 'JSON token size limit exceeded' });
});

t.test('a token that is too long is refused in its middle', async (t) => {
  t.match(read(`"${'x'.repeat(97)}"`, small({})), [{ kind: 'value' }], '99 bytes');
  for (const chunks of [(bytes: Buffer) => [bytes], singly])
    t.equal(
      shown(readAll(chunks(Buffer.from(`"${'x'.repeat(100)}yz 1 `)), small({}))),
      "! JSON token size limit exceeded\n! JSON parse error, invalid keyword 'yz'\n1",
      'the rest is fresh input',
    );
});

t.test('the default allows a token of 64 MiB less one byte', async (t) => {
  const token = (len: number): Buffer => Buffer.from(`"${'x'.repeat(len - 2)}"`);
  t.match(readAll([token(2 ** 26 - 1)]), [{ kind: 'value' }]);
  t.strictSame(readAll([token(2 ** 26)]), [
    { kind: 'error', desc: 'JSON token size limit exceeded' },
  ]);
});

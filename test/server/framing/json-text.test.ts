import t from 'tap';
import { readJson } from '../../../server/framing/json-text.js';

const GOOD = `{
  "name": "ä\\u00e4\\n\\"\\ud83d\\ude00😀",
  "list": [0, -1, 1.5, 1e3, -0.25E-2, [], {}, [[null]], true, false],
  "large": 18446744073709551615, "nested": {"a": {"b": [{"c": ""}]}},
  "__proto__": 1
}
`;

/** As JSON.parse gives it: integers are numbers. */
const plain = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_key, part: unknown) =>
      typeof part === 'bigint' ? Number(part) : part,
    ),
  );

t.test('JSON is read with exact integers', async (t) => {
  t.strictSame(plain(readJson(GOOD)), plain(JSON.parse(GOOD)));
  t.match(readJson(GOOD), { large: 2n ** 64n - 1n, list: [0n, -1n, 1.5, 1000, -0.0025] });
  for (const text of ['7', ' "x" ', 'null', '[]'])
    t.strictSame(plain(readJson(text)), JSON.parse(text));
});

t.test('what is no JSON for others is none here', async (t) => {
  const accepts = (read: (text: string) => unknown, text: string): boolean => {
    try {
      read(text);
      return true;
    } catch {
      return false;
    }
  };
  // Every text with one character gone, doubled, or replaced by one that means something.
  for (let at = 0; at < GOOD.length; at++) {
    const [before, here, after] = [GOOD.slice(0, at), GOOD[at] ?? '', GOOD.slice(at + 1)];
    for (const changed of ['', here + here, ...'{}[]:,"\\0-.eE+tn \t\n\r\u0001\u00a0x/\'']) {
      const text = before + changed + after;
      let tolerated = false;
      try {
        readJson(text);
      } catch (error) {
        // Stricter on purpose.
        tolerated = /second time|surrogate|out of range/.test((error as Error).message);
      }
      if (!tolerated && accepts(readJson, text) !== accepts(JSON.parse, text)) t.fail(text);
    }
  }
  t.pass('all alike');
});

t.test('a mistake has a line, a column and what was expected', async (t) => {
  for (const [text, message] of [
    ['', 'line 1, column 1: a value is expected, not the end of the file'],
    ['\n\n  ', 'line 3, column 3: a value is expected, not the end of the file'],
    ['{"a": 1\n"b": 2}', `line 2, column 1: ',' or '}' is expected, not '"'`],
    ['{"a": 1,\r\n}', "line 2, column 1: a name in double quotes is expected, not '}'"],
    ['{a: 1}', "line 1, column 2: a name in double quotes is expected, not 'a'"],
    ["['x']", "line 1, column 2: a value is expected, not '''"],
    ['{"a" 1}', "line 1, column 6: ':' is expected, not '1'"],
    ['["ä😀", 1 2]', "line 1, column 10: ',' or ']' is expected, not '2'"],
    ['[1, 2', "line 1, column 6: ',' or ']' is expected, not the end of the file"],
    ['[nulls]', "line 1, column 2: a value is expected, not 'nulls'"],
    ['[01]', "line 1, column 3: ',' or ']' is expected, not '1'"],
    ['[1.]', "line 1, column 3: ',' or ']' is expected, not '.'"],
    ['[1e999]', 'line 1, column 2: number out of range'],
    ['"a\nb"', 'line 1, column 3: the end of the string is expected, not a control character'],
    ['"a', 'line 1, column 3: the end of the string is expected, not the end of the file'],
    ['["a\\x"]', "line 1, column 4: an escape of JSON is expected, not '\\'"],
    ['["\\ud800"]', 'line 1, column 2: half a surrogate pair in a string'],
    ['{} {}', "line 1, column 4: the end of the file is expected, not '{'"],
    ['{"a": 1,\n "a": 2}', "line 2, column 2: 'a' is here for the second time"],
    ['\ufeff{}', "line 1, column 1: a value is expected, not '\ufeff'"],
  ] as const)
    t.throws(() => readJson(text), { message }, text);
  t.equal(Array.isArray(readJson('['.repeat(1024) + ']'.repeat(1024))), true);
  t.throws(() => readJson('['.repeat(1025) + ']'.repeat(1025)), {
    message: 'line 1, column 1025: more than 1024 levels',
  });
});

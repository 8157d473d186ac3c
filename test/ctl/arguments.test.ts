import t from 'tap';
import { readArguments, UsageError } from '../../ctl/arguments.js';
import { defaultAddress, demoSocketPath } from '../../ctl/paths.js';

const plain = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
};

t.test('a value is JSON when it looks like it, else text', async (t) => {
  for (const [word, value] of [
    ['v=5', 5n],
    ['v=-1', -1n],
    ['v=18446744073709551615', 18446744073709551615n],
    ['v=1.5', 1.5],
    ['v=true', true],
    ['v=null', null],
    ['v="5"', '5'],
    ['v=[1,"a"]', [1n, 'a']],
    ['v={"a":{}}', { a: {} }],
    ['v=1G', '1G'],
    ['v=0x10', '0x10'],
    ['v=01', '01'],
    ['v=1b4e28ba-2fa1-11d2-883f-0016d3cca427', '1b4e28ba-2fa1-11d2-883f-0016d3cca427'],
    ['v=truex', 'truex'],
    ['v=on', 'on'],
    ['v=', ''],
    ['v=a=b', 'a=b'],
    ['v=/dev/shm/x', '/dev/shm/x'],
  ] as const)
    t.strictSame(plain(readArguments([word])), { v: value }, word);
});

t.test('dotted keys nest, and numbered ones are lists', async (t) => {
  t.strictSame(
    plain(
      readArguments(['a.b=1', 'a.c.d=x', 'l.0.offset=0', 'l.0.len=4', 'l.1.offset=8', 'm.1=x']),
    ),
    {
      a: { b: 1n, c: { d: 'x' } },
      l: [{ offset: 0n, len: 4n }, { offset: 8n }],
      m: { 1: 'x' },
    },
  );
  t.equal(Object.keys(readArguments(['__proto__.x=1'])).join(), '__proto__', 'ordinary data');
  t.strictSame(plain(readArguments([])), {});
});

t.test('a word that cannot be an argument is named', async (t) => {
  for (const [words, message] of [
    [['device'], "'device' is not key=value"],
    [['=x'], "'=x' is not key=value"],
    [['a..b=1'], "'a..b=1' has an empty part in its key"],
    [['a=1', 'a=2'], "'a=2' sets something that is set already"],
    [['a=1', 'a.b=2'], "'a.b=2' sets something that is set already"],
    [['a.b=1', 'a=2'], "'a=2' sets something that is set already"],
    [['a=[1'], "'[1': JSON ends too early"],
  ] as const)
    t.throws(() => readArguments(words), new UsageError(message), words.join(' '));
});

t.test('the socket is the one named, else that of the demonstration machine', async (t) => {
  t.equal(defaultAddress({ QMEMD_SOCKET: '/run/x' }), '/run/x');
  t.equal(defaultAddress({ XDG_RUNTIME_DIR: '/run/user/1' }), '/run/user/1/qmemd/demo.qmp');
  t.equal(demoSocketPath({ QMEMD_SOCKET: '/run/x', XDG_RUNTIME_DIR: '/r' }), '/r/qmemd/demo.qmp');
  t.match(demoSocketPath({}), /\/qmemd-\d+\/demo\.qmp$/);
});

import t from 'tap';
import { writeJson } from '../../../ctl/json.js';
import { callOf } from '../../../ctl/call.js';
import { StatementReader, type Statement } from '../../../ctl/shell/statement.js';
import { splitWords } from '../../../ctl/words.js';

t.test('words end at blanks, except inside quotes and brackets', async (t) => {
  for (const [line, words] of [
    ['', []],
    ['  a  b\tc ', ['a', 'b', 'c']],
    ['a x=1 y={"k": [1, 2]} z', ['a', 'x=1', 'y={"k": [1, 2]}', 'z']],
    ['a x="b c" y', ['a', 'x="b c"', 'y']],
    ["a x='b c'", ['a', 'x=b c']],
    [`a data='"1234"'`, ['a', 'data="1234"']],
    [`x={'a': "it's", 'b"': ']'}`, [`x={"a": "it's", "b\\"": "]"}`]],
    ["desc=don't y", ["desc=don't", 'y']],
    ['path=/a{b c', ['path=/a{b', 'c']],
    ['x=a={b c', ['x=a={b', 'c']],
  ] as const)
    t.test(line, async (t) => {
      const found = splitWords(line);
      t.strictSame(
        found.words.map(({ text }) => text),
        words,
      );
      t.equal(found.depth, 0);
    });
  t.equal(splitWords('x={"a": [').depth, 2);
  t.throws(() => splitWords('x="a'), { message: 'a quote is not closed' });
  t.throws(() => splitWords("x={'a"), { message: 'a quote is not closed' });
});

/** The statement as one line of text. */
const show = (statement: Statement | undefined): string => {
  if (statement === undefined) return '';
  const { command, args, id } = statement.kind === 'words' ? callOf(statement.words) : statement;
  return `${command} ${writeJson(args)}${id === undefined ? '' : ` ${writeJson(id)}`}`;
};

t.test('a statement goes on while brackets are open', async (t) => {
  const reader = new StatementReader();
  t.equal(
    show(reader.push('object-add qom-type=x size=18446744073709551615 a.b=1')),
    ['object-add {"qom-type": "x", "size": 18446744073709551615, "a": {"b": 1}}'].join(''),
  );
  for (const line of ['blockdev-add options={', '', '  "a": [1,', '  2]']) {
    t.equal(reader.push(line), undefined);
    t.equal(reader.state, 'more');
  }
  t.equal(show(reader.push('} id=y')), 'blockdev-add {"options": {"a": [1, 2]}, "id": "y"}');
  t.equal(reader.state, 'start');
  t.equal(reader.push('a x=[1'), undefined);
  t.equal(reader.push('] y=['), undefined);
  t.equal(show(reader.push(']')), 'a {"x": [1], "y": []}', 'brackets that open again');
  t.equal(reader.push('a x=['), undefined);
  reader.cancel();
  t.equal(reader.state, 'start');
});

t.test('a command in JSON', async (t) => {
  const reader = new StatementReader();
  t.equal(reader.push('{"execute": "a",'), undefined);
  t.equal(show(reader.push(`'arguments': {'b': 1}, "id": [7]}`)), 'a {"b": 1} [7]');
  const urgent = reader.push('{"exec-oob": "a"}');
  t.match(urgent, { command: 'a', isOutOfBand: true });
  for (const [line, problem] of [
    ['{"arguments": {}}', 'a command in JSON needs "execute" or "exec-oob"'],
    [
      '{"execute": "a", "exec-oob": "a"}',
      'a command in JSON has either "execute" or "exec-oob", not both',
    ],
    ['{"exec-oob": {}}', 'a command in JSON needs "execute" or "exec-oob"'],
    ['{"execute": "a", "arguments": []}', '"arguments" must be an object'],
    ['{"execute": "a", "x": 1}', '"x" is not a member of a command'],
    ['{"execute" "a"}', 'JSON goes wrong at \'"a"}\''],
  ] as const)
    t.throws(() => reader.push(line), { name: 'UsageError', message: problem });
});

t.test('a transaction is one command, all or nothing', async (t) => {
  const reader = new StatementReader();
  for (const line of ['transaction(', 'abort', '', 'drive-x device=d0 n={', '"k": 1}'])
    t.equal(reader.push(line), undefined);
  t.equal(reader.state, 'transaction');
  t.equal(
    show(reader.push(')')),
    'transaction {"actions": [{"type": "abort", "data": {}}, ' +
      '{"type": "drive-x", "data": {"device": "d0", "n": {"k": 1}}}]}',
  );
  t.equal(
    show(reader.push('transaction( abort a=1 )')),
    'transaction {"actions": [{"type": "abort", "data": {"a": 1}}]}',
  );
  t.equal(
    show(reader.push('transaction( ; abort a=1 ; abort b=; ; )')),
    'transaction {"actions": [{"type": "abort", "data": {"a": 1}}, ' +
      '{"type": "abort", "data": {"b": ";"}}]}',
    'several in a line',
  );
  for (const slip of ['abort now', 'abort x="']) {
    for (const line of ['transaction(', slip, 'quit']) t.equal(reader.push(line), undefined);
    t.throws(() => reader.push(')'), { message: /^the transaction is not sent: / });
    t.equal(reader.state, 'start');
  }
});

t.test('a statement of several lines is one that says the same', async (t) => {
  for (const [lines, line] of [
    [[' a b=1 '], ' a b=1 '],
    [['{"execute":', '', '  "query-name"}'], '{"execute": "query-name"}'],
    [['a x=[1', '', '  ,2] y=['], 'a x=[1 ,2] y=['],
    [
      ['transaction(', '', ' abort ', 'x n={', '"k": 1}', ')'],
      'transaction( abort ; x n={ "k": 1} )',
    ],
    [['transaction( a', 'b )'], 'transaction( a ; b )'],
    [['transaction(', 'abort x="', 'abort'], 'transaction( abort x=" ; abort'],
  ] as const)
    t.test(line, async (t) => {
      const [reader, again] = [new StatementReader(), new StatementReader()];
      const statements = lines.map((each) => reader.push(each));
      t.equal(reader.line, line);
      if (reader.state === 'start') t.strictSame(again.push(line), statements.at(-1));
    });
});

t.test('a long statement takes time in proportion to its length', async (t) => {
  const reader = new StatementReader();
  const start = performance.now();
  reader.push('a x=[');
  for (let n = 0; n < 20_000; n++) reader.push(`"${'y'.repeat(50)}",`);
  const statement = reader.push('1]');
  t.equal(statement?.kind, 'words');
  t.equal(performance.now() - start < 5000, true);
});

t.test('a bracket that closes nothing is not sent', async (t) => {
  for (const [line, closed] of [
    ['}', 'open brace'],
    ['} x=1', 'open brace'],
    [']', 'open bracket'],
    [')', 'transaction('],
  ] as const) {
    const statement = new StatementReader().push(line);
    const words = statement?.kind === 'words' ? statement.words : [];
    const message = `'${line.slice(0, 1)}': there is no ${closed} to close`;
    t.throws(() => callOf(words), { name: 'UsageError', message }, line);
  }
});

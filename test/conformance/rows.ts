/**
 * The compatibility test table, row by row: bytes in, lines out, exactly. `⟨FF⟩` is a raw byte,
 * everything else is what it looks like.
 *
 * @see reference/qmp-protocol.md §2.5
 */

/** `command` and `oob` are negotiated before the input is sent. */
export type Mode = 'command' | 'negotiation' | 'oob';
export interface Row {
  readonly row: number;
  readonly mode: Mode;
  readonly input: Buffer;
  readonly replies: readonly string[];
  /** We answer otherwise than QEMU on purpose. */
  readonly isOurs: boolean;
}

/** Bytes of a text in which `⟨FF 00⟩` stands for raw bytes. */
export const bytes = (text: string): Buffer =>
  Buffer.concat(
    text
      .split(/(⟨[0-9A-F ]+⟩)/)
      .map((part) =>
        part.startsWith('⟨')
          ? Buffer.from(part.replaceAll(/[⟨⟩ ]/g, ''), 'hex')
          : Buffer.from(part, 'utf8'),
      ),
  );

const raw = String.raw;
const withId = (id: string | undefined): string => (id === undefined ? '' : `, "id": ${id}`);
const R = (id?: string): string => `{"return": {"name": "vm0"}${withId(id)}}`;
const error =
  (errorClass: string) =>
  (desc: string, id?: string): string =>
    `{${id === undefined ? '' : `"id": ${id}, `}"error": {"class": "${errorClass}", "desc": "${desc}"}}`;
const E = error('GenericError');
const N = error('CommandNotFound');
const D = error('DeviceNotFound');
const P = (text: string): string => E(`JSON parse error, ${text}`);
const Q = (id: string): string => `{"execute":"query-name","id":${id}}`;

const NAME = '{"execute":"query-name"}';
const VALUE = P('expecting value');
const OBJECT = E('QMP input must be a JSON object');
const STRING = E("QMP input member 'execute' must be a string");
const FFFD = P(raw`stray '\uFFFD'`);
const COMPLETE = 'Capabilities negotiation is already complete, command ignored';
const EXPECTING = "Expecting capabilities negotiation with 'qmp_capabilities'";

const LF = '\n';
type Entry = readonly [number, string | readonly string[], readonly string[], string?];

/** Row, inputs (each in a connection of its own), replies, what is sent after it (default LF). */
const COMMAND_ROWS: readonly Entry[] = [
  [1, NAME, [R()], ''],
  [2, NAME + NAME, [R(), R()], ''],
  [3, '{⟨0D 0A⟩"execute"⟨0D 0A⟩:⟨09⟩"query-name"⟨0A⟩}', [R()]],
  [4, ['', '   ', '\t\t', '\r\r'], []],
  [5, raw`{'execute':"query-name",'id':'it\'s "q"'}`, [R(raw`"it's \"q\""`)]],
  [6, "{'execute':'query-name','id':'it's'}", [P(raw`stray ''}\n'`)]],
  [7, `⟨EF BB BF⟩${NAME}`, [FFFD, R()]],
  [8, `${NAME}}`, [R(), VALUE]],
  [9, `}${NAME}`, [VALUE, R()]],
  [10, ['null', 'true', '42', '-1.5', '"hello"', '[]', '[1,2]'], [OBJECT]],
  [11, '1 2 3', [OBJECT, OBJECT, OBJECT]],
  [12, '{}', [E("QMP input lacks member 'execute'")]],
  [13, '{"id":5}', [E("QMP input lacks member 'execute'", '5')]],
  [14, '{"arguments":{},"id":1}', [E("QMP input lacks member 'execute'", '1')]],
  [15, '{"execute":"no-such-cmd","id":1}', [N('The command no-such-cmd has not been found', '1')]],
  [16, '{"execute":""}', [N('The command  has not been found')]],
  [17, '{"execute":"Query-Name"}', [N('The command Query-Name has not been found')]],
  [17, '{"execute":"query_name"}', [N('The command query_name has not been found')]],
  [17, '{"execute":" query-name"}', [N('The command  query-name has not been found')]],
  [18, ['1', 'null', 'true', '{}', '["query-name"]'].map((x) => `{"execute":${x}}`), [STRING]],
  [
    19,
    ['null', '[]', '"x"', '1'].map((x) => `{"execute":"query-name","arguments":${x}}`),
    [E("QMP input member 'arguments' must be an object")],
  ],
  [
    20,
    '{"execute":"no-such-cmd","arguments":[]}',
    [E("QMP input member 'arguments' must be an object")],
  ],
  [21, '{"execute":"query-name","arguments":{}}', [R()]],
  [22, '{"execute":"query-name","arguments":{"x":1}}', [E("Parameter 'x' is unexpected")]],
  [
    23,
    '{"execute":"query-name","extra":1,"id":4}',
    [E("QMP input member 'extra' is unexpected", '4')],
  ],
  [24, '{"execute":"no-such-cmd","extra":true}', [E("QMP input member 'extra' is unexpected")]],
  [25, '{"execute":"query-name","":1}', [E("QMP input member '' is unexpected")]],
  [26, '{"QMP":{}}', [E("QMP input member 'QMP' is unexpected")]],
  [26, '{"event":"STOP"}', [E("QMP input member 'event' is unexpected")]],
  [26, '{"return":{}}', [E("QMP input member 'return' is unexpected")]],
  [27, '{"exec-oob":"query-name","id":1}', [E("QMP input member 'exec-oob' is unexpected", '1')]],
  [
    28,
    '{"execute":"query-name","exec-oob":"query-name"}',
    [E("QMP input member 'exec-oob' is unexpected")],
  ],
  [29, '{"execute":"é"}', [N(raw`The command \u00E9 has not been found`)]],
  [
    30,
    raw`{"execute":"query-name\u0000"}`,
    [N(raw`The command query-name\u0000 has not been found`)],
  ],
  [31, '{"execute":"a%sb%d"}', [N('The command a%sb%d has not been found')]],
  [32, '{"execute": }', [VALUE]],
  [33, '{"execute"}', [P('missing : in object pair')]],
  [34, '{"execute":"query-name",}', [VALUE]],
  [35, '{,}', [VALUE]],
  [36, '{"execute":"query-name" "id":1}', [P('expected separator in dict')]],
  [37, '{"execute";"query-name"}', [P("stray ';'"), VALUE]],
  [38, '{"execute":"query-name","execute":"query-name"}', [P('duplicate key')]],
  [39, '{"id":1,"id":2,"execute":"query-name"}', [P('duplicate key')]],
  [40, Q('{"a":1,"a":2}'), [P('duplicate key')]],
  [41, Q('{a:1}'), [P("invalid keyword 'a'")]],
  [42, [Q('{1:1}'), Q('{null:1}')], [P('key is not a string in object')]],
  [43, [Q('{"a"}'), Q('{"a" 1}')], [P('missing : in object pair')]],
  [44, [Q('[1,]'), Q('[,1]'), Q('{"a":1,}'), Q('{"a":}')], [VALUE]],
  [45, Q('[1 2]'), [P('expected separator in list')]],
  [46, ['{]', '[}'], [VALUE]],
  [47, ['{]}', '[}]', '[[}]'], [VALUE, VALUE]],
  [48, '[{]}', [VALUE]],
  [49, '{"a":[}', []],
  [49, '{"a":[}\n]', [VALUE]],
  [50, '{"a":1]', [P('expected separator in dict')]],
  [51, '[1}', [P('expected separator in list')]],
  [52, '}}', [VALUE, VALUE]],
  [52, [']', ',', ':'], [VALUE]],
  [53, 'nul', [P("invalid keyword 'nul'")]],
  [53, 'quit', [P("invalid keyword 'quit'")]],
  [53, 'foo bar', [P("invalid keyword 'foo'"), P("invalid keyword 'bar'")]],
  [54, 'QUIT', [P("stray 'Q'")]],
  [55, 'A b c [1]', [P("stray 'A'"), OBJECT]],
  [56, 'A{"execute":"query-name","id":5}', [P("stray 'A'"), R('5')]],
  [57, '{"x":A,"y":B}', [P("stray 'A'"), VALUE, OBJECT, VALUE, P("stray 'B'"), VALUE]],
  [58, '//c', [P("stray '/'")]],
  [58, '# c', [P("stray '#'")]],
  [58, '%p', [P("stray '%'")]],
  [58, '(', [P("stray '('")]],
  [59, 'x'.repeat(2000), [P(`invalid keyword '${'x'.repeat(1023 - 17)}`)]],
  [60, ['⟨FF⟩', '⟨FE⟩', '⟨80⟩'], [FFFD], ''],
  [61, '⟨FF FF FF⟩', [FFFD, FFFD, FFFD]],
  [62, '⟨C3 A9⟩', [FFFD]],
  [63, '⟨01⟩', [P(raw`stray '\u0001'`)], ''],
  [63, '⟨0B⟩', [P(raw`stray '\u000B'`)], ''],
  [63, '⟨0C⟩', [P(raw`stray '\f'`)], ''],
  [63, '⟨1B⟩', [P(raw`stray '\u001B'`)], ''],
  [63, '⟨7F⟩', [P(raw`stray '\u007F'`)], ''],
  [64, '⟨00⟩', [P("stray ''")]],
  [65, 'a⟨FF⟩', [P("invalid keyword 'a'"), FFFD]],
  [66, ['{⟨FF⟩', '{"a":\n\n⟨FF⟩'], [FFFD]],
  [66, `{⟨FF⟩${NAME}`, [FFFD, R()]],
  [67, "{'bad ⟨FF⟩", [P(raw`stray ''bad \uFFFD'`)]],
  [68, "{'execute': 'x', 'id':'", [P(raw`stray ''\n'`)]],
  [69, '"unterminated', [P(raw`stray '\"unterminated\n'`)]],
  [70, '{"execute":"query-name","id":3}⟨FF⟩', [R('3'), FFFD]],
  [71, Q('1⟨FF⟩'), [FFFD, VALUE]],
  [72, Q('"⟨FF⟩"'), [P(raw`stray '\"\uFFFD'`), VALUE]],
  [73, Q('"a⟨09⟩b"'), [P(raw`stray '\"a\t'`), VALUE]],
  [74, Q('"a⟨00⟩b"'), [P(raw`stray '\"a'`), VALUE]],
  [
    75,
    ['80', 'C3', 'ED A0 80', 'C0 AF', 'F4 90 80 80', 'EF BF BF', 'F8 88 80 80 80'].map((x) =>
      Q(`"⟨${x}⟩"`),
    ),
    [P('invalid UTF-8 sequence in string')],
  ],
  [76, Q('"é€😀"'), [R(raw`"\u00E9\u20AC\uD83D\uDE00"`)]],
  [77, Q('"⟨7F⟩"'), [R(raw`"\u007F"`)]],
  [78, [Q('"⟨C0 80⟩x"'), Q(raw`"\u0000x"`)], [R(raw`"\u0000x"`)]],
  [79, Q(raw`"\/\b\f\n\r\t\"\\"`), [R(raw`"/\b\f\n\r\t\"\\"`)]],
  ...['\\ud800', '\\udc00', '\\uffff', '\\ufdd0', '\\uD800'].map((x): Entry => [
    80,
    Q(`"${x}"`),
    [P(`\\${x} is not a valid Unicode character`)],
  ]),
  [80, Q(raw`"\ud800\u0041"`), [P(raw`\\ud800 is not a valid Unicode character`)]],
  [81, Q(raw`"\ud83f\udffe"`), [P(raw`\\ud83f\\udffe is not a valid Unicode character`)]],
  [82, Q(raw`"\u12g4"`), [P(raw`\\u12g4 is not a valid Unicode character`)]],
  [82, Q(raw`"\u12"`), [P(raw`\\u12\" is not a valid Unicode character`)]],
  [83, [Q(raw`"\x41"`), Q(raw`"\a"`)], [P('invalid escape sequence in string')]],
  [84, Q(raw`"\"`), [P(raw`stray '\"\\\"}\n'`)]],
  [85, Q('01'), [P("stray '01'"), VALUE]],
  [85, Q('00'), [P("stray '00'"), VALUE]],
  [85, Q('-01'), [P("stray '-01'"), VALUE]],
  [86, Q('-'), [P("stray '-}'")]],
  [86, Q('1.'), [P("stray '1.}'")]],
  [86, Q('1e'), [P("stray '1e}'")]],
  ...(
    [
      ['1.e3', '1.e'],
      ['-inf', '-i'],
      ['NaN', 'N'],
      ['Infinity', 'I'],
      ['+1', '+'],
      ['.5', '.'],
      ['1_0', '_'],
      ['True', 'T'],
    ] as const
  ).map(([x, stray]): Entry => [87, Q(x), [P(`stray '${stray}'`), VALUE]]),
  [88, [Q('0x10'), Q('0e1')], [P('expected separator in dict')]],
  [89, Q('nan'), [P("invalid keyword 'nan'")]],
  [89, Q('truefalse'), [P("invalid keyword 'truefalse'")]],
  ...(
    [
      ['9007199254740993', '9007199254740993'],
      ['-9223372036854775808', '-9223372036854775808'],
      ['9223372036854775807', '9223372036854775807'],
      ['9223372036854775808', '9223372036854775808'],
      ['18446744073709551615', '18446744073709551615'],
      ['18446744073709551616', '1.8446744073709552e+19'],
      ['-9223372036854775809', '-9.2233720368547758e+18'],
      ['-0', '0'],
      ['1.0', '1'],
      ['1e3', '1000'],
      ['1e16', '10000000000000000'],
      ['1e17', '1e+17'],
      ['0.1', '0.10000000000000001'],
      ['0.0e1', '0'],
      ['5e-324', '4.9406564584124654e-324'],
      ['-0.0', '-0'],
      ['1e-400', '0'],
      ['12345678.0009765625', '12345678.000976562'],
    ] as const
  ).map(([x, echo]): Entry => [90, Q(x), [R(echo)]]),
  [91, Q('['.repeat(1023) + ']'.repeat(1023)), [R('['.repeat(1022) + '[]' + ']'.repeat(1022))]],
  [
    91,
    Q('['.repeat(1024) + ']'.repeat(1024)),
    [E('JSON nesting depth limit exceeded'), ...Array<string>(1025).fill(VALUE)],
  ],
  [
    92,
    ['{"execute":"device_del"}', '{"execute":"device_del","arguments":{"y":1}}'],
    [E("Parameter 'id' is missing")],
  ],
  [
    93,
    ['1', 'null'].map((x) => `{"execute":"device_del","arguments":{"id":${x}}}`),
    [E("Invalid parameter type for 'id', expected: string")],
  ],
  [94, '{"execute":"device_del","arguments":{"id":"x","y":1}}', [E("Parameter 'y' is unexpected")]],
  [
    95,
    '{"execute":"device_del","arguments":{"id":"nope"},"id":"z"}',
    [D("Device 'nope' not found", '"z"')],
  ],
  [96, '{"execute":"qmp_capabilities","id":7}', [N(COMPLETE, '7')]],
];

const OUR_ROWS: readonly Entry[] = [[90, [Q('1e400'), Q('-1e400')], [P('number out of range')]]];

const capabilities = (args: string): string => `{"execute":"qmp_capabilities","arguments":${args}}`;

const NEGOTIATION_ROWS: readonly Entry[] = [
  [97, Q('1'), [N(EXPECTING, '1')]],
  ...['nope', 'query-commands', 'device_add'].map((x): Entry => [
    97,
    `{"execute":"${x}","id":2}`,
    [N(EXPECTING, '2')],
  ]),
  [98, '{"execute":1}', [STRING]],
  [98, 'null', [OBJECT]],
  [98, '{}', [E("QMP input lacks member 'execute'")]],
  [99, '{"execute":"qmp_capabilities","bogus":1}', [E("QMP input member 'bogus' is unexpected")]],
  [100, capabilities('[]'), [E("QMP input member 'arguments' must be an object")]],
  [101, capabilities('{"bogus":1}'), [E("Parameter 'bogus' is unexpected")]],
  [
    102,
    [capabilities('{"enable":"oob"}'), capabilities('{"enable":null}')],
    [E("Invalid parameter type for 'enable', expected: array")],
  ],
  [
    103,
    capabilities('{"enable":[1]}'),
    [E("Invalid parameter type for 'enable[0]', expected: string")],
  ],
  [
    104,
    [capabilities('{"enable":["nope"]}'), capabilities('{"enable":["oob","nope"]}')],
    [E("Parameter 'null' does not accept value 'nope'")],
  ],
  [104, capabilities('{"enable":["OOB"]}'), [E("Parameter 'null' does not accept value 'OOB'")]],
  [
    104,
    `${capabilities('{"enable":["nope"]}')}${Q('1')}`,
    [E("Parameter 'null' does not accept value 'nope'"), N(EXPECTING, '1')],
  ],
  [
    105,
    ['{"enable":[]}', '{"enable":["oob"]}', '{"enable":["oob","oob"]}', '{}'].map(
      (x) => capabilities(x) + Q('1'),
    ),
    ['{"return": {}}', R('1')],
  ],
  [
    106,
    '{"exec-oob":"qmp_capabilities","id":1}',
    [E("QMP input member 'exec-oob' is unexpected", '1')],
  ],
];

const OOB_ROWS: readonly Entry[] = [
  [
    107,
    '{"exec-oob":"query-name","id":1}',
    [E('The command query-name does not support OOB', '1')],
  ],
  [108, '{"exec-oob":"nope","id":1}', [N('The command nope has not been found', '1')]],
  [109, '{"exec-oob":1,"id":1}', [E("QMP input member 'exec-oob' must be a string", '1')]],
  [
    110,
    '{"execute":"query-name","exec-oob":"query-yank","id":1}',
    [E("QMP input member 'execute' clashes with 'exec-oob'", '1')],
  ],
  [
    111,
    '{"execute":"query-name","exec-oob":1}',
    [E("QMP input member 'exec-oob' must be a string")],
  ],
  [
    112,
    '{"exec-oob":"migrate-pause","arguments":{"x":1},"id":1}',
    [E("Parameter 'x' is unexpected", '1')],
  ],
  [
    113,
    '{"exec-oob":"query-yank"}',
    ['{"return": [{"type": "chardev", "id": "compat_monitor0"}]}'],
  ],
];

const expand =
  (mode: Mode, isOurs = false) =>
  ([row, inputs, replies, after = LF]: Entry): Row[] =>
    [inputs].flat().map((input) => ({ row, mode, input: bytes(input + after), replies, isOurs }));

export const ROWS: readonly Row[] = [
  ...COMMAND_ROWS.flatMap(expand('command')),
  ...OUR_ROWS.flatMap(expand('command', true)),
  ...NEGOTIATION_ROWS.flatMap(expand('negotiation')),
  ...OOB_ROWS.flatMap(expand('oob')),
];

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { History, HISTORY_LINES } from '../../../ctl/shell/history.js';
import { deviceDel } from '../../../schema/qdev.js';
import { connectWhenUp, privateFolder, startDaemon } from '../../support/daemon.js';
import { qmemctl } from '../../support/qmemctl.js';

const PROGRAM = new URL('../../../dist/bin/qmemctl.js', import.meta.url).pathname;
const shell = (socket: string, input: string, ...words: string[]) =>
  qmemctl(['-s', socket, 'shell', ...words], { input });

/** What the schema of qmemd says. */
const DEVICE_DEL = [`  ${deviceDel.doc}`, `  id: ${deviceDel.args.id.doc}`];

t.test('help explains the commands of the server, and the words of the shell', async (t) => {
  const { socket } = await startDaemon(t, ['-M', 'none']);
  const script = ['help device_del', 'help help', 'help exit', 'help transaction(', 'help nope'];
  t.strictSame(await shell(socket, `${script.join('\n')}\n`), {
    status: 0,
    out: [
      ...['device_del id=string', ...DEVICE_DEL],
      'help lists the commands of the server; help COMMAND tells the arguments of one',
      'exit leaves the shell; quit ends the machine',
      'transaction( begins a transaction of one action a line; ) sends it',
      '',
    ].join('\n'),
    err: 'qmemctl: there is no command nope; help alone lists them\n',
  });
  const alone = (...words: string[]) => qmemctl(['-s', socket, ...words]);
  t.strictSame(await alone('help', 'device_del'), {
    status: 0,
    out: ['device_del id=string', ...DEVICE_DEL, ''].join('\n'),
    err: '',
  });
  t.match(await alone('help'), {
    status: 0,
    out: /^help COMMAND tells its arguments; commands:\n {2}add-fd\n/,
    err: '',
  });
  t.match(await alone('help', 'events'), { status: 0, out: /--help\n$/ });
  t.match(await alone('help', 'nope'), {
    status: 2,
    err: /^qmemctl: there is no command nope; help alone lists them\n/,
  });
  t.match(await alone('help', 'stop', 'cont'), { status: 2, err: /help takes no 'cont'/ });
  t.match(
    await alone('-H', 'help'),
    { status: 0, out: /^stop\|s {2}-- /m },
    'of the human monitor',
  );
});

t.test('a size with a suffix is told as the number that the command takes', async (t) => {
  const { socket } = await startDaemon(t, ['-M', 'none']);
  const line = (size: string) => `object-add qom-type=memory-backend-ram id=m1 size=${size}`;
  const text = "Parameter 'size' expects uint64";
  const hint = (size: string, number: string) =>
    `qmemctl: size takes a plain number: ${size} is ${number}\n`;
  t.strictSame(await qmemctl(['-s', socket, ...line('1G').split(' ')]), {
    status: 1,
    out: '',
    err: `GenericError: ${text}\n${hint('1G', '1073741824')}`,
  });
  t.strictSame(await shell(socket, `${line('2k')}\n${line('16TiB')}\n${line('x')}\n`), {
    status: 0,
    out: `{"error": {"class": "GenericError", "desc": "${text}"}}\n`.repeat(3),
    err: hint('2k', '2048') + hint('16TiB', '17592186044416'),
  });
  const other = await qmemctl(['-s', socket, 'device_del', 'id=1G']);
  t.equal(other.err, "DeviceNotFound: Device '1G' not found\n", 'a text may look like a size');
});

t.test('a script is answered line by line', async (t) => {
  const { socket } = await startDaemon(t, ['-M', 'none', '-name', 'vm0']);
  const script = [
    'query-name',
    '',
    '{"execute": "query-name",',
    ' "id": 18446744073709551615}',
    'device_del id=x',
    'query-name now',
    'help device_del',
    'query-status',
  ];
  t.strictSame(await shell(socket, script.join('\n')), {
    status: 0,
    out: [
      '{"return": {"name": "vm0"}}',
      '{"return": {"name": "vm0"}, "id": 18446744073709551615}',
      `{"error": {"class": "DeviceNotFound", "desc": "Device 'x' not found"}}`,
      'device_del id=string',
      ...DEVICE_DEL,
      '{"return": {"status": "running", "running": true}}',
      '',
    ].join('\n'),
    err: "qmemctl: 'now' is not key=value\n",
  });
});

t.test('-p indents and -v shows what is sent', async (t) => {
  const { socket } = await startDaemon(t, ['-M', 'none', '-name', 'vm0']);
  t.equal(
    (await shell(socket, 'qom-get path=/ property=type\r\n', '-v')).out,
    '{"execute": "qom-get", "arguments": {"path": "/", "property": "type"}}\n' +
      '{"return": "container"}\n',
  );
  t.equal(
    (await shell(socket, 'query-name', '-p')).out,
    '{\n  "return": {\n    "name": "vm0"\n  }\n}\n',
  );
});

t.test('exec-oob is sent as it is', async (t) => {
  const { socket } = await startDaemon(t, ['-M', 'none']);
  const script = '{"exec-oob": "query-name", "id": 1}\n';
  const refusal = '"desc": "The command query-name does not support OOB"}, "id": 1}\n';
  const { out } = await shell(socket, script, '-v');
  t.equal(out.startsWith('{"exec-oob": "query-name", "arguments": {}}\n'), true);
  t.equal(out.endsWith(refusal), true);
});

t.test('events come between the answers', async (t) => {
  const { socket } = await startDaemon(t, ['-M', 'none']);
  const { out } = await shell(socket, 'stop\ncont\n');
  t.strictSame(out.match(/"event": "[A-Z]+"|"return"/g), [
    '"event": "STOP"',
    '"return"',
    '"event": "RESUME"',
    '"return"',
  ]);
});

t.test('the end: exit, quit, an unfinished command, a server that leaves', async (t) => {
  const { socket, qmp } = await startDaemon(t, ['-M', 'none']);
  t.strictSame(await shell(socket, 'exit\nquit\n'), { status: 0, out: '', err: '' });
  t.strictSame(await shell(socket, 'transaction(\nquit\n'), {
    status: 2,
    out: '',
    err: 'qmemctl: the input ends within a command, which is not sent\n',
  });
  await qmp.execute('query-status');
  t.match(await shell(socket, 'quit\n'), { status: 0, out: /\{"return": \{\}\}\n$/ });
  t.match(await shell(socket, 'quit\n'), { status: 1, err: /no such socket\n$/ });
});

t.test('exit leaves also while the pipe stays open', async (t) => {
  const { socket } = await startDaemon(t, ['-M', 'none']);
  const child = spawn(process.execPath, [PROGRAM, '-s', socket, 'shell'], { stdio: 'pipe' });
  const ended = new Promise((resolve) => child.on('close', resolve));
  child.stdin.write('exit\n');
  t.equal(await ended, 0);
});

t.test('-H against a server without a human monitor is refused with its reason', async (t) => {
  const socket = join(privateFolder(t), 's');
  const server = createServer((peer) => {
    peer.on('error', () => peer.destroy());
    peer.write('{"QMP": {"version": {"qemu": {}, "package": ""}, "capabilities": []}}\r\n');
    peer.on('data', (chunk: Buffer) => {
      const { execute, id } = JSON.parse(chunk.toString()) as Record<string, unknown>;
      const desc = `The command ${String(execute)} has not been found`;
      const answer =
        execute !== 'human-monitor-command'
          ? { return: execute === 'qmp_capabilities' ? {} : [], id }
          : { error: { class: 'CommandNotFound', desc }, id };
      peer.write(`${JSON.stringify(answer)}\r\n`);
    });
  }).listen(socket);
  t.teardown(() => server.close());
  t.match(await shell(socket, 'info name\n', '-H'), {
    status: 1,
    out: '',
    err: 'qmemctl: this server has no human monitor (human-monitor-command)\n',
  });
});

t.test('the history is private, bounded, and no reason to fail', async (t) => {
  const folder = privateFolder(t);
  const path = join(folder, 'history');
  const warned: string[] = [];
  const open = (where = path) => new History(where, (text) => warned.push(text));
  const history = open();
  t.strictSame(history.load(), []);
  t.equal(statSync(path).mode & 0o777, 0o600);
  for (const line of ['one', '', ' secret', 'two']) history.add(line);
  t.strictSame(open().load(), ['two', 'one']);
  for (const [count, left] of [
    [2 * HISTORY_LINES, 2 * HISTORY_LINES],
    [2 * HISTORY_LINES + 1, HISTORY_LINES],
  ] as const) {
    writeFileSync(path, 'x\n'.repeat(count));
    t.equal(open().load().length, HISTORY_LINES);
    t.equal(readFileSync(path, 'utf8').length, 2 * left);
  }
  t.strictSame(warned, []);
  mkdirSync(join(folder, 'dir'));
  const broken = open(join(folder, 'dir'));
  t.strictSame(broken.load(), []);
  broken.add('x');
  t.match(warned, [/^no history: EISDIR/]);
});

const hasQemu = spawnSync('qemu-system-x86_64', ['--version']).status === 0;
const startQemu = async (t: Test): Promise<string> => {
  const socket = join(privateFolder(t), 'q');
  const qemu = spawn('qemu-system-x86_64', [
    ...['-M', 'q35', '-accel', 'tcg', '-S', '-display', 'none', '-nodefaults', '-name', 'vm0'],
    ...['-qmp', `unix:${socket},server=on,wait=off`],
  ]);
  t.teardown(() => qemu.kill());
  (await connectWhenUp(socket)).close();
  return socket;
};
t.test(
  'against a real QEMU',
  { skip: hasQemu ? false : 'qemu-system-x86_64 is not installed' },
  async (t) => {
    const socket = await startQemu(t);
    t.strictSame(await shell(socket, 'query-name\ntransaction(\nabort\n)\nhelp device_del\n'), {
      status: 0,
      out:
        '{"return": {"name": "vm0"}}\n' +
        '{"error": {"class": "GenericError", "desc": "Transaction aborted using Abort action"}}\n' +
        'device_del id=string\n',
      err: '',
    });
    const oob = await qmemctl(['-s', socket, '{"exec-oob": "migrate-pause"}']);
    t.match(oob, { status: 1, err: /^GenericError: .*migrat/ });
    t.strictSame(await qmemctl(['-s', socket, '-H', 'info', 'name']), {
      status: 0,
      out: 'vm0\n',
      err: '',
    });
    t.match(await shell(socket, 'info name\nnonsense\n', '-H'), {
      status: 0,
      out: /^vm0\nunknown command: 'nonsense'\n$/,
      err: '',
    });
    t.strictSame(await shell(socket, 'exit\nq\n', '-H'), { status: 0, out: '', err: '' });
    t.match(await shell(socket, 'q\n', '-H'), { status: 0, err: '' });
    t.equal(existsSync(PROGRAM), true);
  },
);

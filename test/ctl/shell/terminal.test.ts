import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { privateFolder, startDaemon } from '../../support/daemon.js';
import { noTmux, Terminal } from '../../support/tmux.js';

// Every look at the screen starts a process: a busy computer takes its time.
t.setTimeout(180_000);

const PROGRAM = new URL('../../../dist/bin/qmemctl.js', import.meta.url).pathname;
const NODE = `'${process.execPath}'`;
const MACHINE = ['-M', 'q35', '-device', 'pcie-root-port,id=port0'];

/** A shell in a terminal on a daemon in this process. */
const startShell = async (t: Test, words = '', size: { columns?: number; rows?: number } = {}) => {
  const { qmp, socket, daemon } = await startDaemon(t, MACHINE);
  const history = join(privateFolder(t), 'history');
  const terminal = await Terminal.start(
    t,
    `QMEMCTL_HISTORY=${history} ${NODE} '${PROGRAM}' -s ${socket} shell ${words};` +
      ' echo status $?; read',
    size,
  );
  await terminal.until(endsWith('(qmp)'));
  return { qmp, daemon, terminal, history };
};
const endsWith =
  (...wanted: string[]) =>
  (lines: readonly string[]): boolean =>
    JSON.stringify(lines.slice(-wanted.length)) === JSON.stringify(wanted);

/** A QMP server that answers the command `slow` once it is released. */
const slowServer = async (t: Test): Promise<{ path: string; release: () => void }> => {
  const path = join(privateFolder(t), 'q');
  let release = (): void => undefined;
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.write('{"QMP": {"version": {}, "capabilities": []}}\r\n');
    const lines = createInterface({ input: socket });
    lines.on('line', (line) => {
      const { execute, id } = JSON.parse(line) as { execute: string; id: string };
      const answer = (value: unknown): void =>
        void socket.write(`${JSON.stringify({ return: value, id })}\r\n`);
      if (execute === 'slow') release = () => answer('late');
      else answer(execute === 'query-qmp-schema' ? [] : {});
    });
  });
  server.listen(path);
  await once(server, 'listening');
  t.teardown(() => server.close());
  return { path, release: () => release() };
};

t.test('the shell in a real terminal', { skip: noTmux }, async (t) => {
  t.test('Tab completes commands, arguments, values and ids', async (t) => {
    const { terminal } = await startShell(t);
    await terminal.type('query-sta');
    await terminal.press('Tab');
    await terminal.until(endsWith('(qmp) query-status'));
    await terminal.press('Enter');
    await terminal.until(endsWith('{"return": {"status": "running", "running": true}}', '(qmp)'));
    await terminal.type('device_del i');
    await terminal.press('Tab');
    await terminal.until(endsWith('(qmp) device_del id='));
    await terminal.type('po');
    await terminal.press('Tab');
    await terminal.until(endsWith('(qmp) device_del id=port0'));
    t.strictSame((await terminal.cursor())[0], '(qmp) device_del id=port0 '.length);
    await terminal.press('C-c');
    await terminal.until(endsWith('(qmp)'));
    await terminal.type('object-add qom-type=memory-backend-m');
    await terminal.press('Tab');
    await terminal.until(endsWith('(qmp) object-add qom-type=memory-backend-memfd'));
    await terminal.type('sha');
    await terminal.press('Tab');
    await terminal.until(endsWith('(qmp) object-add qom-type=memory-backend-memfd share='));
    await terminal.type('t');
    await terminal.press('Tab');
    await terminal.until(endsWith('(qmp) object-add qom-type=memory-backend-memfd share=true'));
  });

  t.test('events appear above the line being typed, and the cursor stays in it', async (t) => {
    const { terminal, qmp } = await startShell(t, '', { columns: 160 });
    await terminal.type('query-name');
    await terminal.press('Left', 'Left');
    await terminal.until(endsWith('(qmp) query-name'));
    await qmp.execute('stop');
    const lines = await terminal.until((now) => now.some((line) => line.includes('"STOP"')));
    t.equal(lines.at(-1), '(qmp) query-name', 'the line is whole');
    t.match(lines.at(-2), /"event": "STOP"|"seq": 1\}$/);
    const [column, row] = await terminal.cursor();
    t.equal(column, '(qmp) query-na'.length, 'the cursor is where it was');
    t.equal(row, lines.length - 1);
    await terminal.press('Enter');
    await terminal.until(endsWith('(qmp) query-name', '{"return": {}}', '(qmp)'));
  });

  t.test('a line of several rows is not broken either', async (t) => {
    const { terminal, qmp } = await startShell(t, '', { columns: 40, rows: 20 });
    const long = `query-name x=${'abcdefghij'.repeat(8)}`;
    await terminal.type(long);
    const whole = `(qmp) ${long}`;
    const rows = [whole.slice(0, 40), whole.slice(40, 80), whole.slice(80)];
    await terminal.until(endsWith(...rows));
    for (const command of ['stop', 'cont', 'stop']) await qmp.execute(command);
    const lines = await terminal.until(
      (now) => now.filter((line) => line.includes('timestamp')).length === 3,
    );
    t.strictSame(lines.slice(-3), rows);
    t.equal(lines.filter((line) => line.startsWith('(qmp)')).length, 1, 'drawn once');
  });

  t.test('events above a cursor within a line of several rows leave one line', async (t) => {
    const { terminal, qmp } = await startShell(t, '', { columns: 40, rows: 30 });
    const type = async (length: number): Promise<string[]> => {
      const whole = `(qmp) query-name x=${'abcdefghij'.repeat(12)}`.slice(0, length);
      await terminal.type(whole.slice('(qmp) '.length));
      const rows = whole.match(/.{1,40}/g) ?? [];
      await terminal.until(endsWith(...rows));
      return rows;
    };
    let events = 0;
    // Lengths at the edge of a row, one before and one past; places on every row.
    for (const [length, keys, cursor] of [
      [77, ['Home'], [6, 0]],
      [79, ['Left'], [38, 1]],
      [80, ['Left'], [39, 1]],
      [81, ['Left', 'Left'], [39, 1]],
      [120, ['M-b', 'M-b'], [18, 0]],
      [125, ['Home', 'End'], [5, 3]],
    ] as const) {
      const rows = await type(length);
      await terminal.press(...keys);
      for (let n = 0; n < 2; n++) await qmp.execute(++events % 2 === 1 ? 'stop' : 'cont');
      const seen = `"seq": ${String(events)}}`;
      const lines = await terminal.until(
        (now) => now.join('').includes(seen) && endsWith(...rows)(now),
      );
      const name = `${String(length)} ${keys.join(' ')}`;
      const last = lines.findIndex((line) => line.includes('"timestamp"'));
      const above = lines.slice(0, last).filter((line) => line.startsWith('(qmp)'));
      t.strictSame(above, [], `${name}: nothing old is left`);
      t.equal(lines.filter((line) => line.startsWith('(qmp)')).length, 1, `${name}: drawn once`);
      const [column, row] = await terminal.cursor();
      t.strictSame([column, row - (lines.length - rows.length)], cursor, `${name}: the cursor`);
      await terminal.press('C-c');
      await terminal.until(endsWith('(qmp)'));
      await terminal.press('C-l');
      await terminal.until((now) => now.length === 1);
    }
  });

  t.test('text that comes at once goes where the cursor is', async (t) => {
    const { terminal } = await startShell(t);
    await terminal.type('query-name');
    await terminal.press('Left', 'Left');
    await terminal.type('XYZ');
    await terminal.until(endsWith('(qmp) query-naXYZme'));
    await terminal.press('BSpace', 'BSpace', 'BSpace', 'End');
    await terminal.until(endsWith('(qmp) query-name'));
    await terminal.press('C-u');
    await terminal.paste('query-na\tx=\u00e9\u{1f600}\nquery-sta');
    await terminal.press('Tab');
    await terminal.until(endsWith('(qmp) query-status'));
    const screen = (await terminal.screen()).join('\n');
    t.match(screen, '(qmp) query-na x=\u00e9\u{1f600}\n', 'a pasted tab is a blank');
  });

  t.test('every Tab that is typed completes, also of several that come at once', async (t) => {
    const { terminal } = await startShell(t);
    await terminal.type('device_add driver=edu addr=\t\t4096');
    await terminal.until(endsWith('(qmp) device_add driver=edu addr=4096'));
    await terminal.press('C-u');
    await terminal.type('device_del i\tpo\t');
    await terminal.until(endsWith('(qmp) device_del id=port0'));
    await terminal.press('C-u');
    await terminal.type('query-nam\t\tx');
    const both = 'query-name                query-named-block-nodes';
    await terminal.until(endsWith(both, '', '(qmp) query-namex'));
  });

  t.test('of several lines that come at once each is answered before the next', async (t) => {
    const { terminal } = await startShell(t, '', { columns: 160 });
    await terminal.paste('query-name\n{"execute":\n"query-name"}\ntransaction(\n)\nquery-na');
    await terminal.until(
      endsWith(
        ...['(qmp) query-name', '{"return": {}}'],
        ...['(qmp) {"execute":', '... "query-name"}', '{"return": {}}'],
        ...['(qmp) transaction(', 'trans> )', '{"return": {}}', '(qmp) query-na'],
      ),
    );
  });

  t.test('statements go on while brackets are open; Ctrl-C gives up', async (t) => {
    const { terminal, history } = await startShell(t);
    await terminal.type('{"execute":');
    await terminal.press('Enter');
    await terminal.until(endsWith('(qmp) {"execute":', '...'));
    await terminal.type("'query-name'}");
    await terminal.press('Enter');
    await terminal.until(endsWith("... 'query-name'}", '{"return": {}}', '(qmp)'));
    await terminal.type('transaction(');
    await terminal.press('Enter');
    await terminal.until(endsWith('(qmp) transaction(', 'trans>'));
    await terminal.press('C-c');
    await terminal.until(endsWith('(qmp) transaction(', '(qmp)'));
    await terminal.type('query-name now');
    await terminal.press('Enter');
    await terminal.until(endsWith("'now' is not key=value", '(qmp)'));
    await terminal.press('Up');
    await terminal.until(endsWith('(qmp) query-name now'));
    await terminal.press('C-c');
    await terminal.until(endsWith("'now' is not key=value", '(qmp)'));
    await terminal.press('C-d');
    await terminal.until(endsWith('(qmp)', 'status 0'));
    t.equal(statSync(history).mode & 0o777, 0o600);
    t.strictSame(readFileSync(history, 'utf8').split('\n'), [
      `{"execute": 'query-name'}`,
      'transaction(',
      'query-name now',
      '',
    ]);
  });

  t.test('a statement of several lines is recalled as a whole', async (t) => {
    const { terminal, history } = await startShell(t, '', { columns: 200 });
    const enter = async (line: string, ...wanted: string[]): Promise<void> => {
      if (line !== '') await terminal.type(line);
      await terminal.press('Enter');
      await terminal.until(endsWith(...wanted));
    };
    const [answer, prompt] = ['{"return": {}}', '(qmp)'];
    await enter('{"execute":', '(qmp) {"execute":', '...');
    await enter('  "query-name"}', '...   "query-name"}', answer, prompt);
    await terminal.press('Up');
    await terminal.until(endsWith('(qmp) {"execute": "query-name"}'));
    await enter('', '(qmp) {"execute": "query-name"}', answer, prompt);
    for (const line of ['transaction(', 'no-such a=1', 'no-such'])
      await enter(line, line === 'transaction(' ? `(qmp) ${line}` : `trans> ${line}`, 'trans>');
    await terminal.type(')');
    await terminal.press('Enter');
    await terminal.until((lines) => lines.at(-1) === prompt && /"error"/.test(lines.at(-2) ?? ''));
    await terminal.press('Up');
    await terminal.until(endsWith('(qmp) transaction( no-such a=1 ; no-such )'));
    await terminal.press('Up');
    await terminal.until(endsWith('(qmp) {"execute": "query-name"}'));
    t.strictSame(readFileSync(history, 'utf8').split('\n'), [
      '{"execute": "query-name"}',
      '{"execute": "query-name"}',
      'transaction( no-such a=1 ; no-such )',
      '',
    ]);
  });

  t.test('Ctrl-C while an answer is awaited gives the prompt back; it comes later', async (t) => {
    const { path, release } = await slowServer(t);
    const terminal = await Terminal.start(
      t,
      `QMEMCTL_HISTORY= ${NODE} '${PROGRAM}' -s ${path} shell; read`,
    );
    await terminal.until(endsWith('(qmp)'));
    await terminal.type('slow');
    await terminal.press('Enter');
    await terminal.until(endsWith('(qmp) slow'));
    await terminal.press('C-c');
    const note = '(not waiting any longer; the answer is printed when it comes)';
    await terminal.until(endsWith('(qmp) slow', note, '(qmp)'));
    await terminal.type('slow\nquery-name\nquit');
    await terminal.press('C-c');
    await terminal.until(endsWith('(qmp) slow', note, '(qmp)'));
    await terminal.type('typing');
    await terminal.until(endsWith('(qmp) typing'));
    release();
    await terminal.until(endsWith(note, '{"return": "late"}', '(qmp) typing'));
  });

  t.test('quit ends the machine and the shell', async (t) => {
    const { terminal, history } = await startShell(t);
    await terminal.type('quit');
    await terminal.press('Enter');
    await terminal.until((lines) => lines.includes('status 0'));
    t.match(await terminal.screen(), /"SHUTDOWN"|closed the connection/);
    t.equal(readFileSync(history, 'utf8'), 'quit\n');
  });
});

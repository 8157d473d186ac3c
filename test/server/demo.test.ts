import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { createDemo } from '../../server/demo.js';
import { eventually, privateFolder, spawnDaemon } from '../support/daemon.js';
import { needsNative } from '../support/mdevice.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Runs a command of the banner in the folder of the project; what it prints. */
const runIn =
  (env: NodeJS.ProcessEnv) =>
  (command: string): string => {
    const options = { cwd: ROOT, env, encoding: 'utf8' } as const;
    const { stdout, stderr } = spawnSync('/bin/sh', ['-c', command], options);
    return stdout + stderr;
  };
const commandsOf = (banner: string): string[] =>
  banner.match(/(?<=^ {2})(?:node|head) .*$/gm) ?? [];

t.test('without koffi it has a device without memory, and says why', async (t) => {
  const folder = privateFolder(t);
  const env = { ...process.env, XDG_RUNTIME_DIR: folder, QMEMD_NATIVE: 'none' };
  const daemon = spawnDaemon(t, ['--demo', '--listen', '127.0.0.1:0'], env);
  await eventually('the banner', () => daemon.stdout().includes('Ctrl-C'));
  t.match(daemon.stdout(), /optional package koffi, which is not available \(switched off\)/);
  t.equal(daemon.stderr(), '');
  const [query, enumerated, ...printed] = commandsOf(daemon.stdout()).map(runIn(env));
  t.match(JSON.parse(query ?? ''), { native: 'none', reason: 'switched off' });
  t.match(enumerated, 'edu0');
  t.strictSame(printed, ['{}\n', '{\n  "value": 4294967294\n}\n', '{}\n']);
  daemon.child.kill('SIGINT');
  t.equal(await daemon.exit, 0);
  t.strictSame(readdirSync(join(folder, 'qmemd')), []);
});

t.test('that it runs already is said only where it does', async (t) => {
  const env = { ...process.env, XDG_RUNTIME_DIR: privateFolder(t), QMEMD_NATIVE: 'none' };
  const first = spawnDaemon(t, ['--demo', '--listen', '127.0.0.1:0'], env);
  await eventually('the banner', () => first.stdout().includes('Ctrl-C'));
  const second = spawnDaemon(t, ['--demo', '--listen', '127.0.0.1:0'], env);
  t.equal(await second.exit, 1);
  t.match(second.stderr(), /Address already in use\nThe demonstration is running already: .*\n$/);
  first.child.kill('SIGINT');
  t.equal(await first.exit, 0);
  const { exit, stderr } = spawnDaemon(t, ['--demo', '--listen', '192.0.2.1:1'], env);
  t.equal(await exit, 1);
  t.match(stderr(), /^qmemd: --listen .*\n$/);
});

t.test(
  'the commands of the banner work as printed, and nothing stays behind',
  needsNative,
  async (t) => {
    const env = { ...process.env, XDG_RUNTIME_DIR: privateFolder(t) };
    const daemon = spawnDaemon(t, ['--demo', '--listen', '127.0.0.1:0'], env);
    await eventually('the banner', () => daemon.stdout().includes('Ctrl-C'));
    const state = `/dev/shm/qmemd-demo.${String(daemon.child.pid)}`;
    const commands = commandsOf(daemon.stdout());
    const run = runIn(env);
    const url = /ws:\S+/.exec(daemon.stdout())?.[0] ?? '';
    t.match(run(`node dist/bin/qmemctl.js -s ${url} query-name`), /"demo"/);
    const short = url.replace('/machines/demo', '');
    t.match(
      run(`node dist/bin/qmemctl.js -s ${short} query-name`),
      /connect to \/machines\/NAME\/qmp/,
    );
    const printed = commands.slice(0, 3).map(run);
    t.strictSame(JSON.parse(printed[0] ?? ''), { 'bar-offset': 0, size: 67108864, offset: 0 });
    t.strictSame(printed.slice(1), ['{}\n', 'hello memory\n']);
    const [first, second, refused, release, handed, query] = commands.slice(3).map(run);
    t.strictSame([first, second, release, handed], ['{}\n', '{}\n', '{}\n', '{}\n']);
    t.match(refused, 'mhsld is enabled and extent reservation failed');
    t.match(JSON.parse(query ?? ''), [
      {
        blocks: 32768,
        owners: [{ first: 0, count: 1024, heads: [1] }],
        moves: [],
        conflicts: [{ head: 1, block: 0, heads: [0] }],
      },
    ]);
    t.equal(existsSync(state), true);
    daemon.child.kill('SIGINT');
    t.equal(await daemon.exit, 0);
    t.strictSame(readdirSync(join(env.XDG_RUNTIME_DIR, 'qmemd')), []);
    t.equal(existsSync(state), false);
  },
);

t.test('memory of a daemon that was killed is removed, that of a live one is not', async (t) => {
  const folder = join(privateFolder(t), 'qmemd');
  createDemo(join(folder, 'demo.qmp'), { native: 'none' }).close();
  const file = (pid: number): string => join(folder, `demo.${String(pid)}.mem`);
  // No process has a number that high.
  const state = `/dev/shm/qmemd-demo.${String(2 ** 30)}`;
  const [dead, alive, own] = [file(2 ** 30), file(process.ppid), file(process.pid)];
  for (const path of [dead, alive, own, state, `${state}.tags`]) writeFileSync(path, 'old');
  const demo = createDemo(join(folder, 'demo.qmp'), { native: 'full' });
  t.equal(demo.mapped?.memory, own, 'the number of the one that was killed may be ours');
  t.equal(statSync(own).size, 1024 ** 3);
  t.strictSame([dead, state, `${state}.tags`].filter(existsSync), []);
  t.equal(existsSync(alive), true);
  demo.close();
  t.strictSame(readdirSync(folder), [`demo.${String(process.ppid)}.mem`]);
});

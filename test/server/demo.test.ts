import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { createDemo } from '../../server/demo.js';
import { NativeLoader } from '../../server/os/native.js';
import { eventually, privateFolder, spawnDaemon } from '../support/daemon.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

t.test('the commands of the banner work as printed, and nothing stays behind', async (t) => {
  const env = { ...process.env, XDG_RUNTIME_DIR: privateFolder(t) };
  const daemon = spawnDaemon(t, ['--demo', '--listen', '127.0.0.1:0'], env);
  await eventually('the banner', () => daemon.stdout().includes('Ctrl-C'));
  const pooled = new NativeLoader().load() !== undefined;
  const state = `/dev/shm/qmemd-demo.${String(daemon.child.pid)}`;
  const commands = daemon.stdout().match(/(?<=^ {2})(?:node|head) .*$/gm) ?? [];
  const run = (command: string): string => {
    const { stdout, stderr } = spawnSync('/bin/sh', ['-c', command], {
      ...{ cwd: ROOT, env, encoding: 'utf8' },
    });
    return stdout + stderr;
  };
  const url = /ws:\S+/.exec(daemon.stdout())?.[0] ?? '';
  t.match(run(`node dist/bin/qmemctl.js -s ${url} query-name`), /"demo"/);
  const short = url.replace('/machines/demo', '');
  if (pooled)
    t.match(
      run(`node dist/bin/qmemctl.js -s ${short} query-name`),
      /connect to \/machines\/NAME\/qmp/,
    );
  const printed = commands.slice(0, 3).map(run);
  t.strictSame(JSON.parse(printed[0] ?? ''), { 'bar-offset': 0, size: 67108864, offset: 0 });
  t.strictSame(printed.slice(1), ['{}\n', 'hello memory\n']);
  if (pooled) {
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
  } else t.equal(commands.length, 3);
  daemon.child.kill('SIGINT');
  t.equal(await daemon.exit, 0);
  t.strictSame(readdirSync(join(env.XDG_RUNTIME_DIR, 'qmemd')), []);
  t.equal(existsSync(state), false);
});

t.test('memory of a daemon that was killed is removed, that of a live one is not', async (t) => {
  const folder = join(privateFolder(t), 'qmemd');
  createDemo(join(folder, 'demo.qmp'), false).close();
  const file = (pid: number): string => join(folder, `demo.${String(pid)}.mem`);
  // No process has a number that high.
  const state = `/dev/shm/qmemd-demo.${String(2 ** 30)}`;
  const [dead, alive, own] = [file(2 ** 30), file(process.ppid), file(process.pid)];
  for (const path of [dead, alive, own, state, `${state}.tags`]) writeFileSync(path, 'old');
  const demo = createDemo(join(folder, 'demo.qmp'), true);
  t.equal(demo.memory, own, 'the number of the one that was killed may be ours');
  t.equal(statSync(own).size, 1024 ** 3);
  t.strictSame([dead, state, `${state}.tags`].filter(existsSync), []);
  t.equal(existsSync(alive), true);
  demo.close();
  t.strictSame(readdirSync(folder), [`demo.${String(process.ppid)}.mem`]);
});

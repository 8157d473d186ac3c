import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { createDemo } from '../../server/demo.js';
import { eventually, privateFolder, spawnDaemon } from '../support/daemon.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

t.test('the commands of the banner work as printed, and nothing stays behind', async (t) => {
  const env = { ...process.env, XDG_RUNTIME_DIR: privateFolder(t) };
  const daemon = spawnDaemon(t, ['--demo', '--listen', '127.0.0.1:0'], env);
  await eventually('the banner', () => daemon.stdout().includes('Ctrl-C'));
  const commands = daemon.stdout().match(/(?<=^ {2})(?:node|head) .*$/gm) ?? [];
  const printed = commands.map((command) =>
    execFileSync('/bin/sh', ['-c', command], { cwd: ROOT, env, encoding: 'utf8' }),
  );
  t.equal(printed.length, 3);
  t.strictSame(JSON.parse(printed[0] ?? ''), { 'bar-offset': 0, size: 67108864, offset: 0 });
  t.strictSame(printed.slice(1), ['{}\n', 'hello memory\n']);
  daemon.child.kill('SIGINT');
  t.equal(await daemon.exit, 0);
  t.strictSame(readdirSync(join(env.XDG_RUNTIME_DIR, 'qmemd')), []);
});

t.test('memory of a daemon that was killed is removed, that of a live one is not', async (t) => {
  const folder = join(privateFolder(t), 'qmemd');
  createDemo(join(folder, 'demo.qmp')).close();
  const file = (pid: number): string => join(folder, `demo.${String(pid)}.mem`);
  // No process has a number that high.
  const [dead, alive, own] = [file(2 ** 30), file(process.ppid), file(process.pid)];
  for (const path of [dead, alive, own]) writeFileSync(path, 'old');
  const demo = createDemo(join(folder, 'demo.qmp'));
  t.equal(demo.memory, own, 'the number of the one that was killed may be ours');
  t.equal(statSync(own).size, 1024 ** 3);
  t.equal(existsSync(dead), false);
  t.equal(existsSync(alive), true);
  demo.close();
  t.strictSame(readdirSync(folder), [`demo.${String(process.ppid)}.mem`]);
});

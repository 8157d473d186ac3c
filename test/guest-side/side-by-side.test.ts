import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  connectWhenUp,
  eventually,
  privateFolder,
  PROGRAM,
  type Cleanup,
} from '../support/daemon.js';
import { Qtest } from '../support/qtest.js';
import { refereeMissing } from '../support/referee.js';
import { machineWords, Script, type Kind, type Sides } from './script.js';

/** One of the programs, as a process with both of its sockets. */
const start = async (t: Cleanup, command: readonly string[], kind: Kind): Promise<Sides> => {
  const folder = privateFolder(t);
  const [qtestPath, qmpPath] = [join(folder, 'qtest'), join(folder, 'qmp')];
  const [file = '', ...words] = [
    ...[...command, ...machineWords(kind), '-qtest-log', 'none'],
    ...['-qtest', `unix:${qtestPath},server=on,wait=off`],
    ...['-qmp', `unix:${qmpPath},server=on,wait=off`],
  ];
  const child = spawn(file, words, { stdio: ['ignore', 'ignore', 'inherit'] });
  const exit = once(child, 'close');
  t.teardown(async () => {
    child.kill('SIGKILL');
    await exit;
  });
  const qmp = await connectWhenUp(qmpPath);
  t.teardown(() => qmp.close());
  await eventually('the qtest socket is there', () => existsSync(qtestPath));
  const qtest = await Qtest.connect(qtestPath);
  t.teardown(() => qtest.close());
  return { qmp, qtest };
};

const QEMU = ['qemu-system-x86_64', '-display', 'none', '-accel', 'tcg'];
const QMEMD = [process.execPath, PROGRAM];

const skip = { skip: refereeMissing() };

for (const kind of ['pc', 'q35'] as const)
  t.test(`${kind}: a driver sees the same of QEMU and of qmemd`, skip, async (t) => {
    const theirs = await new Script(await start(t, QEMU, kind), kind).run();
    const ours = await new Script(await start(t, QMEMD, kind), kind).run();
    t.ok(theirs.length > 200, `${String(theirs.length)} lines`);
    t.strictSame(ours, theirs);
  });

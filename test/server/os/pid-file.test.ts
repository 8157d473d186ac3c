import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { PidFile } from '../../../server/os/pid-file.js';
import { privateFolder } from '../../support/daemon.js';
import { native } from '../../support/passing.js';
import { refereeMissing } from '../../support/referee.js';

const load = () => native;
const none = () => undefined;
const ours = `${String(process.pid)}\n`;
/** No process has it: Linux gives out less. */
const DEAD = '99999999\n';

t.test('a claimed file goes with its owner', async (t) => {
  for (const how of [load, none]) {
    const path = join(privateFolder(t), 'pid');
    const file = PidFile.claim(path, how);
    t.equal(readFileSync(path, 'latin1'), ours);
    file.release();
    file.release();
    t.equal(existsSync(path), false);
  }
});

t.test('what a dead process left is taken over', async (t) => {
  for (const how of [load, none])
    for (const text of [DEAD, '', 'nonsense that is longer than the id of any process\n', ours]) {
      const path = join(privateFolder(t), 'pid');
      writeFileSync(path, text);
      PidFile.claim(path, how);
      t.equal(readFileSync(path, 'latin1'), ours);
    }
});

t.test('a file that took the place of ours stays', async (t) => {
  const path = join(privateFolder(t), 'pid');
  const file = PidFile.claim(path, load);
  renameSync(path, `${path}.away`);
  const other = PidFile.claim(path, load);
  file.release();
  t.equal(readFileSync(path, 'latin1'), ours);
  other.release();
  t.equal(existsSync(path), false);
  t.equal(existsSync(`${path}.away`), true, 'what was moved away is not searched for');
});

t.test('a lock is what counts', { skip: native === undefined }, async (t) => {
  const path = join(privateFolder(t), 'pid');
  const file = PidFile.claim(path, load);
  writeFileSync(path, 'nonsense');
  t.throws(() => PidFile.claim(path, load), {
    message: `cannot create PID file: Cannot lock pid file: Resource temporarily unavailable ('${path}')`,
  });
  t.equal(readFileSync(path, 'latin1'), 'nonsense');
  file.release();
  writeFileSync(path, '1\n');
  t.match(PidFile.claim(path, load), {}, 'process 1 lives, but is not ours');
});

t.test('what cannot be a pid file', async (t) => {
  const folder = privateFolder(t);
  symlinkSync('/dev/null', join(folder, 'link'));
  for (const [path, reason] of [
    [folder, `Could not create '${folder}': Is a directory`],
    [`${folder}/no/pid`, `Could not create '${folder}/no/pid': No such file or directory`],
    [`${folder}/link`, `'${folder}/link' is not a regular file`],
  ] as const)
    t.throws(() => PidFile.claim(path, load), { message: `cannot create PID file: ${reason}` });
  t.equal(existsSync(join(folder, 'link')), true);
});

const missing = refereeMissing() || (native === undefined && 'koffi is not installed');

t.test('QEMU respects it, and says the same', { skip: missing }, async (t) => {
  const path = join(privateFolder(t), 'pid');
  const qemu = (): [number | null, string] => {
    const words = ['-M', 'none', '-display', 'none', '-pidfile', path, '-qmp', 'stdio'];
    const input = '{"execute":"qmp_capabilities"}{"execute":"quit"}';
    const { status, stderr } = spawnSync('qemu-system-x86_64', words, { encoding: 'utf8', input });
    return [status, stderr];
  };
  const file = PidFile.claim(path, load);
  const text =
    'qemu-system-x86_64: cannot create PID file: Cannot lock pid file: Resource temporarily unavailable\n';
  t.strictSame(qemu(), [1, text]);
  t.equal(readFileSync(path, 'latin1'), ours);
  file.release();
  t.strictSame(qemu(), [0, '']);
});

import { spawn, spawnSync, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  connectWhenUp,
  eventually,
  privateFolder,
  PROGRAM,
  type Cleanup,
} from '../../support/daemon.js';
import { native } from '../../support/passing.js';
import type { Qmp } from '../../support/qmp.js';
import { refereeMissing } from '../../support/referee.js';

/** `fd:NUMBER`: descriptors that the process was started with. */

const WORDS = ['-M', 'q35', '-m', '8M', '-nodefaults', '-device', 'edu,id=e'];
const AT = { id: 'e', offset: 0x3c, size: 1 };

/** A daemon with descriptors from 3 on; undefined leaves a number closed. */
const start = async (
  t: Cleanup,
  fds: readonly (number | undefined)[],
  words: readonly string[] = [],
): Promise<Qmp> => {
  const folder = privateFolder(t);
  const [socket, pidfile] = [join(folder, 'qmp'), join(folder, 'pid')];
  const stdio: StdioOptions = ['ignore', 'ignore', 'inherit', ...fds.map((fd) => fd ?? 'ignore')];
  const qmpWords = ['-qmp', `unix:${socket},server=on,wait=off`, '-pidfile', pidfile];
  const all = [PROGRAM, ...WORDS, ...qmpWords, ...words];
  const child = spawn(process.execPath, all, { stdio });
  for (const fd of fds) if (fd !== undefined) closeSync(fd);
  const qmp = await connectWhenUp(socket);
  await qmp.execute('query-status');
  const pid = Number(readFileSync(pidfile, 'utf8'));
  t.teardown(async () => {
    qmp.close();
    process.kill(pid, 'SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'close');
  });
  return qmp;
};

const ends = (qmp: Qmp): Promise<void> =>
  eventually('the migration ends', async () => {
    const { status } = (await qmp.execute('query-migrate')) as { status?: string };
    if (status === 'failed') throw new Error(JSON.stringify(await qmp.execute('query-migrate')));
    return status === 'completed';
  });

const linux = process.platform === 'linux' ? {} : { skip: 'the host has no /proc' };

t.test('a file goes out and comes in by its number, from where it stands', linux, async (t) => {
  const path = join(privateFolder(t), 'machine');
  const out = openSync(path, 'w');
  writeSync(out, 'a head of somebody else');
  const a = await start(t, [undefined, out]);
  await a.execute('guest-config-write', { ...AT, value: 0x2a });
  await a.execute('migrate', { uri: 'fd:4' });
  await ends(a);
  const stored = (): number => {
    const fd = openSync(path, 'r');
    readSync(fd, Buffer.alloc(23));
    return fd;
  };
  for (const [name, number, words] of [
    ['migrate-incoming', 3, ['-incoming', 'defer']],
    ['-incoming', 5, ['-incoming', 'fd:5']],
    ['-incoming in the background', 3, ['-incoming', 'fd:3', '-daemonize']],
    ['migrate-incoming in the background', 5, ['-incoming', 'defer', '-daemonize']],
  ] as const)
    await t.test(name, async (t) => {
      const b = await start(t, [...Array<undefined>(number - 3), stored()], words);
      if (words.includes('defer' as never))
        await b.execute('migrate-incoming', { uri: `fd:${String(number)}` });
      await ends(b);
      t.match(await b.execute('guest-config-read', AT), { value: 0x2a });
      await t.rejects(b.execute('migrate', { uri: `fd:${String(number)}` }), {
        message: `File descriptor ${String(number)} is not open`,
      });
    });
});

t.test('between two daemons over a pair of sockets', { skip: native === undefined }, async (t) => {
  const [left, right] = native?.socketpair() ?? [-1, -1];
  const a = await start(t, [left]);
  const b = await start(t, [right], ['-incoming', 'fd:3']);
  await a.execute('guest-config-write', { ...AT, value: 0x2b });
  await a.execute('migrate', { uri: 'fd:3' });
  await Promise.all([ends(a), ends(b)]);
  t.match(await b.execute('guest-config-read', AT), { value: 0x2b });
});

t.test('a number that cannot be used leaves the machine as it was', linux, async (t) => {
  const file = join(privateFolder(t), 'file');
  const qmp = await start(t, [openSync(file, 'w')], ['-incoming', 'defer']);
  for (const [uri, message] of [
    ['fd:3x', "Invalid file descriptor number '3x'"],
    ['fd:1', 'File descriptor 1 is a standard stream: a number from 3 on is expected'],
    ['fd:999', 'File descriptor 999 is not open'],
    ['fd:name', "File descriptor named 'name' has not been found"],
  ] as const)
    await t.rejects(qmp.execute('migrate-incoming', { uri }), { message });
  t.match(await qmp.execute('query-status'), { status: 'inmigrate' });
});

t.test('-incoming has no names: as QEMU', async (t) => {
  const said = (file: string, words: readonly string[], uri: string): [number | null, string] => {
    const all = [...words, '-M', 'none', '-incoming', uri];
    const { status, stderr } = spawnSync(file, all, { encoding: 'utf8', input: '' });
    return [status, stderr.replace(/^[^:]*: /, '')];
  };
  for (const name of ['name', '3x', '', '-1']) {
    const uri = `fd:${name}`;
    const text = `-incoming ${uri}: Invalid file descriptor number '${name}'\n`;
    t.strictSame(said(process.execPath, [PROGRAM], uri), [1, text]);
    if (refereeMissing() === false)
      t.strictSame(said('qemu-system-x86_64', ['-display', 'none'], uri), [1, text], 'QEMU');
  }
});

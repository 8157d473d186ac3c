import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Daemon } from '../../server/daemon.js';
import { createLog } from '../../server/log.js';
import { parseCommandLine } from '../../server/options/command-line.js';
import { Qmp } from './qmp.js';

/** What a test gives its clean-up to. */
export interface Cleanup {
  teardown(done: () => unknown): void;
}

/** A private folder with a short name, as UNIX sockets need it. */
export const privateFolder = (t: Cleanup, where = tmpdir()): string => {
  const folder = mkdtempSync(join(where, 'qmemd-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
};

/** A daemon in this process with one monitor, and a client past negotiation. */
export const startDaemon = async (
  t: Cleanup,
  words: readonly string[],
  options: { nativeDisabled?: boolean } = {},
): Promise<{ daemon: Daemon; qmp: Qmp; socket: string; gone: Promise<void> }> => {
  const socket = join(privateFolder(t), 'qmp.sock');
  const invocation = parseCommandLine([...words, '-qmp', `unix:${socket},server=on,wait=off`]);
  if (invocation.kind !== 'run') throw new Error('the words do not run a daemon');
  let emptied: () => void = () => undefined;
  const gone = new Promise<void>((resolve) => (emptied = resolve));
  const daemon = new Daemon({
    config: invocation.options,
    log: createLog('error'),
    onEmpty: emptied,
    ...options,
  });
  await daemon.start();
  t.teardown(() => daemon.stop());
  const qmp = await Qmp.connect(socket);
  t.teardown(() => qmp.close());
  return { daemon, qmp, socket, gone };
};

/** Where the built program is. */
export const PROGRAM = new URL('../../dist/bin/qmemd.js', import.meta.url).pathname;

/** The built daemon as a process of its own; `nodeOptions` are for Node itself. */
export const spawnDaemon = (
  t: Cleanup,
  words: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
  nodeOptions: readonly string[] = [],
): { child: ChildProcess; stderr: () => string; stdout: () => string; exit: Promise<number> } => {
  const child = spawn(process.execPath, [...nodeOptions, PROGRAM, ...words], {
    env,
    stdio: 'pipe',
  });
  const text = { out: '', err: '' };
  child.stdout.on('data', (chunk: Buffer) => (text.out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (text.err += chunk.toString()));
  // Not 'exit': what was printed must have arrived.
  const exit = once(child, 'close').then(([code]) => (typeof code === 'number' ? code : -1));
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await exit;
  });
  return { child, stderr: () => text.err, stdout: () => text.out, exit };
};

/** Settles when `check` says so; other processes are asked again and again. @throws after 20 s */
export const eventually = async (
  what: string,
  check: () => boolean | Promise<boolean>,
): Promise<void> => {
  for (let tries = 0; !(await check()); tries++) {
    if (tries === 2000) throw new Error(`in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

/** Tries again until the socket accepts. */
export const connectWhenUp = async (path: string): Promise<Qmp> => {
  for (let tries = 0; ; tries++) {
    try {
      return await Qmp.connect(path);
    } catch (error) {
      if (tries === 200) throw error;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
};

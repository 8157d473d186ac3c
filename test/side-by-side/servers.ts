import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PROGRAM } from '../support/daemon.js';
import { Client } from './client.js';

/** A program that takes QEMU's command line. */
export interface Program {
  readonly name: 'qemu' | 'qmemd';
  readonly command: readonly [string, ...string[]];
  /** What only this program needs, after the common options. */
  readonly options: readonly string[];
}

export const qemu: Program = {
  name: 'qemu',
  command: ['qemu-system-x86_64'],
  options: ['-display', 'none', '-accel', 'tcg'],
};

export const qmemd: Program = {
  name: 'qmemd',
  command: [process.execPath, PROGRAM],
  options: [],
};

/** First line of `-version`; undefined where real QEMU is not installed. */
export const qemuVersion = (): string | undefined => {
  const run = spawnSync(qemu.command[0], ['-version'], { encoding: 'utf8' });
  return run.error === undefined ? run.stdout.split('\n')[0] : undefined;
};

export interface Server {
  readonly program: Program;
  readonly client: Client;
  /** Its own empty directory; `<dir>` in options and requests means this. */
  readonly dir: string;
  stop(): Promise<void>;
}

/**
 * Starts `program` with `options`; it connects to a socket of ours, so nothing polls.
 *
 * @throws Error with its stderr when it ends before it connected
 */
export const startServer = async (
  program: Program,
  options: readonly string[],
): Promise<Server> => {
  // Not t.testdir(): its long names do not fit a socket's path.
  const dir = mkdtempSync(join(tmpdir(), 'qmemd-side-'));
  const listener = createServer();
  const path = join(dir, 'qmp.sock');
  listener.listen(path);
  await once(listener, 'listening');
  const [command, ...first] = program.command;
  const own = options.map((option) => option.replaceAll('<dir>', dir));
  const child = spawn(command, [...first, ...own, ...program.options, '-qmp', `unix:${path}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  try {
    const client = await Client.open(await firstConnection(listener, child));
    return { program, client, dir, stop: () => stop(child, client, dir) };
  } catch (error) {
    child.kill('SIGKILL');
    rmSync(dir, { recursive: true });
    throw error;
  } finally {
    listener.close();
  }
};

const firstConnection = async (
  listener: ReturnType<typeof createServer>,
  child: ChildProcess,
): Promise<Socket> => {
  let complaint = '';
  child.stderr?.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
  const ended = new AbortController();
  const exit = once(child, 'close', { signal: ended.signal }).then(() => undefined);
  const connected = once(listener, 'connection', { signal: ended.signal });
  const first = await Promise.race([connected, exit]);
  ended.abort();
  await Promise.allSettled([connected, exit]);
  if (first !== undefined) return first[0] as Socket;
  throw new Error(`${child.spawnargs.join(' ')} ended: ${complaint}`);
};

const stop = async (child: ChildProcess, client: Client, dir: string): Promise<void> => {
  const gone = once(child, 'exit');
  client.close();
  if (child.exitCode === null && child.signalCode === null) {
    child.kill('SIGKILL');
    await gone;
  }
  rmSync(dir, { recursive: true });
};

// The programs that are compared, and how one is started and ended.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client } from './client.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const qmemdScript = join(here, '../dist/bin/qmemd.js');
const listening = (path) => ['-qmp', `unix:${path},server=on,wait=off`];

/** Each program: `arguments(socket, options)` is its whole command line. */
export const programs = {
  qemu: {
    label: 'QEMU',
    arguments: (path, options) => [
      'qemu-system-x86_64',
      '-display',
      'none',
      '-accel',
      'tcg',
      ...options,
      ...listening(path),
    ],
  },
  qmemd: {
    label: 'qmemd',
    arguments: (path, options) => [process.execPath, qmemdScript, ...options, ...listening(path)],
  },
  qmemdWithoutNative: {
    label: 'qmemd without native layer',
    arguments: (path, options) => [process.execPath, qmemdScript, ...options, ...listening(path)],
    env: { QMEMD_NATIVE: 'none' },
  },
  bare: {
    label: 'bare Node',
    arguments: (path) => [process.execPath, join(here, 'line-server.mjs'), path],
  },
};

/** Names of the programs that can be run here. */
export const available = () => {
  const qemu = spawnSync('qemu-system-x86_64', ['-version'], { stdio: 'ignore' });
  const names = ['bare'];
  if (existsSync(qmemdScript)) names.push('qmemd', 'qmemdWithoutNative');
  if (qemu.error === undefined) names.push('qemu');
  return names;
};

let serial = 0;

/**
 * Starts a program with a listening socket in `dir` and reads its greeting.
 *
 * @returns the client, milliseconds from spawn to greeting, pid, socket path, HTTP address, `stop`
 */
export const start = (name, dir, options = []) => {
  const path = join(dir, `${serial++}.sock`);
  return launch(name, path, programs[name].arguments(path, options));
};

/**
 * Starts qmemd on a configuration file; the first monitor of its first machine is for the client.
 *
 * @param machines members `machines` of the file
 */
export const startMany = (dir, machines) => {
  const file = join(dir, `${serial++}.json`);
  writeFileSync(file, JSON.stringify({ machines }));
  const words = [process.execPath, qmemdScript, '--config', file, '--listen', '127.0.0.1:0'];
  return launch('qmemd', machines[0].monitors[0].path, words);
};

const launch = async (name, path, [command, ...rest]) => {
  const begin = performance.now();
  const env = { ...process.env, ...programs[name].env };
  const child = spawn(command, rest, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  // Where it serves HTTP, if it was asked to; everything else is for people.
  const address = new Promise((resolve) =>
    child.stderr.setEncoding('utf8').on('data', (text) => {
      const where = /^qmemd: HTTP and WebSocket on (\S+)/m.exec(text)?.[1];
      if (where === undefined) process.stderr.write(text);
      else resolve(where);
    }),
  );
  let running = true;
  const gone = new Promise((resolve) => child.once('close', resolve)).then(() => (running = false));
  const client = await Client.open(path, { alive: () => running });
  const greetingMs = performance.now() - begin;
  await client.call({ execute: 'qmp_capabilities' });
  const stop = async () => {
    client.close();
    child.kill('SIGKILL');
    await gone;
  };
  return { client, greetingMs, stop, pid: child.pid, path, address };
};

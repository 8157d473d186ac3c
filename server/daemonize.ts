import { spawn, type StdioOptions } from 'node:child_process';
import type { Readable } from 'node:stream';
import { READY_VARIABLE } from './readiness.js';

export interface BackgroundOptions {
  readonly script: string;
  /** The command line without `-daemonize`. */
  readonly words: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Descriptors beyond stderr that the child is to have, under the same numbers. */
  readonly inherited?: readonly number[];
  /** Numbers that the command line names, whether they are open or not. */
  readonly named?: readonly number[];
}

/**
 * Runs the same program again in the background and waits until it serves.
 *
 * @returns exit status for the parent: 0 once the child serves, else the child's own
 */
export const runInBackground = ({
  script,
  words,
  env,
  inherited = [],
  named = [],
}: BackgroundOptions): Promise<number> => {
  // A number that means nothing to anybody.
  let ready = 3;
  while (inherited.includes(ready) || named.includes(ready)) ready++;
  const stdio: StdioOptions = ['ignore', 'inherit', 'inherit'];
  for (let fd = stdio.length; fd <= Math.max(ready, ...inherited); fd++)
    stdio.push(fd === ready ? 'pipe' : inherited.includes(fd) ? fd : 'ignore');
  const child = spawn(process.execPath, [script, ...words], {
    detached: true,
    stdio,
    env: { ...env, [READY_VARIABLE]: String(ready) },
  });
  return new Promise((resolve) => {
    (child.stdio[ready] as Readable | null | undefined)?.once('data', () => {
      child.unref();
      resolve(0);
    });
    child.once('error', () => resolve(1));
    child.once('exit', (code) => resolve(code ?? 1));
  });
};

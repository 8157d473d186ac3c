import { spawn, type StdioOptions } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';

/** How the child tells the parent that it serves. */
const READY = 'ready';

/**
 * Runs the same program again in the background and waits until it serves.
 *
 * @param words the command line without `-daemonize`
 * @param inherited descriptors beyond stderr that the command line names
 * @returns exit status for the parent: 0 once the child serves, else the child's own
 */
export const runInBackground = (
  script: string,
  words: readonly string[],
  inherited: readonly number[],
): Promise<number> => {
  const stdio: StdioOptions = ['ignore', 'inherit', 'inherit', 'ipc'];
  for (let fd = 4; fd <= Math.max(3, ...inherited); fd++)
    stdio.push(inherited.includes(fd) ? fd : 'ignore');
  const child = spawn(process.execPath, [script, ...words], { detached: true, stdio });
  return new Promise((resolve) => {
    child.once('message', () => {
      child.disconnect();
      child.unref();
      resolve(0);
    });
    child.once('error', () => resolve(1));
    child.once('exit', (code) => resolve(code ?? 1));
  });
};

/**
 * In the background process: tells the parent, then lets go of its terminal. No effect in a process
 * that was not started by `runInBackground`.
 */
export const reportReady = (): void => {
  if (process.send === undefined) return;
  process.send(READY);
  process.disconnect();
  for (const fd of [1, 2]) replaceByNull(fd);
};

/** Points `fd` at /dev/null, so that a parent that reads our output sees its end. */
const replaceByNull = (fd: number): void => {
  closeSync(fd);
  // The lowest free number is the one just closed.
  openSync('/dev/null', 'r+');
};

import { closeSync, openSync, writeSync } from 'node:fs';

/** Tells a process in the background the number of the descriptor on which it reports to its parent. */
export const READY_VARIABLE = 'QMEMD_READY_FD';
const READY = 'ready';

/** The descriptor of a process that `runInBackground` started; undefined in any other. */
export const readyDescriptor = (env: NodeJS.ProcessEnv): number | undefined => {
  const text = env[READY_VARIABLE];
  return text !== undefined && /^[0-9]+$/.test(text) ? Number(text) : undefined;
};

/**
 * In the background process: tells the parent, then lets go of its terminal. No effect in a process
 * that was not started by `runInBackground`.
 *
 * @throws Error when the parent is gone
 */
export const reportReady = (env: NodeJS.ProcessEnv): void => {
  const ready = readyDescriptor(env);
  if (ready === undefined) return;
  writeSync(ready, READY);
  closeSync(ready);
  for (const fd of [1, 2]) replaceByNull(fd);
};

/** Points `fd` at /dev/null, so that a parent that reads our output sees its end. */
const replaceByNull = (fd: number): void => {
  closeSync(fd);
  // The lowest free number is the one just closed.
  openSync('/dev/null', 'r+');
};

import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

type Environment = Readonly<Record<string, string | undefined>>;

/** Private directory of the demonstration machine: its socket and its memory file. */
export const demoDirectory = (env: Environment): string => {
  const runtime = env['XDG_RUNTIME_DIR'];
  if (runtime !== undefined && runtime.startsWith('/')) return join(runtime, 'qmemd');
  return join(tmpdir(), `qmemd-${String(userInfo().uid)}`);
};

/** Socket of the demonstration machine. */
export const demoSocketPath = (env: Environment): string => join(demoDirectory(env), 'demo.qmp');

/** Where qmemctl connects when nobody says: QMEMD_SOCKET, else the demonstration machine. */
export const defaultAddress = (env: Environment): string => {
  const given = env['QMEMD_SOCKET'];
  return given === undefined || given === '' ? demoSocketPath(env) : given;
};

/** Lines typed in the shell: QMEMCTL_HISTORY, else in the home folder; undefined: not kept. */
export const historyPath = (env: Environment): string | undefined => {
  const { QMEMCTL_HISTORY: given, HOME: home } = env;
  if (given !== undefined) return given === '' ? undefined : given;
  return home === undefined || home === '' ? undefined : join(home, '.qmemctl_history');
};

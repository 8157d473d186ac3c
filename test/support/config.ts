import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Daemon } from '../../server/daemon.js';
import { createLog } from '../../server/log.js';
import { parseCommandLine, type Options } from '../../server/options/command-line.js';
import { withConfigFile } from '../../server/options/config-file.js';
import { privateFolder, type Cleanup } from './daemon.js';

/** Options of words that run a daemon. */
export const optionsOf = (words: readonly string[]): Options => {
  const invocation = parseCommandLine(words);
  if (invocation.kind !== 'run') throw new Error('the words do not run a daemon');
  return invocation.options;
};

/** A configuration file `c.json`, read; `content` is its text, or what that says. */
export const readConfig = (
  test: Cleanup,
  content: unknown,
  words: readonly string[] = [],
): Options => {
  const path = join(privateFolder(test), 'c.json');
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return withConfigFile(optionsOf(['--config', path, ...words]), path);
};

/** A daemon in this process. */
export const startConfig = async (test: Cleanup, given: Options): Promise<Daemon> => {
  const daemon = new Daemon({ config: given, log: createLog('error'), onEmpty: () => undefined });
  test.teardown(() => daemon.stop());
  await daemon.start();
  return daemon;
};

/** A file of two machines, the second one as given. */
export const second = (machine: object): object => ({
  machines: [{ name: 'a' }, { name: 'b', ...machine }],
});

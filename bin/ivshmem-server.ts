import { runInBackground } from '../server/daemonize.js';
import { HELP, parseServerOptions } from '../server/ivshmem/options.js';
import { IvshmemService } from '../server/ivshmem/service.js';
import { createLog } from '../server/log.js';
import { reportReady } from '../server/readiness.js';

/**
 * `qmemd ivshmem-server`: runs until a signal ends it.
 *
 * @param words what follows the name of the subcommand
 * @returns exit status, or undefined while the server runs
 * @throws Error in plain words
 */
export const ivshmemServer = async (words: readonly string[]): Promise<number | undefined> => {
  const options = parseServerOptions(words);
  if (options === undefined) {
    process.stdout.write(HELP);
    return 0;
  }
  if (!options.foreground)
    return runInBackground({
      script: process.argv[1] ?? '',
      words: ['ivshmem-server', ...words, '-F'],
      env: process.env,
    });
  const service = new IvshmemService({
    ...options,
    log: createLog(options.verbose ? 'info' : 'warn'),
    nativeDisabled: process.env['QMEMD_NATIVE'] === 'none',
  });
  const stop = (): void => {
    service.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`qmemd: ${String(error)}\n`);
        process.exit(1);
      },
    );
  };
  await service.start();
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, stop);
  process.on('SIGPIPE', () => undefined);
  process.stdout.write(`qmemd: ${service.description}\n`);
  try {
    reportReady(process.env);
  } catch (error) {
    await service.stop();
    throw error;
  }
  return undefined;
};

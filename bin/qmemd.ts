#!/usr/bin/env node
import { openSync } from 'node:fs';
import { demoSocketPath } from '../ctl/paths.js';
import type { CharEndpoint } from '../server/config.js';
import { Daemon } from '../server/daemon.js';
import type { Demo } from '../server/demo.js';
import { createLog } from '../server/log.js';
import { InheritedDescriptors } from '../server/os/inherited-descriptors.js';
import { parseCommandLine, type Options } from '../server/options/command-line.js';
import { endpointsOf } from '../server/options/endpoints.js';
import { readyDescriptor, reportReady } from '../server/readiness.js';
import { hostPort } from '../server/transport/inet.js';
import { openFailure } from '../server/transport/reason.js';
import { QMP_VERSION, VERSION } from '../server/version.js';

const complain = (error: unknown): void => {
  const text = error instanceof Error ? error.message : String(error);
  process.stderr.write(`qmemd: ${text}\n`);
};

const versionLine = (): string => {
  const { major, minor, micro } = QMP_VERSION.qemu;
  return `qmemd version ${VERSION} (QMP level ${String(major)}.${String(minor)}.${String(micro)})`;
};

/** Numbers of descriptors that options name. */
const namedDescriptors = (options: Options): number[] =>
  endpointsOf(options.machines).flatMap(({ endpoint }) =>
    endpoint.kind === 'unix-fd' ? [endpoint.fd] : [],
  );

/** @throws Error for what cannot be, or what this version does not do */
const checkSupported = (options: Options): void => {
  const stdio = endpointsOf(options.machines).find(({ endpoint }) => endpoint.kind === 'stdio');
  if (options.daemonize && stdio !== undefined)
    throw new Error(`${stdio.origin}: cannot use stdio with -daemonize`);
};

const shown = (endpoint: CharEndpoint): string => {
  if ('path' in endpoint) return `unix:${endpoint.path}`;
  return 'host' in endpoint ? `tcp:${hostPort(endpoint)}` : endpoint.kind;
};

/** Whether anybody can ever tell the machines something. */
const isReachable = ({ machines, listen }: Options): boolean =>
  listen !== undefined ||
  machines.some(
    ({ monitors, qtest, incoming }) =>
      monitors.length > 0 || qtest !== undefined || (incoming ?? 'defer') !== 'defer',
  );

const DEMO_LISTEN = { host: '127.0.0.1', port: 7710 };

/** Options with the demonstration machine added, and what must be undone at the end. */
const withDemo = async (options: Options): Promise<{ options: Options; demo?: Demo }> => {
  if (!options.demo) return { options };
  const { createDemo } = await import('../server/demo.js');
  const { NativeLoader } = await import('../server/os/native.js');
  const native = new NativeLoader({ disabled: process.env['QMEMD_NATIVE'] === 'none' });
  const demo = createDemo(demoSocketPath(process.env), native.status());
  return {
    options: {
      ...options,
      machines: demo.machines,
      listen: options.listen ?? DEMO_LISTEN,
      origins: options.listen ? options.origins : { ...options.origins, listen: '--demo' },
    },
    demo,
  };
};

/** Ends with the process that started us. */
const followParent = (): void => {
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) process.kill(process.pid, 'SIGTERM');
  }, 500).unref();
};

/** Options with the machines of the configuration file. @throws Error naming the file and place */
const withConfig = async (options: Options): Promise<Options> => {
  if (options.configFile === undefined) return options;
  const { withConfigFile } = await import('../server/options/config-file.js');
  return withConfigFile(options, options.configFile);
};

/** @throws Error that names the option */
const openLog = (path: string | undefined): number => {
  if (path === undefined) return 2;
  try {
    return openSync(path, 'a', 0o644);
  } catch (error) {
    throw new Error(`-D ${path}: ${openFailure(path, error)}`, { cause: error });
  }
};

const serve = async (given: Options): Promise<void> => {
  const { env } = process;
  // First of all: before anything is opened.
  const inherited = InheritedDescriptors.record({
    named: namedDescriptors(given),
    own: readyDescriptor(env),
  });
  // Before the demonstration makes files.
  const fd = openLog(given.logFile);
  const { options, demo } = await withDemo(given);
  const log = createLog(options.logLevel, fd);
  const finish = (status: number): void => {
    demo?.close();
    process.exit(status);
  };
  const daemon = new Daemon({
    config: options,
    log,
    inherited,
    nativeDisabled: env['QMEMD_NATIVE'] === 'none',
    onWaiting: (endpoint) => {
      const where = shown(endpoint);
      process.stderr.write(`qmemd: info: waiting for a client on ${where} (wait=off does not)\n`);
    },
    // As QEMU, on stdout.
    onTerminal: (id, path) =>
      void process.stdout.write(`char device redirected to ${path} (label ${id})\n`),
    onEmpty: () => void daemon.stop().then(() => finish(0)),
  });
  const stop = (): void => {
    daemon.stopBySignal().then(
      () => finish(0),
      (error: unknown) => {
        complain(error);
        finish(1);
      },
    );
  };
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  // At a terminal, the second one does not wait.
  process.once('SIGINT', stop);
  process.on('SIGPIPE', () => undefined);
  // Node would open a debugger to everybody on this host.
  process.on('SIGUSR1', () => undefined);
  try {
    await daemon.start();
  } catch (error) {
    complain(error);
    if (demo !== undefined && (await (await import('../server/demo.js')).isServed(demo.socket)))
      process.stderr.write('The demonstration is running already: use it, or stop it first.\n');
    finish(1);
    return;
  }
  if (options.exitWithParent) followParent();
  if (demo !== undefined) {
    const { demoBanner } = await import('../server/demo.js');
    process.stdout.write(demoBanner(demo, daemon.httpAddress, VERSION));
  } else if (daemon.httpAddress !== undefined) {
    process.stderr.write(`qmemd: HTTP and WebSocket on ${hostPort(daemon.httpAddress)}\n`);
  }
  if (!isReachable(options))
    process.stderr.write(
      'qmemd: info: no monitor, no qtest and no --listen: nobody can reach this machine (try qmemd -h or --demo)\n',
    );
  try {
    reportReady(env);
  } catch (error) {
    // Nobody waits for it any more.
    complain(error);
    await daemon.stop();
    finish(1);
  }
};

const main = async (words: readonly string[]): Promise<void> => {
  if (words[0] === 'ivshmem-server') {
    const { ivshmemServer } = await import('./ivshmem-server.js');
    const status = await ivshmemServer(words.slice(1));
    if (status !== undefined) process.exit(status);
    return;
  }
  const invocation = parseCommandLine(words);
  switch (invocation.kind) {
    case 'help':
      process.stdout.write((await import('../server/options/help.js')).HELP);
      return;
    case 'option-help': {
      const { optionHelp } = await import('../server/options/option-help.js');
      process.stdout.write(optionHelp(invocation.request));
      return;
    }
    case 'version':
      process.stdout.write(`${versionLine()}\n`);
      return;
    case 'print-reference':
      process.stdout.write((await import('../server/print-reference.js')).reference());
      return;
    case 'print-config-schema':
      process.stdout.write((await import('../server/options/config-schema.js')).configJsonSchema());
      return;
    case 'run': {
      const options = await withConfig(invocation.options);
      checkSupported(options);
      if (!options.daemonize) return serve(options);
      process.exit(await background(words, options));
    }
  }
};

const background = async (words: readonly string[], options: Options): Promise<number> => {
  const named = namedDescriptors(options);
  const { numbers: inherited } = InheritedDescriptors.record({ named });
  const { runInBackground } = await import('../server/daemonize.js');
  return runInBackground({
    script: process.argv[1] ?? '',
    words: words.filter((word) => word !== '-daemonize' && word !== '--daemonize'),
    env: process.env,
    inherited,
    named,
  });
};

main(process.argv.slice(2)).catch((error: unknown) => {
  complain(error);
  process.exit(1);
});

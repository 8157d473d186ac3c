import {
  chmodSync,
  closeSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { MachineConfig } from './config.js';
import { createDemoPool, removeAbandonedPools, type DemoPool } from './demo-pool.js';
import { hostPort } from './transport/inet.js';

/**
 * What `npm start` shows: a machine with a dynamic-mdevice on a file in a private folder, and four
 * hosts on one CXL pool.
 */
export interface Demo {
  readonly machines: readonly MachineConfig[];
  /** Undefined where the host has no shared memory. */
  readonly pool: DemoPool | undefined;
  readonly socket: string;
  readonly memory: string;
  /** Removes what the demonstration made. */
  close(): void;
}

const MEMORY_SIZE = 1024 ** 3;

/** @throws Error when the folder is not ours alone */
const makePrivate = (folder: string): void => {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const found = lstatSync(folder);
  if (!found.isDirectory() || found.uid !== process.getuid?.())
    throw new Error(`--demo: ${folder} belongs to somebody else`);
  chmodSync(folder, 0o700);
};

/** In a container the number of the one that was killed is soon our own. */
const isAbandoned = (pid: number): boolean => {
  if (pid === process.pid) return true;
  try {
    process.kill(pid, 0);
    return false;
  } catch {
    // No such process, or not ours: then neither is its file.
    return true;
  }
};

/** Removes memory files whose daemon was killed before it could. */
const removeAbandoned = (folder: string): void => {
  for (const name of readdirSync(folder)) {
    const pid = /^(?:demo|pool)\.([0-9]+)\.mem$/.exec(name)?.[1];
    if (pid !== undefined && isAbandoned(Number(pid))) rmSync(join(folder, name), { force: true });
  }
};

/**
 * Makes the folder and the (sparse) files, and the configuration of the machines on them.
 *
 * @param socket where the monitor listens; everything else lies beside it
 * @param withPool whether the host has what shared memory needs
 */
export const createDemo = (socket: string, withPool: boolean): Demo => {
  const folder = dirname(socket);
  makePrivate(folder);
  removeAbandoned(folder);
  if (withPool) removeAbandonedPools(isAbandoned);
  const memory = join(folder, `demo.${String(process.pid)}.mem`);
  const fd = openSync(memory, 'wx', 0o600);
  ftruncateSync(fd, MEMORY_SIZE);
  closeSync(fd);
  const pool = withPool
    ? createDemoPool(folder, join(folder, `pool.${String(process.pid)}.mem`))
    : undefined;
  return {
    ...{ socket, memory, pool },
    machines: [createMachine(socket, memory), ...(pool?.machines ?? [])],
    close: () => {
      rmSync(memory, { force: true });
      pool?.close();
    },
  };
};

const createMachine = (socket: string, memory: string): MachineConfig => {
  const device = (values: [string, string][]): MachineConfig['devices'][number] => ({
    origin: '--demo',
    form: 'text',
    values,
  });
  return {
    name: 'demo',
    guestName: 'demo',
    uuid: undefined,
    kind: 'q35',
    ramSize: 128n << 20n,
    ramBackend: undefined,
    defaults: false,
    guestPolicy: 'accept',
    paused: false,
    globals: [],
    objects: [],
    devices: [
      device([
        ['driver', 'pcie-root-port'],
        ['id', 'rp1'],
      ]),
      device([
        ['driver', 'dynamic-mdevice'],
        ['id', 'mem0'],
        ['bus', 'rp1'],
        ['size', '4G'],
        ['align', '2M'],
        ['mem-path', memory],
      ]),
    ],
    monitors: [
      {
        origin: '--demo',
        endpoint: { kind: 'unix-listen', path: socket, wait: false },
        pretty: false,
      },
    ],
  };
};

/** How to use the demonstration: where it is, and commands that work as printed. */
export const demoBanner = (
  demo: Demo,
  http: { host: string; port: number } | undefined,
  version: string,
): string => {
  const ctl = 'node dist/bin/qmemctl.js';
  const web =
    http === undefined
      ? []
      : [
          `  QMP over WebSocket  ws://${hostPort(http)}/machines/demo/qmp`,
          `  health              http://${hostPort(http)}/healthz`,
        ];
  return [
    `qmemd ${version}: machine 'demo' runs, with a dynamic-mdevice 'mem0' on 1 GiB of host memory`,
    `  QMP on UNIX socket  ${demo.socket}`,
    ...web,
    `  host memory         ${demo.memory}`,
    '',
    'Try, in another terminal in this folder:',
    `  ${ctl} mem-attach id=mem0 size=67108864 offset=0`,
    `  ${ctl} guest-mmio-write id=mem0 bar=2 offset=0 data=aGVsbG8gbWVtb3J5Cg==`,
    `  head -c 13 ${demo.memory}`,
    '',
    ...poolLines(demo.pool),
    'Ctrl-C stops it.',
    '',
  ].join('\n');
};

const poolLines = (pool: DemoPool | undefined): string[] =>
  pool === undefined
    ? []
    : [
        'The machines host0 to host3 share 64 GiB of CXL memory. Give them some, and hand it over:',
        ...pool.commands.map((command) => `  ${command}`),
        '',
      ];

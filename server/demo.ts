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
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import type { MachineConfig } from './config.js';
import { createDemoPool, removeAbandonedPools, type DemoPool } from './demo-pool.js';
import type { NativeStatus } from './os/native.js';
import { hostPort } from './transport/inet.js';

/**
 * What `npm start` shows: a machine with a dynamic-mdevice on a file in a private folder, and four
 * hosts on one CXL pool; where memory cannot be mapped, a machine with an edu device.
 */
export interface Demo {
  readonly machines: readonly MachineConfig[];
  readonly socket: string;
  /** What it has where memory can be mapped. */
  readonly mapped: { readonly memory: string; readonly pool: DemoPool } | undefined;
  /** Why it cannot, where that is so. */
  readonly reason: string | undefined;
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
 * @param native whether memory can be mapped, or why not
 */
export const createDemo = (socket: string, { native, reason }: NativeStatus): Demo => {
  const folder = dirname(socket);
  makePrivate(folder);
  removeAbandoned(folder);
  if (native === 'none')
    return {
      ...{ socket, mapped: undefined, reason },
      machines: [createMachine(socket, EDU)],
      close: () => undefined,
    };
  removeAbandonedPools(isAbandoned);
  const memory = join(folder, `demo.${String(process.pid)}.mem`);
  const fd = openSync(memory, 'wx', 0o600);
  ftruncateSync(fd, MEMORY_SIZE);
  closeSync(fd);
  const pool = createDemoPool(folder, join(folder, `pool.${String(process.pid)}.mem`));
  return {
    ...{ socket, mapped: { memory, pool }, reason: undefined },
    machines: [createMachine(socket, mdevice(memory)), ...pool.machines],
    close: () => {
      rmSync(memory, { force: true });
      pool.close();
    },
  };
};

type Values = [name: string, value: string][];

/** A device on the root port. */
const EDU: Values = [
  ['driver', 'edu'],
  ['id', 'edu0'],
  ['bus', 'rp1'],
];
const mdevice = (memory: string): Values => [
  ['driver', 'dynamic-mdevice'],
  ['id', 'mem0'],
  ['bus', 'rp1'],
  ['size', '4G'],
  ['align', '2M'],
  ['mem-path', memory],
];

const createMachine = (socket: string, plugged: Values): MachineConfig => {
  const device = (values: Values): MachineConfig['devices'][number] => ({
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
      device(plugged),
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
  const { mapped, socket } = demo;
  const web =
    http === undefined
      ? []
      : [
          `  QMP over WebSocket  ws://${hostPort(http)}/machines/demo/qmp`,
          `  health              http://${hostPort(http)}/healthz`,
        ];
  const what =
    mapped === undefined
      ? "with a device 'edu0', and without memory"
      : "with a dynamic-mdevice 'mem0' on 1 GiB of host memory";
  return [
    `qmemd ${version}: machine 'demo' runs, ${what}`,
    `  QMP on UNIX socket  ${socket}`,
    ...web,
    ...(mapped === undefined
      ? withoutMemory(demo.reason)
      : [`  host memory         ${mapped.memory}`]),
    '',
    'Try, in another terminal in this folder:',
    ...(mapped === undefined ? EDU_COMMANDS : memoryCommands(mapped.memory)),
    '',
    ...(mapped === undefined ? [] : poolLines(mapped.pool)),
    'Ctrl-C stops it.',
    '',
  ].join('\n');
};

const CTL = 'node dist/bin/qmemctl.js';

const withoutMemory = (reason = 'unknown'): string[] => [
  `  host memory         none: mapping needs the optional package koffi, which is not available (${reason});`,
  `                      README.md, "What it needs", tells what to do`,
];
const EDU_COMMANDS: readonly string[] = [
  `  ${CTL} query-native`,
  `  ${CTL} guest-enumerate`,
  `  ${CTL} guest-mmio-write id=edu0 bar=0 offset=4 size=4 value=1`,
  `  ${CTL} guest-mmio-read id=edu0 bar=0 offset=4 size=4`,
  `  ${CTL} device_del id=edu0`,
];
const memoryCommands = (memory: string): string[] => [
  `  ${CTL} mem-attach id=mem0 size=67108864 offset=0`,
  `  ${CTL} guest-mmio-write id=mem0 bar=2 offset=0 data=aGVsbG8gbWVtb3J5Cg==`,
  `  head -c 13 ${memory}`,
];

const poolLines = (pool: DemoPool): string[] => [
  'The machines host0 to host3 share 64 GiB of CXL memory. Give them some, and hand it over:',
  ...pool.commands.map((command) => `  ${command}`),
  '',
];

/** Whether a demonstration listens on `socket`. */
export const isServed = (socket: string): Promise<boolean> =>
  new Promise((resolve) => {
    const client = connect(socket);
    client.once('error', () => resolve(false));
    client.once('connect', () => {
      client.destroy();
      resolve(true);
    });
  });

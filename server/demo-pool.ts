import { closeSync, ftruncateSync, openSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { MachineConfig, Written } from './config.js';

/** Four hosts on one pool of `npm start`: a head of the same memory device in each. */
export interface DemoPool {
  readonly machines: readonly MachineConfig[];
  /** Commands to try, with what they show. */
  readonly commands: readonly string[];
  close(): void;
}

const HOSTS = 4;
const SIZE = 64 * 1024 ** 3;
const GIB = 1024 ** 3;
const SHARED_OBJECTS = '/dev/shm';
const STATE = /^qmemd-demo\.([0-9]+)(?:\.tags)?$/;

const stateName = (pid: number): string => `qmemd-demo.${String(pid)}`;

/** Removes state objects of demonstrations that were killed. */
export const removeAbandonedPools = (isAbandoned: (pid: number) => boolean): void => {
  for (const name of readdirSync(SHARED_OBJECTS)) {
    const pid = STATE.exec(name)?.[1];
    if (pid !== undefined && isAbandoned(Number(pid)))
      rmSync(join(SHARED_OBJECTS, name), { force: true });
  }
};

const written = (values: Record<string, string>): Written => ({
  origin: '--demo',
  form: 'text',
  values: Object.entries(values),
});

const createHost = (number: number, folder: string, memory: string): MachineConfig => {
  const name = `host${String(number)}`;
  const path = join(folder, `${name}.qmp`);
  return {
    name,
    guestName: name,
    uuid: undefined,
    kind: 'q35',
    ramSize: 128n << 20n,
    ramBackend: undefined,
    cxl: { windows: [{ targets: ['cxl.0'], size: BigInt(SIZE) }] },
    defaults: false,
    guestPolicy: 'accept',
    paused: false,
    globals: [],
    objects: [
      {
        origin: '--demo',
        form: 'json',
        values: {
          ...{ 'qom-type': 'memory-backend-file', id: 'pool-memory', size: BigInt(SIZE) },
          ...{ 'mem-path': memory, share: true },
        },
      },
    ],
    devices: [
      written({ driver: 'pxb-cxl', id: 'cxl.0', bus: 'pcie.0', bus_nr: '52' }),
      written({ driver: 'cxl-rp', id: 'rp0', bus: 'cxl.0' }),
      written({
        ...{ driver: 'cxl-mhsld', id: 'pool', bus: 'rp0', 'num-dc-regions': '1' },
        ...{ 'volatile-dc-memdev': 'pool-memory', 'mhd-state_file': stateName(process.pid) },
        ...{ 'mhd-head': String(number), 'mhd-init': 'on' },
      }),
    ],
    monitors: [
      { origin: '--demo', endpoint: { kind: 'unix-listen', path, wait: false }, pretty: false },
    ],
  };
};

const commandsIn = (folder: string): string[] => {
  const on = (host: number, command: string, more = ''): string =>
    `node dist/bin/qmemctl.js -s ${join(folder, `host${String(host)}.qmp`)} ${command}${more}`;
  const capacity = (verb: string, policy: string, gib: number): string =>
    `cxl-${verb}-dynamic-capacity path=pool host-id=0 ${policy} region=0 extents.0.offset=${String(gib * GIB)} extents.0.len=${String(GIB)}`;
  const add = (host: number, gib: number, more?: string): string =>
    on(host, capacity('add', 'selection-policy=prescriptive', gib), more);
  return [
    add(0, 0),
    add(1, 1),
    add(1, 0, '  # refused: host0 has it'),
    on(0, capacity('release', 'removal-policy=prescriptive', 0)),
    add(1, 0, '  # now it is free'),
    on(1, 'query-cxl-pools'),
  ];
};

/**
 * Makes the sparse memory of the pool and the configuration of its hosts.
 *
 * @param folder private; sockets and memory lie there
 * @param memory path of the memory file, which must not exist
 */
export const createDemoPool = (folder: string, memory: string): DemoPool => {
  const fd = openSync(memory, 'wx', 0o600);
  ftruncateSync(fd, SIZE);
  closeSync(fd);
  return {
    machines: Array.from({ length: HOSTS }, (_, i) => createHost(i, folder, memory)),
    commands: commandsIn(folder),
    close: () => {
      rmSync(memory, { force: true });
      // Gone with its last head already, unless the daemon could not start.
      removeAbandonedPools((pid) => pid === process.pid);
    },
  };
};

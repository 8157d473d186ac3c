import { writeJson, type Json } from './client.js';

/** A request and how many devices leave by it. */
export interface Step {
  readonly request: string;
  readonly deleted: number;
}

/** One command line for both programs and a dialogue with the machine that it starts. */
export interface Scenario {
  readonly name: string;
  readonly options: readonly string[];
  /** True when the requests were made at run time. */
  readonly generated?: boolean;
  readonly steps: readonly Step[];
}

export const ask = (execute: string, args?: { readonly [key: string]: Json }): Step => ({
  request: writeJson(args === undefined ? { execute } : { execute, arguments: args }),
  deleted: 0,
});

/** The same request, after whose reply `count` devices leave. */
export const deleting = (step: Step, count = 1): Step => ({ ...step, deleted: count });

export const MiB = 1048576n;

export const ram = (id: string, size: Json = MiB): Step =>
  ask('object-add', { 'qom-type': 'memory-backend-ram', id, size });

export const file = (id: string, more: { readonly [key: string]: Json }): Step =>
  ask('object-add', { 'qom-type': 'memory-backend-file', id, ...more });

export const add = (driver: string, more: { readonly [key: string]: Json } = {}): Step =>
  ask('device_add', { driver, ...more });

export const ivshmem = (
  id: string,
  memdev: string,
  more: { readonly [key: string]: Json } = {},
): Step => add('ivshmem-plain', { id, memdev, ...more });

export const del = (id: Json): Step => ask('device_del', { id });
export const objectDel = (id: Json): Step => ask('object-del', { id });
export const get = (path: Json, property: Json): Step => ask('qom-get', { path, property });
export const set = (path: Json, property: Json, value: Json): Step =>
  ask('qom-set', { path, property, value });
export const list = (path: Json): Step => ask('qom-list', { path });
export const pci = ask('query-pci');
export const memdevs = ask('query-memdev');
export const status = ask('query-status');
export const reset = ask('system_reset');

export const bare = (machine: string): string[] => ['-M', machine, '-nodefaults', '-S'];
export const backend = (id: string): string[] => ['-object', `memory-backend-ram,id=${id},size=1M`];
export const device = (...options: string[]): string[] =>
  options.flatMap((text) => ['-device', text]);

export const q35 = [
  ...bare('q35'),
  ...['m1', 'm2', 'm3', 'm4'].flatMap(backend),
  ...device(
    'pcie-root-port,id=rp1,chassis=1,slot=1,addr=2.0',
    'pcie-root-port,id=rp2,chassis=1,slot=2,addr=3.0',
    'pcie-root-port,id=rp3,chassis=1,slot=3,addr=4.0,hotplug=off',
    'pcie-pci-bridge,id=br1,addr=5.0',
    'ivshmem-plain,id=fixed,memdev=m1,addr=6.0',
    'ivshmem-plain,id=iv1,memdev=m2,bus=rp1',
  ),
];

export const pc = [
  ...bare('pc'),
  ...['m1', 'm2', 'm3', 'm4', 'm5', 'm6', 'm7'].flatMap(backend),
  ...device('pci-bridge,id=pb1,chassis_nr=1', 'ivshmem-plain,id=iv1,memdev=m1'),
];

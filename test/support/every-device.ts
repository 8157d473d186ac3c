import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Json } from '../side-by-side/client.js';
import type { Cleanup } from './daemon.js';
import { startIvshmem } from './ivshmem.js';
import { startMachine, type TestMachine } from './machine.js';
import { poolName } from './pools.js';

/** Id of the device that a recipe is for. */
export const DUT = 'dut';

/** How to get a machine with one device of a type. */
interface Recipe {
  /** Command line; the machine has the device, or what it needs. */
  readonly words: readonly string[];
  /** What remains to be done by command. */
  readonly commands?: readonly (readonly [string, Record<string, Json>])[];
}

/** An empty directory that goes with the test. */
const scratch = (t: Cleanup): string => {
  const directory = mkdtempSync(join(tmpdir(), 'qmemd-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
};
const backing = (t: Cleanup, size: number): string => {
  const path = join(scratch(t), 'memory');
  writeFileSync(path, '');
  truncateSync(path, size);
  return path;
};
const ram = (id: string, size: string): string[] => [
  '-object',
  `memory-backend-ram,id=${id},size=${size}`,
];
const device = (words: string): string[] => ['-device', words];

const PC = ['-M', 'pc', '-nodefaults'];
const Q35 = ['-M', 'q35', '-nodefaults'];
const ROOT_PORT = device('pcie-root-port,id=above,chassis=9,slot=9');
const CXL = [
  ...['-M', 'q35,cxl=on', '-nodefaults', ...device('pxb-cxl,id=cxl.0,bus=pcie.0,bus_nr=52')],
  ...device('cxl-rp,id=rp0,bus=cxl.0,chassis=0,slot=0'),
];
const UPSTREAM = device('cxl-upstream,id=us0,bus=rp0,addr=0.0,multifunction=on');
const TYPE3_MEMORY = [
  ...ram('vol', '256M'),
  ...ram('per', '256M'),
  ...ram('lsa', '1M'),
  ...ram('dc', '4G'),
];

/** On a server of its own, as the first of its clients. */
const onServer =
  (driver: string) =>
  async (t: Cleanup): Promise<Recipe> => {
    const directory = scratch(t);
    const path = join(directory, 'server');
    await startIvshmem(t, ['-S', path, '-m', directory, '-l', '1M', '-n', '2']);
    const addr: Json = { type: 'unix', data: { path } };
    return {
      words: PC,
      commands: [
        ['chardev-add', { id: 'c0', backend: { type: 'socket', data: { addr, server: false } } }],
        ['device_add', { driver, id: DUT, chardev: 'c0', vectors: 2n }],
      ],
    };
  };
const cold =
  (...words: readonly string[]) =>
  (): Recipe => ({ words });

const RECIPES: Readonly<Record<string, (t: Cleanup) => Recipe | Promise<Recipe>>> = {
  'cxl-downstream': cold(...CXL, ...UPSTREAM, ...device('cxl-downstream,id=dut,bus=us0,slot=2')),
  'cxl-mhsld': (t) => ({
    words: [
      ...[...CXL, ...TYPE3_MEMORY],
      ...device(
        `cxl-mhsld,id=dut,bus=rp0,volatile-dc-memdev=dc,num-dc-regions=2,mhd-head=0,mhd-init=true,mhd-state_file=${poolName(t)}`,
      ),
    ],
  }),
  'cxl-rp': cold(...CXL, ...device('cxl-rp,id=dut,bus=cxl.0,chassis=0,slot=1,port=1')),
  'cxl-switch-mailbox-cci': cold(
    ...[...CXL, ...UPSTREAM],
    ...device('cxl-switch-mailbox-cci,id=dut,bus=rp0,addr=0.1,target=us0'),
  ),
  'cxl-upstream': cold(...CXL, ...device('cxl-upstream,id=dut,bus=rp0')),
  'cxl-type3': cold(
    ...[...CXL, ...TYPE3_MEMORY],
    ...device(
      'cxl-type3,id=dut,bus=rp0,volatile-memdev=vol,persistent-memdev=per,lsa=lsa,num-dc-regions=2,volatile-dc-memdev=dc,sn=0x1234',
    ),
  ),
  'dynamic-mdevice': (t) => ({
    words: [
      ...Q35,
      ...device(`dynamic-mdevice,id=dut,size=16M,align=4K,mem-path=${backing(t, 1 << 24)}`),
    ],
  }),
  edu: cold(...PC, ...device('edu,id=dut')),
  iopmem: cold(...Q35, ...ram('m', '1M'), ...device('iopmem,id=dut,memdev=m')),
  'isa-serial': cold(...PC, ...device('isa-serial,id=dut')),
  'ivshmem-doorbell': onServer('ivshmem-doorbell'),
  'ivshmem-plain': cold(...PC, ...ram('m', '1M'), ...device('ivshmem-plain,id=dut,memdev=m')),
  nvdimm: cold(
    ...['-M', 'q35,nvdimm=on', '-nodefaults', '-m', '128M,slots=2,maxmem=4G'],
    ...[...ram('m', '128M'), ...device('nvdimm,id=dut,memdev=m')],
  ),
  'pc-dimm': cold(
    ...['-M', 'pc', '-nodefaults', '-m', '128M,slots=2,maxmem=4G'],
    ...[...ram('m', '128M'), ...device('pc-dimm,id=dut,memdev=m')],
  ),
  'pci-bridge': cold(...PC, ...device('pci-bridge,id=dut,chassis_nr=1')),
  'pcie-pci-bridge': cold(...Q35, ...ROOT_PORT, ...device('pcie-pci-bridge,id=dut,bus=above')),
  'pcie-root-port': cold(...Q35, ...device('pcie-root-port,id=dut,chassis=1,slot=1')),
  pxb: cold(...PC, ...device('pxb,id=dut,bus_nr=80')),
  'pxb-cxl': cold(
    ...['-M', 'q35,cxl=on', '-nodefaults'],
    ...device('pxb-cxl,id=dut,bus=pcie.0,bus_nr=52'),
    ...device('cxl-rp,id=rp0,bus=dut,chassis=0,slot=0,port=0'),
    ...device('cxl-rp,id=rp1,bus=dut,chassis=0,slot=1,port=1'),
  ),
  'pxb-pcie': cold(...Q35, ...device('pxb-pcie,id=dut,bus_nr=80')),
  'shm-pci': onServer('shm-pci'),
  'state-sample': cold(...PC, ...device('state-sample,id=dut')),
  'vfio-state': cold(
    ...[...PC, ...device('state-sample,id=other')],
    ...device('vfio-state,id=dut,target=other,config-length=4K,memory-length=4K,bitmap-length=4K'),
  ),
  'virtio-mem-pci': cold(
    ...['-M', 'q35', '-nodefaults', '-m', '128M,maxmem=4G'],
    ...[...ram('m', '128M'), ...device('virtio-mem-pci,id=dut,memdev=m,requested-size=64M')],
  ),
  'virtio-shmem-pci': cold(
    ...[...PC, ...ram('m', '1M')],
    ...device('virtio-shmem-pci,id=dut,memdev0=m,virtio-id=50,vectors=2,x-legacy-mem-regions=on'),
  ),
};

/** Types that there is a recipe for: every one that users can create, or a test fails. */
export const RECIPE_TYPES: readonly string[] = Object.keys(RECIPES);

/** A machine that just started, with one device of the type, `dut`; every one is the same. */
export const machineWith = async (
  t: Cleanup,
  type: string,
  more: readonly string[] = [],
): Promise<TestMachine> => {
  const recipe = await RECIPES[type]?.(t);
  if (recipe === undefined) throw new Error(`there is no recipe for device type ${type}`);
  // Time stands still, so that two machines cannot differ by it.
  const started = await startMachine(t, ['-accel', 'qtest', ...recipe.words, ...more]);
  for (const [command, values] of recipe.commands ?? []) await started.run(command, values);
  return started;
};

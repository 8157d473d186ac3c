import type { MachineInfo } from '../../schema/board.js';
import type { Infer } from '../../schema/lang.js';

/**
 * The machine types that clients are told of, newest version first. All versions are one board.
 *
 * @see reference/qmp-protocol.md §8.1 query-machines
 */

const VERSIONS = [
  ...['10.2', '10.1', '10.0'],
  ...['9.2', '9.1', '9.0', '8.2', '8.1', '8.0'],
  ...['7.2', '7.1', '7.0', '6.2', '6.1', '6.0'],
] as const;

type Info = Infer<typeof MachineInfo>;

/** As QEMU, which raised the limit of q35 twice. */
const q35CpuMax = (version: string): bigint => {
  const number = Number(version);
  if (number >= 9) return 4096n;
  return number > 8 ? 1024n : 288n;
};

const versioned = (family: string, alias: string, cpuMax: (version: string) => bigint): Info[] =>
  VERSIONS.map((version, i) => ({
    name: `${family}-${version}`,
    ...(i === 0 ? { alias } : {}),
    ...(i === 0 && alias === 'pc' ? { 'is-default': true } : {}),
    'cpu-max': cpuMax(version),
    'hotpluggable-cpus': false,
    'numa-mem-supported': false,
    deprecated: false,
    'default-cpu-type': 'qemu64-x86_64-cpu',
    'default-ram-id': 'pc.ram',
    acpi: true,
  }));

export const machineTypes = (): Info[] => [
  ...versioned('pc-i440fx', 'pc', () => 255n),
  ...versioned('pc-q35', 'q35', q35CpuMax),
  {
    name: 'none',
    'cpu-max': 1n,
    'hotpluggable-cpus': false,
    'numa-mem-supported': false,
    deprecated: false,
    'default-ram-id': 'ram',
    acpi: false,
  },
];

/** A difference between the schemas of QEMU 7.2 and qmemd that is meant. */
export interface ToleratedSchema {
  readonly where: RegExp;
  /** A reason, or a row of docs/differences.md. */
  readonly why: string;
}

export const toleratedSchema: readonly ToleratedSchema[] = [
  { where: /^query-status ->\.singlestep: .* qmemd absent$/, why: 'removed after 7.2' },
  {
    where: /^object-add\.qom-type=[^.]+: QEMU has it, qmemd absent$/,
    why: 'docs/differences.md M10: object types of parts that are not modelled',
  },
  {
    where: /^object-add\.qom-type=memory-backend-shm: QEMU absent, qmemd has it$/,
    why: 'came after 7.2',
  },
  {
    where: /^object-add<memory-backend-file>\.(offset|rom): QEMU absent, qmemd optional$/,
    why: 'came after 7.2',
  },
  {
    where: /^object-add<(rng-[a-z]+|secret)>\.(opened|loaded): QEMU optional, qmemd absent$/,
    why: 'removed after 7.2',
  },
  {
    where: /^query-(cpus-fast ->\[\]\.target|target ->\.arch)=[^.]+: QEMU has it, qmemd absent$/,
    why: 'only x86 boards are modelled',
  },
  {
    where:
      /^(query-memory-devices ->\[\]\.type=[^.]+|set-numa-node(\.type=hmat-[a-z]+|<cpu>\.[a-z]+-id)): .* qmemd absent$/,
    why: 'kinds of memory devices and parts of a topology that are not modelled',
  },
  {
    where: /^transaction\.actions\.?\[\].*: QEMU has it, qmemd absent$/,
    why: 'actions on disks, of which there are none',
  },
  { where: /^query-machines\.compat-props: QEMU absent/, why: 'came after 7.2' },
  { where: /^query-machines ->\[\]\.acpi: QEMU absent/, why: 'came after 7.2' },
  {
    where:
      /^chardev-add\.backend(\.type=[^.]+|<socket>\.data\.addr(\.type=vsock|<inet>\.data\.(keep-alive|mptcp))): .* qmemd absent$/,
    why: 'docs/differences.md W13: sockets and null only',
  },
];

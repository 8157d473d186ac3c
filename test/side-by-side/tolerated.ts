import type { Tolerated } from './compare.js';

const PROPERTIES = /"(device-list-properties|qom-list(-properties)?)"/;
const ABSENT = /^absent$/;

/** A PCI property that came after 7.2, by the words of pci §3.2. */
const laterProperty = (name: string): Tolerated => ({
  request: PROPERTIES,
  path: new RegExp(`^return\\.${name}$`),
  qemu: ABSENT,
  qmemd: new RegExp(`"name": "${name}"`),
  what: `property ${name} came after 7.2`,
  see: 'pci §3.2 Common PCI properties',
});

/** A text-form twin that 7.2 made for a property and 10.2 does not. */
const legacyProperty = (name: string): Tolerated => ({
  request: /"qom-list(-properties)?"/,
  path: new RegExp(`^return\\.${name}$`),
  qemu: /"type": "str"/,
  qmemd: ABSENT,
  what: `only 7.2 has ${name}`,
  see: 'pci §5 An ivshmem-plain shows',
});

/** Text typing of 7.2 against the strict typing of 10.2. */
const strictTyping = (property: string, qemu: RegExp, qmemd: RegExp): Tolerated => ({
  request: new RegExp(`"device_add".*"${property}": "`),
  path: /^error\.desc$/,
  qemu,
  qmemd,
  what: `device_add took ${property} as text in 7.2`,
  see: 'pci §3.3 Value typing',
});

/**
 * Every difference between QEMU 7.2 and qmemd that is meant; nothing else may differ, and a row that
 * matches nothing is an error too. `see` names a section of the references (`pci`, `qmp`) or a row of
 * docs/differences.md.
 */
export const tolerated: readonly Tolerated[] = [
  {
    request: /"query-status"/,
    path: /^return\.singlestep$/,
    qemu: /^false$/,
    qmemd: ABSENT,
    what: '7.2 also tells whether TCG steps singly',
    see: 'qmp §8.1 query-status',
  },
  {
    request: /"device_del"/,
    path: /^error\.desc$/,
    qemu: /is not a hotpluggable device"$/,
    qmemd: /is not a device"$/,
    what: 'text for an object that is no device',
    see: 'pci §3.5 object exists but is no device',
  },
  {
    request: /"device_add".*"pxb-pcie"/,
    path: /^error\.desc$/,
    qemu: /expects a pluggable device type"$/,
    qmemd: /^"Device 'pxb-pcie' does not support hotplugging"$/,
    what: 'text for a type that cannot be hot-plugged',
    see: 'pci §3.4 type never hot-pluggable',
  },
  {
    request: /"device_del".*"pxb1"/,
    path: /^error\.desc$/,
    qemu: /^"Bus 'pcie.0' does not support hotplugging"$/,
    qmemd: /^"Device 'pxb-pcie' does not support hotplugging"$/,
    what: '7.2 asks the bus first, 10.2 the type',
    see: 'pci §3.1 hotplug permission checked (type, then bus)',
  },
  strictTyping(
    'multifunction',
    /^"Parameter 'multifunction' expects 'on' or 'off'"$/,
    /^"Invalid parameter type for 'multifunction', expected: boolean"$/,
  ),
  strictTyping(
    'acpi-index',
    /^"Parameter 'acpi-index' expects integer"$/,
    /^"Parameter 'acpi-index' expects uint64"$/,
  ),
  {
    request: /"object-add".*"short"/,
    path: /^error\.desc$/,
    qemu: /^"backing store size 0x100000 does not match 'size' option 0x200000"$/,
    qmemd:
      /^"short backing store size 0x100000 is too small for 'size' option 0x200000 plus 'offset' option 0x0"$/,
    what: 'text for a file that is too short',
    see: 'pci §4.4 file shorter than needed',
  },
  {
    request: /"qom-list".*"\/objects\/new"/,
    path: /^return\.(offset|rom)$/,
    qemu: ABSENT,
    qmemd: /"name": "(offset|rom)"/,
    what: 'properties of memory-backend-file that came after 7.2',
    see: 'pci §4.3',
  },
  {
    request: /"qom-list-types"/,
    path: /^return\.memory-backend-shm$/,
    qemu: ABSENT,
    qmemd: /"parent": "memory-backend"/,
    what: 'memory-backend-shm came after 7.2',
    see: 'pci §4.1',
  },
  {
    request: /"qom-(list|get)".*"path": "\/(machine)?"/,
    path: /^(return\.machine\.type|error\.desc)$/,
    qemu: /pc-q35-7\.2-machine/,
    qmemd: /pc-q35-10\.2-machine/,
    what: 'versioned name of the machine type',
    see: 'pci §5 /machine',
  },
  {
    request: PROPERTIES,
    path: /^return\.addr\.type$/,
    qemu: /^"int32"$/,
    qmemd: /^"str"$/,
    what: 'type name of addr',
    see: 'pci §5 An ivshmem-plain shows',
  },
  {
    request: PROPERTIES,
    path: /^return\.rombar\.(type|default-value)$/,
    qemu: /^("uint32"|1)$/,
    qmemd: /^("int32"|-1)$/,
    what: 'rombar became signed, its default -1',
    see: 'pci §3.2 Common PCI properties',
  },
  ...['x-pcie-err-unc-mask', 'x-pcie-ari-nextfn-1', 'x-max-bounce-buffer-size'].map(laterProperty),
  ...['sriov-pf', 'x-pcie-ext-tag'].map(laterProperty),
  {
    request: PROPERTIES,
    path: /^return\.x-vfio-state$/,
    qemu: ABSENT,
    qmemd: /"name": "x-vfio-state"/,
    what: 'every PCI device can have regions of its state',
    see: 'docs/differences.md M36',
  },
  ...['legacy-addr', 'legacy-memdev'].map(legacyProperty),
  {
    request: /"qom-list"/,
    path: /^return\.(ivshmem-mmio|bus master|bus master container)\[0\]$/,
    qemu: /"type": "child<memory-region>"/,
    qmemd: ABSENT,
    what: 'memory regions are no objects of the tree',
    see: 'docs/differences.md M19',
  },
  {
    request: /"(device|qom)-list-properties"/,
    path: /^return\.[^.]+\.description$/,
    qemu: /^(absent|".*")$/,
    qmemd: /^(absent|".*")$/,
    what: 'descriptions are in our own words',
    see: 'docs/differences.md M20',
  },
  {
    request: /"info migrate"/,
    path: /^return$/,
    qemu: /^"globals:/,
    qmemd: /^""$/,
    what: 'options of QEMU that it lists before the status',
    see: 'docs/differences.md M28',
  },
  {
    request: /"query-chardev-backends"/,
    path: /^return\.[a-z-]+$/,
    qemu: /^\{"name": "/,
    qmemd: ABSENT,
    what: 'backends that qmemd does not have',
    see: 'docs/differences.md W13',
  },
];

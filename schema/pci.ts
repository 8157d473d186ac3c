import type { Infer, Type } from './lang.js';
import { arr, bool, command, enumeration, int, lazy, object, opt, str } from './lang.js';

/** @see reference/pci-and-memory-devices.md §2 */
export const PciMemoryRange = object('PciMemoryRange', {
  base: int('int', 'first address of the window'),
  limit: int('int', 'last address of the window'),
});

export const PciMemoryRegion = object('PciMemoryRegion', {
  bar: int('int', 'BAR index; 6 is the option ROM'),
  type: str('`io` or `memory`'),
  address: int('int', 'bus address, -1 while not mapped'),
  size: int('int', 'bytes'),
  prefetch: opt(bool('memory only: the region has no read side effects')),
  mem_type_64: opt(bool('memory only: the BAR takes 64-bit addresses')),
});

export const PciBusInfo = object('PciBusInfo', {
  number: int('int', 'primary bus number'),
  secondary: int('int', 'number of the bus behind the bridge'),
  subordinate: int('int', 'highest bus number behind the bridge'),
  io_range: PciMemoryRange,
  memory_range: PciMemoryRange,
  prefetchable_range: PciMemoryRange,
});

export const PciDeviceClass = object('PciDeviceClass', {
  desc: opt(str('name of the class, when it has one')),
  class: int('int', 'base class and subclass'),
});

export const PciDeviceId = object('PciDeviceId', {
  device: int('int', 'device id'),
  vendor: int('int', 'vendor id'),
  subsystem: opt(int('int', 'subsystem id')),
  'subsystem-vendor': opt(int('int', 'subsystem vendor id')),
});

/** Written out because it contains itself: devices behind a bridge. */
export interface PciDeviceInfo {
  bus: bigint;
  slot: bigint;
  function: bigint;
  class_info: Infer<typeof PciDeviceClass>;
  id: Infer<typeof PciDeviceId>;
  irq?: bigint;
  irq_pin: bigint;
  qdev_id: string;
  pci_bridge?: PciBridgeInfo;
  regions: Infer<typeof PciMemoryRegion>[];
}
export interface PciBridgeInfo {
  bus: Infer<typeof PciBusInfo>;
  devices?: PciDeviceInfo[];
}

const PciBridgeInfo = object('PciBridgeInfo', {
  bus: PciBusInfo,
  devices: opt(
    arr(
      lazy<PciDeviceInfo>((): Type => PciDeviceInfo),
      'what lies behind, once software numbered the bus',
    ),
  ),
});

const PciDeviceInfo = object('PciDeviceInfo', {
  bus: int('int', 'number of the bus'),
  slot: int('int', 'slot on the bus, 0 to 31'),
  function: int('int', 'function of the slot, 0 to 7'),
  class_info: PciDeviceClass,
  id: PciDeviceId,
  irq: opt(int('int', 'interrupt line that software assigned; only with an interrupt pin')),
  irq_pin: int('int', '0 none, 1 to 4 INTA to INTD'),
  qdev_id: str('id of the device, empty when it has none'),
  pci_bridge: opt(PciBridgeInfo),
  regions: arr(PciMemoryRegion, 'its BARs, ascending'),
});

export const PciInfo = object('PciInfo', {
  bus: int('int', 'number of the root bus'),
  devices: arr(PciDeviceInfo, 'functions on the bus, ascending'),
});
export type PciInfo = Infer<typeof PciInfo>;

export const queryPci = command('query-pci', {
  doc: 'List the PCI hierarchy as its configuration space shows it: one entry per root bus, the most recently created first.',
  since: '0.1',
  returns: arr(PciInfo, 'the root buses'),
});

export const InterruptKind = enumeration(
  'InterruptKind',
  ['intx', 'msi', 'msi-x'],
  'Ways of a PCI function to interrupt.',
);
export const InterruptVector = object('InterruptVector', {
  vector: int('uint16', 'number of the vector, 0 for INTx'),
  delivered: int('uint64', 'messages sent, or rises of the line that the bus saw'),
  dropped: int('uint64', 'messages that got nowhere: the function may not master the bus'),
  pending: bool('raised while masked, or while it is kept from the bus'),
});
export const InterruptSource = object('InterruptSource', {
  kind: InterruptKind,
  enabled: bool('software chose it; for INTx: does not keep it from the bus'),
  vectors: arr(InterruptVector, 'vectors that were ever raised, in order'),
});
export const DeviceInterrupts = object('DeviceInterrupts', {
  device: opt(str('id of the device, if it has one')),
  path: str('object path of the device'),
  delivered: int('uint64', 'of all vectors'),
  pending: int('uint32', 'vectors that are pending'),
  sources: arr(InterruptSource, 'INTx first'),
});
export const queryInterrupts = command('query-interrupts', {
  doc: 'Count the interrupts of PCI devices since each was made, whether or not they arrived.',
  spec: 'reference/pci-and-memory-devices.md §1.6, §1.10',
  since: '0.1',
  features: ['qmemd'],
  args: { id: opt(str('id or object path of one device; absent: all that can interrupt')) },
  returns: arr(DeviceInterrupts, 'in order of creation'),
});

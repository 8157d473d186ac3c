import { arr, bool, command, enumeration, event, int, object, opt, str } from './lang.js';
import { PciDeviceId } from './pci.js';

/**
 * The guest side played by built-in drivers: they touch a device only through configuration space,
 * BARs and interrupts. All of it is ours (feature `qmemd`).
 */

const ours = { since: '0.1', features: ['qmemd'] } as const;
const id = str('id or object path of the device');

export { GuestPolicy } from './guest-policy.js';

export const MemAttachment = object('MemAttachment', {
  'bar-offset': int('size', 'where the memory appears in BAR 2'),
  size: int('size', 'bytes'),
  offset: int('size', 'first byte of the host object'),
});
export const memAttach = command('mem-attach', {
  ...ours,
  doc: 'As the driver of a dynamic-mdevice: attach host memory and wait for the interrupt.',
  spec: 'reference/pci-and-memory-devices.md §7',
  args: {
    id,
    size: int('size', 'bytes to attach, a multiple of the alignment of the device'),
    offset: int('size', 'first byte of the host object, a multiple of the same alignment'),
  },
  returns: MemAttachment,
});
export const memDetach = command('mem-detach', {
  ...ours,
  doc: 'As the driver of a dynamic-mdevice: detach one attachment, or all without offset and size.',
  spec: 'reference/pci-and-memory-devices.md §7',
  args: {
    id,
    offset: opt(int('size', 'first byte of the host object')),
    size: opt(int('size', 'bytes of the attachment')),
  },
});
export const queryMemAttachments = command('query-mem-attachments', {
  ...ours,
  doc: 'List what is attached to a dynamic-mdevice.',
  args: { id },
  returns: arr(MemAttachment, 'the attachments, by position in the BAR'),
});

export const guestEject = command('guest-eject', {
  ...ours,
  doc: "As the guest's hotplug driver: complete a pending unplug.",
  args: { id },
});

export const GuestBarType = enumeration(
  'GuestBarType',
  ['io', 'memory'],
  'Address spaces of BARs.',
);
export const GuestBar = object('GuestBar', {
  bar: int('uint8', 'number of the BAR, 0 to 5'),
  type: GuestBarType,
  prefetch: bool('whether the memory is prefetchable'),
  size: int('size', 'bytes'),
  address: int('size', 'where it appears'),
});
export const GuestWindow = object('GuestWindow', {
  base: int('size', 'first address'),
  size: int('size', 'bytes'),
});
export const GuestBridge = object('GuestBridge', {
  secondary: int('uint8', 'number of the bus behind the bridge'),
  subordinate: int('uint8', 'highest number of the buses behind the bridge'),
  io: opt(GuestWindow),
  memory: opt(GuestWindow),
  prefetch: opt(GuestWindow),
});
const functionPlace = {
  bus: int('uint8', 'number of the bus'),
  slot: int('uint8', 'slot on it'),
  function: int('uint8', 'function in the slot'),
};
export const GuestFunction = object('GuestFunction', {
  device: opt(str('id of the device, if it has one')),
  ...functionPlace,
  id: PciDeviceId,
  bars: arr(GuestBar, 'BARs that have addresses'),
  bridge: opt(GuestBridge),
});
export const GuestUnassigned = object('GuestUnassigned', {
  ...functionPlace,
  bar: opt(int('uint8', 'number of the BAR; absent: a window, or bus numbers')),
  reason: str('what is missing'),
});
export const GuestEnumeration = object('GuestEnumeration', {
  ecam: opt(int('size', 'address of the memory-mapped configuration window (q35)')),
  assigned: int('uint32', 'bus numbers, windows and BARs that this call set'),
  functions: arr(GuestFunction, 'each bridge before what is behind it'),
  unassigned: arr(GuestUnassigned, 'what could not be set; such a function is not switched on'),
});
export const guestEnumerate = command('guest-enumerate', {
  ...ours,
  doc: 'As firmware: number buses, give BARs and windows addresses, switch devices on. What is in place stays, so that it can be called again after a device was added.',
  spec: 'reference/pci-and-memory-devices.md §1.4, §1.5, §1.9, §1.13',
  returns: GuestEnumeration,
});

export const guestMemoryResize = command('guest-memory-resize', {
  ...ours,
  doc: 'As the driver of a virtio-mem-pci: plug or unplug blocks, so that the guest has this much of it.',
  args: {
    id,
    size: int('size', 'bytes, a multiple of the block size; more than requested-size is refused'),
  },
});

export const GuestConfigValue = object('GuestConfigValue', { value: int('uint32', 'bytes read') });
const configAccess = {
  id,
  offset: int('uint16', 'offset in configuration space'),
  size: int('uint8', '1, 2 or 4 bytes'),
};
export const guestConfigRead = command('guest-config-read', {
  ...ours,
  doc: 'One read of the configuration space of a function.',
  args: configAccess,
  returns: GuestConfigValue,
});
export const guestConfigWrite = command('guest-config-write', {
  ...ours,
  doc: 'One write to the configuration space of a function.',
  args: { ...configAccess, value: int('uint32', 'bytes to write') },
});

export const GuestMmioValue = object('GuestMmioValue', {
  value: opt(int('uint64', 'the bytes of a single access')),
  data: opt(str('the bytes of a bulk access as base64')),
});
const mmioAccess = {
  id,
  bar: int('uint8', 'number of the BAR, 0 to 5'),
  offset: int('size', 'offset in the BAR'),
  size: opt(int('uint8', '1, 2, 4 or 8 bytes: a single access')),
};
export const guestMmioRead = command('guest-mmio-read', {
  ...ours,
  doc: 'One read, or bulk bytes, inside a BAR. Give either size or length.',
  args: { ...mmioAccess, length: opt(int('uint32', 'number of bytes: a bulk access')) },
  returns: GuestMmioValue,
});
export const guestMmioWrite = command('guest-mmio-write', {
  ...ours,
  doc: 'One write, or bulk bytes, inside a BAR. Give either size and value, or data.',
  args: {
    ...mmioAccess,
    value: opt(int('uint64', 'the bytes of a single access')),
    data: opt(str('the bytes of a bulk access as base64')),
  },
});

export const MemRange = object('MemRange', {
  offset: int('size', 'first byte of the host object'),
  len: int('size', 'bytes'),
});
const answer = {
  device: opt(str('id of the device, if it has one')),
  path: str('object path of the device'),
  tag: opt(str('tag of the ranges, where the device has tags')),
  ranges: arr(MemRange, 'the ranges'),
};
export const MemAttached = event('MEM_ATTACHED', {
  ...ours,
  doc: 'The guest side attached host memory to a device.',
  data: answer,
});
export const MemDetached = event('MEM_DETACHED', {
  ...ours,
  doc: 'Host memory was detached from a device: by the guest side, a reset or a removal.',
  data: answer,
});

import { arr, bool, command, enumeration, event, int, object, opt, str } from './lang.js';

/**
 * Device state: stop, save, load and resume one device, and the memory that changes meanwhile. All of
 * it is ours (feature `qmemd`).
 *
 * @see reference/vfio-device-state.md
 */

const ours = { since: '0.1', features: ['qmemd'] } as const;
const id = str('id or object path of the device');

export const DeviceStateName = enumeration(
  'DeviceStateName',
  ['running', 'stop', 'running-logging', 'stop-logging'],
  'States of a device; `logging` means that the pages that change are noted.',
);
export const DeviceStateCapability = enumeration(
  'DeviceStateCapability',
  ['device-memory', 'system-memory'],
  'What the state of a device has besides its configuration: memory of its own, DMA.',
);
export const DeviceStateRegion = enumeration(
  'DeviceStateRegion',
  ['control', 'config', 'memory', 'bitmap'],
  'Regions of a device state: the control structure, DEVICE_CONFIG, DEVICE_MEMORY, DIRTY_BITMAP.',
);

const regionAccess = {
  id,
  region: DeviceStateRegion,
  offset: int('uint32', 'offset in the region'),
};
export const DeviceStateData = object('DeviceStateData', {
  data: str('the bytes as base64'),
});
export const vfioStateRead = command('vfio-state-read', {
  ...ours,
  doc: 'One read of a region of a device state. The device needs a vfio-state device or x-vfio-state=on. An error tells the errno.',
  spec: 'reference/vfio-device-state.md §2, §4',
  args: { ...regionAccess, length: int('uint32', 'bytes, at most 4194304') },
  returns: DeviceStateData,
});
export const vfioStateWrite = command('vfio-state-write', {
  ...ours,
  doc: 'One write to a region of a device state, see vfio-state-read.',
  spec: 'reference/vfio-device-state.md §2, §4',
  args: { ...regionAccess, data: str('the bytes as base64, at most 4194304') },
});

export const deviceStateSet = command('device-state-set', {
  ...ours,
  doc: 'Stop a device, let it go on, or begin or end logging the pages that change.',
  spec: 'reference/vfio-device-state.md §3',
  args: { id, state: DeviceStateName },
});

export const DeviceStateRegions = object('DeviceStateRegions', {
  'ctl-size': int('uint32', 'bytes of the control structure'),
  config: int('uint32', 'bytes of DEVICE_CONFIG'),
  memory: int('uint32', 'bytes of DEVICE_MEMORY'),
  bitmap: int('uint32', 'bytes of DIRTY_BITMAP'),
});
export const DeviceStateInfo = object('DeviceStateInfo', {
  device: opt(str('id of the device, if it has one')),
  path: str('object path of the device'),
  type: str('device type'),
  state: DeviceStateName,
  capabilities: arr(DeviceStateCapability, 'what the state has besides the configuration'),
  pass: int(
    'uint32',
    'number of the last pass of the session; 0 before the first, and outside LOGGING',
  ),
  pending: int('size', 'bytes of device memory that passes have yet to bring'),
  'dirty-pages': int(
    'size',
    'pages of device memory that are dirty, without those of the last pass',
  ),
  'dirty-system-pages': int('size', 'pages of system memory that the device wrote by DMA'),
  'config-size': int('size', 'bytes of a snapshot of the configuration taken now'),
  'memory-size': int('size', 'bytes of device memory'),
  consistent: bool('whether the device stands still: what is read now belongs together'),
  loading: bool('whether a load was begun and not completed: the device cannot run'),
  latched: int('uint32', 'writes that wait until the device may act'),
  dropped: int('uint32', 'writes that were lost because too many wait'),
  regions: opt(DeviceStateRegions),
});
export const queryDeviceState = command('query-device-state', {
  ...ours,
  doc: 'The state of one device or, without id, of all; changes nothing.',
  spec: 'reference/vfio-device-state.md §10',
  args: { id: opt(id) },
  returns: arr(DeviceStateInfo, 'the devices'),
});

export const DirtyMemory = enumeration(
  'DirtyMemory',
  ['system', 'device'],
  'Memory that is logged: system memory that the device wrote by DMA, or memory of its own.',
);
export const DirtyPages = object('DirtyPages', {
  'page-size': int('uint32', 'bytes of a page'),
  dirty: int('uint32', 'number of dirty pages in the range'),
  bitmap: str('base64; bit n % 8 of byte n / 8 is page n of the range; whole words of 64 bits'),
});
export const queryDirtyPages = command('query-dirty-pages', {
  ...ours,
  doc: 'Which pages of a range changed while the device was LOGGING; none outside LOGGING. Changes nothing unless clear is true.',
  spec: 'reference/vfio-device-state.md §6',
  args: {
    id,
    memory: opt(DirtyMemory, 'system'),
    start: opt(int('size', 'first byte of the range, a multiple of 4096'), 0n),
    pages: int('uint32', 'number of pages, 1 to 33554432'),
    clear: opt(bool('forget the pages of the range afterwards; system memory only'), false),
  },
  returns: DirtyPages,
});

export const RehearsedPass = object('RehearsedPass', {
  bytes: int('size', 'bytes of its stream'),
  pages: int('uint32', 'pages of device memory in it'),
});
export const DeviceRehearsal = object('DeviceRehearsal', {
  passes: arr(RehearsedPass, 'passes while the source worked'),
  'stop-bytes': int('size', 'bytes of memory streams after it was stopped'),
  'config-bytes': int('size', 'bytes of the configuration'),
  'digest-source': str('SHA-256 over configuration and memory, in hexadecimal'),
  'digest-target': str('the same of the target after the load'),
  'downtime-us': int('size', 'time in which neither of the two ran, in microseconds of the host'),
});
export const deviceStateRehearse = command('device-state-rehearse', {
  ...ours,
  doc: 'Migrate one device into another one of the same type, options and memory size while it works: passes, stop, the rest, the configuration, digests of both. Afterwards the source is stopped, and the target is, too, unless auto-run is true. When it fails the source runs on, and the target is reset.',
  spec: 'reference/vfio-device-state.md §10',
  args: {
    source: str('id or object path of the device that moves'),
    target: str('id or object path of the device that it moves into; they share no memory'),
    'max-passes': opt(
      int(
        'uint32',
        'passes before the source is stopped; all that bring the memory for the first time are one',
      ),
      30,
    ),
    'dirty-limit': opt(
      int('size', 'bytes of a pass from which on the source is stopped for the rest'),
      65_536n,
    ),
    'auto-run': opt(bool('whether the target runs afterwards'), false),
  },
  returns: DeviceRehearsal,
});

export const DeviceStatePass = event('DEVICE_STATE_PASS', {
  ...ours,
  doc: 'A pass of device-state-rehearse is at the target.',
  data: {
    device: opt(str('id of the source, if it has one')),
    path: str('object path of the source'),
    pass: int('uint32', 'number of the pass'),
    bytes: int('size', 'bytes of its stream'),
  },
});
export const DeviceStateChanged = event('DEVICE_STATE_CHANGED', {
  ...ours,
  doc: 'A device stopped, goes on, or is logged or no longer: by command, through its control structure, or by a reset.',
  data: {
    device: opt(str('id of the device, if it has one')),
    path: str('object path of the device'),
    from: DeviceStateName,
    to: DeviceStateName,
  },
});

import { arr, bool, command, enumeration, event, int, object, opt, str } from './lang.js';

/** CXL memory devices: injection of events and errors, and dynamic capacity. */

const ours = { since: '0.1', features: ['qmemd'] } as const;
const path = str('id or object path of a CXL type 3 device');

export const CxlEventLog = enumeration(
  'CxlEventLog',
  ['informational', 'warning', 'failure', 'fatal'],
  'event log of a CXL device',
);
const flags = int('uint8', 'event record flags');
const log = { ...CxlEventLog, doc: 'log to which the record is added' };
const mediaEvent = {
  path,
  log,
  flags,
  dpa: int('uint64', 'device physical address'),
  descriptor: int('uint8', 'memory event descriptor'),
  type: int('uint8', 'type of memory event'),
  'transaction-type': int('uint8', 'type of the first transaction that caused it'),
  channel: opt(int('uint8', 'channel of the memory')),
  rank: opt(int('uint8', 'rank of the memory')),
};

export const cxlInjectGeneralMediaEvent = command('cxl-inject-general-media-event', {
  doc: 'Add a General Media event record to a log of a CXL memory device.',
  spec: 'CXL 3.1 §8.2.9.2.1.1',
  since: '0.1',
  args: {
    ...mediaEvent,
    device: opt(int('uint32', 'mask of the devices in the rank')),
    'component-id': opt(str('identifier of the component, cut at 15 bytes')),
  },
});
export const cxlInjectDramEvent = command('cxl-inject-dram-event', {
  doc: 'Add a DRAM event record to a log of a CXL memory device.',
  spec: 'CXL 3.1 §8.2.9.2.1.2',
  since: '0.1',
  args: {
    ...mediaEvent,
    'nibble-mask': opt(int('uint32', 'nibbles that were affected')),
    'bank-group': opt(int('uint8', 'bank group')),
    bank: opt(int('uint8', 'bank in the group')),
    row: opt(int('uint32', 'row in the bank')),
    column: opt(int('uint16', 'column in the row')),
    'correction-mask': opt(arr(int('uint64', ''), 'bits that were corrected; the first four')),
  },
});
export const cxlInjectMemoryModuleEvent = command('cxl-inject-memory-module-event', {
  doc: 'Add a Memory Module event record to a log of a CXL memory device.',
  spec: 'CXL 3.1 §8.2.9.2.1.3',
  since: '0.1',
  args: {
    path,
    log,
    flags,
    type: int('uint8', 'device event type'),
    'health-status': int('uint8', 'overall health'),
    'media-status': int('uint8', 'status of the media'),
    'additional-status': int('uint8', 'further status'),
    'life-used': int('uint8', 'percentage of life used'),
    temperature: int('int16', 'degrees Celsius'),
    'dirty-shutdown-count': int('uint32', 'shutdowns that may have lost data'),
    'corrected-volatile-error-count': int('uint32', 'corrected errors of volatile memory'),
    'corrected-persistent-error-count': int('uint32', 'corrected errors of persistent memory'),
  },
});

export const cxlInjectPoison = command('cxl-inject-poison', {
  doc: 'Poison a range of a CXL memory device.',
  spec: 'CXL 3.1 §8.2.9.9.4',
  since: '0.1',
  args: {
    path,
    start: int('uint64', 'device physical address, a multiple of 64'),
    length: int('size', 'bytes, a multiple of 64'),
  },
});

export const CxlUncorErrorType = enumeration(
  'CxlUncorErrorType',
  [
    'cache-data-parity',
    'cache-address-parity',
    'cache-be-parity',
    'cache-data-ecc',
    'mem-data-parity',
    'mem-address-parity',
    'mem-be-parity',
    'mem-data-ecc',
    'reinit-threshold',
    'rsvd-encoding',
    'poison-received',
    'receiver-overflow',
    'internal',
    'cxl-ide-tx',
    'cxl-ide-rx',
  ],
  'uncorrectable error of the CXL.cache and CXL.mem protocols',
);
export const CXLUncorErrorRecord = object('CXLUncorErrorRecord', {
  type: { ...CxlUncorErrorType, doc: 'kind of error' },
  header: arr(int('uint32', ''), 'header log, 32 dwords at most'),
});
export const cxlInjectUncorrectableErrors = command('cxl-inject-uncorrectable-errors', {
  doc: 'Record uncorrectable errors of a CXL memory device; masked ones are left out.',
  spec: 'CXL 3.1 §8.2.4.17',
  since: '0.1',
  args: { path, errors: arr(CXLUncorErrorRecord, 'errors in the order of their arrival') },
});
export const CxlCorErrorType = enumeration(
  'CxlCorErrorType',
  [
    'cache-data-ecc',
    'mem-data-ecc',
    'crc-threshold',
    'retry-threshold',
    'cache-poison-received',
    'mem-poison-received',
    'physical',
  ],
  'correctable error of the CXL.cache and CXL.mem protocols',
);
export const cxlInjectCorrectableError = command('cxl-inject-correctable-error', {
  doc: 'Record a correctable error of a CXL memory device, unless it is masked.',
  spec: 'CXL 3.1 §8.2.4.17',
  since: '0.1',
  args: { path, type: { ...CxlCorErrorType, doc: 'kind of error' } },
});

export const CxlExtentSelectionPolicy = enumeration(
  'CxlExtentSelectionPolicy',
  ['free', 'contiguous', 'prescriptive', 'enable-shared-access'],
  'how the device chooses the extents to be added',
);
export const CxlExtentRemovalPolicy = enumeration(
  'CxlExtentRemovalPolicy',
  ['tag-based', 'prescriptive'],
  'how the device chooses the extents to be released',
);
export const CxlDynamicCapacityExtent = object('CxlDynamicCapacityExtent', {
  offset: int('uint64', 'bytes from the start of the region'),
  len: int('uint64', 'bytes, a multiple of the block size of the region'),
});
const capacity = {
  path,
  'host-id': int('uint16', 'LD-ID of the host, as event records tell it'),
  region: int('uint8', 'number of the region, 0 to 7'),
  tag: opt(str('UUID of 36 characters that the extents share')),
};

export const cxlAddDynamicCapacity = command('cxl-add-dynamic-capacity', {
  doc: 'Offer extents of one dynamic capacity region to the host. Policies `free` and `contiguous` take as many bytes as the extents have together, wherever they are free; `enable-shared-access` takes what other heads have under the tag.',
  spec: 'CXL 3.1 §7.6.7.6.5',
  since: '0.1',
  features: ['unstable'],
  args: {
    ...capacity,
    'selection-policy': { ...CxlExtentSelectionPolicy, doc: 'how extents are chosen' },
    extents: arr(CxlDynamicCapacityExtent, 'extents to add'),
  },
});
export const cxlReleaseDynamicCapacity = command('cxl-release-dynamic-capacity', {
  doc: 'Ask the host for extents of one dynamic capacity region, or take them at once. With policy `tag-based` all accepted extents of the region that carry the tag are meant.',
  spec: 'CXL 3.1 §7.6.7.6.6',
  since: '0.1',
  features: ['unstable'],
  args: {
    ...capacity,
    'removal-policy': { ...CxlExtentRemovalPolicy, doc: 'how extents are chosen' },
    'forced-removal': opt(bool('take them without asking the host'), false),
    'sanitize-on-release': opt(bool('zero their bytes before anybody can have them'), false),
    extents: arr(CxlDynamicCapacityExtent, 'extents to release'),
  },
});

export const CxlRegionInfo = object('CxlRegionInfo', {
  region: int('uint8', 'number of the region'),
  base: int('uint64', 'device physical address of the first byte'),
  len: int('size', 'bytes'),
  'block-size': int('size', 'bytes'),
});
export const CxlTrackedExtent = object('CxlTrackedExtent', {
  region: int('uint8', 'number of the region'),
  offset: int('uint64', 'bytes from the start of the region'),
  len: int('size', 'bytes'),
  'start-dpa': int('uint64', 'device physical address of the first byte'),
  tag: opt(str('UUID')),
  sequence: int('uint16', '1 to n within a shared allocation, else 0'),
});
export const CxlPendingGroup = object('CxlPendingGroup', {
  'host-id': int('uint16', 'LD-ID of the host'),
  extents: arr(CxlTrackedExtent, 'what the host was offered and has not answered'),
});
export const CxlTagInfo = object('CxlTagInfo', {
  tag: str('UUID'),
  pending: int('size', 'bytes offered under the tag'),
  accepted: int('size', 'bytes accepted under the tag'),
});
export const CxlBlockRun = object('CxlBlockRun', {
  first: int('uint64', 'number of the first block; blocks are 2 MiB from the start of region 0 on'),
  count: int('uint64', 'blocks'),
  heads: arr(int('uint8', ''), 'heads that have the blocks; of a single host, head 0'),
});
export const CxlDynamicCapacityInfo = object('CxlDynamicCapacityInfo', {
  device: opt(str('id of the device, if it has one')),
  path: str('object path of the device'),
  'extents-supported': int('uint32', 'pending and accepted extents that the device can track'),
  'extents-available': int('uint32', 'how many more it can track'),
  generation: int('uint32', 'changes with every change of the accepted list'),
  regions: arr(CxlRegionInfo, 'the regions'),
  pending: arr(CxlPendingGroup, 'groups in the order in which the host must answer them'),
  accepted: arr(CxlTrackedExtent, 'accepted extents in the order of the extent list'),
  tags: arr(CxlTagInfo, 'tags of pending and accepted extents'),
  blocks: arr(CxlBlockRun, 'owners of all blocks that somebody has, in run-length form'),
});
export const queryCxlDynamicCapacity = command('query-cxl-dynamic-capacity', {
  ...ours,
  doc: 'Tell the state of dynamic capacity: what is offered, what is accepted, and who has it.',
  args: { path: opt(str('id or object path of one device; default all devices that have any')) },
  returns: arr(CxlDynamicCapacityInfo, 'one element for each device'),
});

const id = str('id or object path of the device');
export const CxlMailboxReply = object('CxlMailboxReply', {
  'return-code': int('uint16', 'return code of the mailbox; 0 is success'),
  payload: str('output payload as base64'),
});
export const guestCxlMailbox = command('guest-cxl-mailbox', {
  ...ours,
  doc: 'As the driver of a CXL device with a mailbox: run one mailbox command.',
  spec: 'CXL 3.1 §8.2.8.4',
  args: {
    id,
    opcode: int('uint16', 'command set in bits 15:8, command in 7:0'),
    payload: opt(str('input payload as base64; default none')),
  },
  returns: CxlMailboxReply,
});
export const GuestCxlAction = enumeration(
  'GuestCxlAction',
  ['accept', 'reject'],
  'what the guest side does with offered extents',
);
export const CxlDpaRange = object('CxlDpaRange', {
  'start-dpa': int('uint64', 'device physical address of the first byte'),
  len: int('size', 'bytes'),
});
export const guestCxlRespond = command('guest-cxl-respond', {
  ...ours,
  doc: 'As the driver of a CXL memory device: answer the oldest group of offered extents. With extents, accept only those, or all but those.',
  spec: 'CXL 3.1 §8.2.9.9.9.3',
  args: {
    id,
    action: { ...GuestCxlAction, doc: 'accept or reject' },
    extents: opt(arr(CxlDpaRange, 'sub-ranges of the offered extents; default all of them')),
  },
});
export const guestCxlRelease = command('guest-cxl-release', {
  ...ours,
  doc: 'As the driver of a CXL memory device: give accepted ranges back.',
  spec: 'CXL 3.1 §8.2.9.9.9.4',
  args: { id, extents: arr(CxlDpaRange, 'ranges to release') },
});

export const CxlCapacityRange = object('CxlCapacityRange', {
  offset: int('uint64', 'bytes from the start of the region'),
  len: int('size', 'bytes'),
});
const answer = {
  device: opt(str('id of the device, if it has one')),
  path: str('object path of the device'),
  region: int('uint8', 'number of the region'),
  tag: opt(str('UUID of the extents')),
  ranges: arr(CxlCapacityRange, 'the ranges'),
};
export const CxlDynamicCapacityAccepted = event('CXL_DYNAMIC_CAPACITY_ACCEPTED', {
  ...ours,
  doc: 'The host took dynamic capacity that it was offered.',
  data: answer,
});
export const CxlDynamicCapacityRejected = event('CXL_DYNAMIC_CAPACITY_REJECTED', {
  ...ours,
  doc: 'The host did not take dynamic capacity that it was offered, or was reset before it answered.',
  data: answer,
});
export const CxlDynamicCapacityReleased = event('CXL_DYNAMIC_CAPACITY_RELEASED', {
  ...ours,
  doc: 'The host gave dynamic capacity back.',
  data: answer,
});

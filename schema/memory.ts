import { arr, bool, command, enumeration, event, int, object, opt, str, union } from './lang.js';

/**
 * Memory backends and what is known of memory as a whole.
 *
 * @see reference/pci-and-memory-devices.md §4, reference/qmp-protocol.md §8.3, §8.4
 */

export const OnOffAuto = enumeration('OnOffAuto', ['auto', 'on', 'off'], 'On, off, or as fits.');
export const HostMemPolicy = enumeration(
  'HostMemPolicy',
  ['default', 'preferred', 'bind', 'interleave'],
  'How memory is placed on host nodes.',
);

/** What every memory backend takes. */
const backend = {
  dump: opt(bool('include the memory in dumps'), true),
  'host-nodes': opt(arr(int('uint16', 'number of a host node'), 'host nodes to allocate from')),
  merge: opt(bool('let the host merge equal pages'), true),
  policy: opt(HostMemPolicy, 'default'),
  prealloc: opt(bool('allocate all memory now'), false),
  'prealloc-threads': opt(int('uint32', 'threads that allocate; stored and reported')),
  'prealloc-context': opt(str('thread context that allocates')),
  share: opt(bool('whether others that map the memory see writes; default by type')),
  reserve: opt(bool('reserve swap space; stored and reported, mappings never reserve'), true),
  size: int('size', 'bytes, above 0'),
  'x-use-canonical-path-for-ramblock-id': opt(bool('stored and reported'), false),
};
export const MemoryBackendProperties = object('MemoryBackendProperties', backend);
export const MemoryBackendFileProperties = object('MemoryBackendFileProperties', {
  ...backend,
  align: opt(int('size', 'alignment of the mapping, a multiple of the page size'), 0n),
  offset: opt(int('size', 'first byte of the file to map, a multiple of the page size'), 0n),
  'discard-data': opt(bool('discard the content of the file on removal'), false),
  'mem-path': str('file, device node, or folder for an unlinked temporary file'),
  pmem: opt(bool('whether the file is persistent memory; stored and reported'), false),
  readonly: opt(bool('open the file for reading only'), false),
  rom: opt(OnOffAuto, 'auto'),
});
export const MemoryBackendMemfdProperties = object('MemoryBackendMemfdProperties', {
  ...backend,
  hugetlb: opt(bool('take huge pages'), false),
  hugetlbsize: opt(int('size', 'size of a huge page in bytes; 0 is the default of the host'), 0n),
  seal: opt(bool('seal the memory against change of its size'), true),
});
export const MemoryBackendShmProperties = object('MemoryBackendShmProperties', backend);

export const QCryptoSecretFormat = enumeration(
  'QCryptoSecretFormat',
  ['raw', 'base64'],
  'How a secret is written.',
);
export const SecretProperties = object('SecretProperties', {
  format: opt(QCryptoSecretFormat, 'raw'),
  keyid: opt(str('id of the secret that decrypts this one')),
  iv: opt(str('initialisation vector as base64')),
  data: opt(str('the secret itself')),
  file: opt(str('file that holds the secret')),
});
export const IothreadProperties = object('IothreadProperties', {
  'aio-max-batch': opt(int('int', 'requests in a batch')),
  'thread-pool-min': opt(int('int', 'threads kept')),
  'thread-pool-max': opt(int('int', 'threads at most')),
  'poll-max-ns': opt(int('int', 'longest busy wait in nanoseconds')),
  'poll-grow': opt(int('int', 'growth of the busy wait')),
  'poll-shrink': opt(int('int', 'shrinking of the busy wait')),
});
export const RngProperties = object('RngProperties', {});
export const RngEgdProperties = object('RngEgdProperties', {
  chardev: str('id of a character device'),
});
export const RngRandomProperties = object('RngRandomProperties', {
  filename: opt(str('source of random numbers'), '/dev/urandom'),
});

export const ObjectType = enumeration(
  'ObjectType',
  [
    'iothread',
    'memory-backend-file',
    'memory-backend-memfd',
    'memory-backend-ram',
    'memory-backend-shm',
    'rng-builtin',
    'rng-egd',
    'rng-random',
    'secret',
  ],
  'Types of user-creatable objects. All but memory backends are kept without effect.',
);
export const ObjectOptions = union('ObjectOptions', {
  doc: 'A user-creatable object: its type, its id and the properties of the type.',
  base: {
    'qom-type': ObjectType,
    id: str('id: a letter, then letters, digits, `-`, `.`, `_`'),
  },
  discriminator: 'qom-type',
  branches: {
    iothread: IothreadProperties,
    'memory-backend-file': MemoryBackendFileProperties,
    'memory-backend-memfd': MemoryBackendMemfdProperties,
    'memory-backend-ram': MemoryBackendProperties,
    'memory-backend-shm': MemoryBackendShmProperties,
    'rng-builtin': RngProperties,
    'rng-egd': RngEgdProperties,
    'rng-random': RngRandomProperties,
    secret: SecretProperties,
  },
});
export const objectAdd = command('object-add', {
  doc: 'Create an object, such as a memory backend, under /objects.',
  since: '0.1',
  allowPreconfig: true,
  args: ObjectOptions,
});
export const objectDel = command('object-del', {
  doc: 'Remove an object that nothing uses. Files of memory backends stay.',
  since: '0.1',
  allowPreconfig: true,
  args: { id: str('id of the object') },
});

export const Memdev = object('Memdev', {
  id: opt(str('id of the backend')),
  size: int('size', 'bytes'),
  merge: bool('whether the host may merge equal pages'),
  dump: bool('whether dumps include the memory'),
  prealloc: bool('whether all memory was allocated at once'),
  share: bool('whether others that map the memory see writes'),
  reserve: opt(bool('whether swap space was asked for')),
  'host-nodes': arr(int('uint16', 'number of a host node'), 'host nodes to allocate from'),
  policy: HostMemPolicy,
});
export const queryMemdev = command('query-memdev', {
  doc: 'List the memory backends, that of the machine itself included.',
  since: '0.1',
  allowPreconfig: true,
  returns: arr(Memdev, 'the backends, in no particular order'),
});

export const memFlush = command('mem-flush', {
  doc: 'Write shared memory back to its file and wait until it is there. Other clients are served meanwhile.',
  spec: 'reference/pci-and-memory-devices.md §8.3',
  since: '0.1',
  features: ['qmemd'],
  args: { id: str('id of a device, else of a memory backend; or an object path') },
});

export const MemoryInfo = object('MemoryInfo', {
  'base-memory': int('size', 'bytes that the machine was started with'),
  'plugged-memory': opt(int('size', 'bytes of plugged memory devices')),
});
export const queryMemorySizeSummary = command('query-memory-size-summary', {
  doc: 'Report how much memory the machine has.',
  since: '0.1',
  returns: MemoryInfo,
});

export const PCDIMMDeviceInfo = object('PCDIMMDeviceInfo', {
  id: opt(str('id of the device')),
  addr: int('int', 'guest-physical address in bytes'),
  size: int('int', 'bytes'),
  slot: int('int', 'slot of the board'),
  node: int('int', 'NUMA node'),
  memdev: str('object path of the memory backend'),
  hotplugged: bool('whether the device came after the start'),
  hotpluggable: bool('whether devices of this type can come after the start'),
});
export const PCDIMMDeviceInfoWrapper = object('PCDIMMDeviceInfoWrapper', {
  data: PCDIMMDeviceInfo,
});
export const VirtioMEMDeviceInfo = object('VirtioMEMDeviceInfo', {
  id: opt(str('id of the device')),
  memaddr: int('size', 'guest-physical address in bytes'),
  'requested-size': int('size', 'bytes that the guest is asked to have'),
  size: int('size', 'bytes that the guest has'),
  'max-size': int('size', 'bytes that can be plugged'),
  'block-size': int('size', 'bytes of a block'),
  node: int('int', 'NUMA node'),
  memdev: str('object path of the memory backend'),
});
export const VirtioMEMDeviceInfoWrapper = object('VirtioMEMDeviceInfoWrapper', {
  data: VirtioMEMDeviceInfo,
});
export const MemoryDeviceInfoKind = enumeration(
  'MemoryDeviceInfoKind',
  ['dimm', 'nvdimm', 'virtio-mem'],
  'Kinds of memory devices.',
);
export const MemoryDeviceInfo = union('MemoryDeviceInfo', {
  doc: 'A memory device: its kind and what is known of it.',
  base: { type: MemoryDeviceInfoKind },
  discriminator: 'type',
  branches: {
    dimm: PCDIMMDeviceInfoWrapper,
    nvdimm: PCDIMMDeviceInfoWrapper,
    'virtio-mem': VirtioMEMDeviceInfoWrapper,
  },
});
export const queryMemoryDevices = command('query-memory-devices', {
  doc: 'List the memory devices: modules in the slots of the board, and virtio-mem. CXL devices are not among them.',
  since: '0.1',
  returns: arr(MemoryDeviceInfo, 'the devices, by address'),
});

export const MemoryDeviceSizeChange = event('MEMORY_DEVICE_SIZE_CHANGE', {
  doc: 'A virtio-mem device changed its size: the guest took or gave back memory.',
  since: '0.1',
  throttle: { key: 'qom-path' },
  data: {
    id: opt(str('id of the device')),
    size: int('size', 'bytes now'),
    'qom-path': str('object path of the device'),
  },
});

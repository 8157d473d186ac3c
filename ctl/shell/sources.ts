/**
 * What the texts among the arguments of commands name. The schema says only that they are texts, so
 * this is known here: by the command and the key, else by the key.
 */

/** Things of the running server; `text`: nothing that it could list. */
export type Source =
  | 'blocks'
  | 'buses'
  | 'chardevs'
  | 'device-types'
  | 'devices'
  | 'devices-and-objects'
  | 'exports'
  | 'iothreads'
  | 'block-jobs'
  | 'jobs'
  | 'network-cards'
  | 'nodes'
  | 'objects'
  | 'options'
  | 'properties'
  | 'text'
  | 'tree'
  | 'types'
  | 'virtio';

type Keys = Readonly<Record<string, Source>>;

/** Sources whose things may also be named by their path in the object tree. */
export const WITH_PATHS: ReadonlySet<Source> = new Set([
  'buses',
  'devices',
  'devices-and-objects',
  'tree',
]);

/** What a key names unless its command says otherwise; numbers of lists are left out of the key. */
const BY_KEY: Keys = {
  bus: 'buses',
  chardev: 'chardevs',
  device: 'blocks',
  driver: 'device-types',
  id: 'devices',
  iothread: 'iothreads',
  lsa: 'objects',
  memdev: 'objects',
  'persistent-memdev': 'objects',
  'volatile-memdev': 'objects',
  'job-id': 'text',
  node: 'nodes',
  'node-name': 'nodes',
  path: 'devices',
  typename: 'types',
};

const JOB: Keys = { id: 'jobs' };
const BLOCK_JOB: Keys = { device: 'block-jobs' };
const NEW: Keys = { id: 'text' };
const TREE: Keys = { path: 'tree', property: 'properties' };
const VIRTIO: Keys = { path: 'virtio' };
const EXTENTS: Keys = { tag: 'text' };

const BY_COMMAND: Readonly<Record<string, Keys>> = {
  'add-fd': { opaque: 'text' },
  add_client: { protocol: 'chardevs', fdname: 'text' },
  'announce-self': NEW,
  'block-export-add': NEW,
  'block-export-del': { id: 'exports' },
  'block-job-cancel': BLOCK_JOB,
  'block-job-complete': BLOCK_JOB,
  'block-job-dismiss': JOB,
  'block-job-finalize': JOB,
  'block-job-pause': BLOCK_JOB,
  'block-job-resume': BLOCK_JOB,
  'block-job-set-speed': BLOCK_JOB,
  'blockdev-add': { 'node-name': 'text' },
  'blockdev-snapshot-sync': { 'snapshot-node-name': 'text' },
  'chardev-add': NEW,
  'chardev-change': { id: 'chardevs' },
  'chardev-remove': { id: 'chardevs' },
  'chardev-send-break': { id: 'chardevs' },
  closefd: { fdname: 'text' },
  'cxl-add-dynamic-capacity': EXTENTS,
  'cxl-inject-general-media-event': { 'component-id': 'text' },
  'cxl-release-dynamic-capacity': EXTENTS,
  'device-list-properties': { typename: 'device-types' },
  'device-load': { path: 'text', data: 'text' },
  'device-save': { path: 'text' },
  'device-state-rehearse': { source: 'devices', target: 'devices' },
  device_add: NEW,
  getfd: { fdname: 'text' },
  'guest-cxl-mailbox': { payload: 'text' },
  'guest-mmio-write': { data: 'text' },
  'human-monitor-command': { 'command-line': 'text' },
  'input-send-event': { device: 'devices' },
  'job-cancel': JOB,
  'job-complete': JOB,
  'job-dismiss': JOB,
  'job-finalize': JOB,
  'job-pause': JOB,
  'job-resume': JOB,
  'mem-flush': { id: 'devices-and-objects' },
  migrate: { uri: 'text' },
  'migrate-incoming': { uri: 'text' },
  'migrate-recover': { uri: 'text' },
  netdev_add: NEW,
  netdev_del: NEW,
  'object-add': NEW,
  'object-del': { id: 'objects' },
  'qom-get': TREE,
  'qom-list': TREE,
  'qom-list-get': { paths: 'tree' },
  'qom-list-types': { implements: 'types' },
  'qom-set': TREE,
  'query-command-line-options': { option: 'options' },
  'query-rx-filter': { name: 'network-cards' },
  'ringbuf-read': { device: 'chardevs' },
  'ringbuf-write': { device: 'chardevs' },
  screendump: { device: 'devices' },
  set_link: { name: 'network-cards' },
  'subscribe-events': { stream: 'text' },
  'vfio-state-write': { data: 'text' },
  'x-query-virtio-queue-element': VIRTIO,
  'x-query-virtio-queue-status': VIRTIO,
  'x-query-virtio-status': VIRTIO,
  'x-query-virtio-vhost-queue-status': VIRTIO,
  yank: { 'instances.id': 'chardevs', 'instances.node-name': 'nodes' },
};

/**
 * What a text names; undefined where nobody has said.
 *
 * @param key dotted, as it is typed
 */
export const sourceOf = (command: string, key: string): Source | undefined => {
  const name = key
    .split('.')
    .filter((step) => !/^[0-9]+$/.test(step))
    .join('.');
  const said: Keys = Object.hasOwn(BY_COMMAND, command) ? (BY_COMMAND[command] ?? {}) : {};
  if (Object.hasOwn(said, name)) return said[name];
  return Object.hasOwn(BY_KEY, name) ? BY_KEY[name] : undefined;
};

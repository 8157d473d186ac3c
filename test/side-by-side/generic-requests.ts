import type { Json } from './client.js';
import { ask, bare, get, list, q35, reset, status, type Scenario, type Step } from './requests.js';

const hmp = (line: Json): Step => ask('human-monitor-command', { 'command-line': line });
const option = (name: Json): Step => ask('query-command-line-options', { option: name });
const capabilities = (...pairs: readonly (readonly [Json, Json])[]): Step =>
  ask('migrate-set-capabilities', {
    capabilities: pairs.map(([capability, state]) => ({ capability, state })),
  });

/** Asked of every machine. */
const queries = [
  ...['query-name', 'query-uuid', 'query-target', 'query-current-machine', 'query-balloon'],
  ...[
    'query-block',
    'query-blockstats',
    'query-named-block-nodes',
    'query-jobs',
    'query-block-jobs',
  ],
  ...['query-migrate', 'query-migrate-capabilities', 'migrate_cancel', 'query-iothreads'],
  ...['query-vnc', 'query-rx-filter', 'query-acpi-ospm-status', 'query-memory-devices'],
  ...['query-memory-size-summary', 'system_wakeup', 'inject-nmi', 'rtc-reset-reinjection'],
  ...['query-events', 'query-cpus', 'cpu-add', 'change', 'transaction'],
]
  .map((name) => ask(name))
  .concat(
    [
      [],
      [{ type: 'abort', data: {} }],
      [{ type: 'abort' }],
      [{ type: 'nosuch', data: {} }],
      [1n],
    ].map((actions) => ask('transaction', { actions })),
  );

/** Without a required argument, or with one too many. */
const misshapen = [
  ...['balloon', 'job-pause', 'job-cancel', 'job-dismiss', 'watchdog-set-action'],
  ...['migrate-set-capabilities', 'human-monitor-command'],
].map((name) => ask(name));
const surplus = [
  ...['query-block', 'query-jobs', 'query-migrate', 'query-cpus-fast', 'query-iothreads'],
  ...['query-current-machine', 'query-hotpluggable-cpus', 'query-vnc', 'inject-nmi'],
  ...['system_wakeup', 'set-action', 'query-name', 'stop', 'query-status'],
].map((name) => ask(name, { nosuch: 1n }));

/** Commands about the machine as a whole; nothing here depends on the order. */
export const genericScenarios: readonly Scenario[] = [
  {
    name: 'a machine without anything answers generic questions',
    options: ['-M', 'none', '-S', '-name', 'box', '-uuid', '01234567-89ab-cdef-0123-456789abcdef'],
    steps: [...queries, ask('query-cpus-fast'), hmp('info name'), hmp('info uuid')],
  },
  {
    name: 'a board answers generic questions',
    options: [...bare('q35'), '-object', 'iothread,id=io1'],
    steps: [
      ...queries.filter(({ request }) => !request.includes('query-iothreads')),
      ...misshapen,
      ...surplus,
      ask('query-blockstats', { 'query-nodes': true }),
      ask('query-blockstats', { 'query-nodes': 1n }),
      ask('query-named-block-nodes', { flat: true }),
      ask('query-named-block-nodes', { flat: 'on' }),
      ask('query-rx-filter', { name: 'nosuch' }),
      ask('balloon', { value: 0n }),
      ask('balloon', { value: 1048576n }),
      ask('balloon', { value: '1' }),
      ...['pause', 'resume', 'cancel', 'complete', 'dismiss', 'finalize'].map((verb) =>
        ask(`job-${verb}`, { id: 'nosuch' }),
      ),
      ask('job-cancel', { id: 5n }),
    ],
  },
  {
    name: 'capabilities of migration',
    options: bare('q35'),
    steps: [
      capabilities(),
      capabilities(['events', true]),
      ask('query-migrate-capabilities'),
      capabilities(['events', false], ['xbzrle', true]),
      capabilities(['nosuch', true]),
      capabilities(['events', 'on']),
      capabilities(['events', true], ['postcopy-preempt', true]),
      ask('query-migrate-capabilities'),
      ask('migrate-set-capabilities', { capabilities: [{ capability: 'events' }] }),
      ask('migrate-set-capabilities', { capabilities: 'events' }),
    ],
  },
  {
    name: 'options of the command line',
    options: ['-M', 'none', '-S'],
    steps: [
      ...['memory', 'mon', 'global', 'overcommit', 'boot-opts', 'smp-opts', 'sandbox', 'rtc'],
      ...['device', 'object', 'accel', 'numa', 'nosuch', 'qmp', 'm', 5n],
    ].map(option),
  },
  {
    name: 'actions on reset and shutdown',
    options: bare('q35'),
    steps: [
      ask('set-action'),
      ask('set-action', { reboot: 'nosuch' }),
      ask('set-action', { panic: 'none', watchdog: 'none' }),
      ask('set-action', { shutdown: 'pause', reboot: 'shutdown' }),
      ask('watchdog-set-action', { action: 'debug' }),
      ask('watchdog-set-action', { action: 'nosuch' }),
      reset,
      status,
      ask('set-action', { reboot: 'reset' }),
      reset,
      status,
    ],
  },
  {
    name: 'the human monitor says the same',
    options: q35,
    steps: [
      ...['', '  ', 'info pci', 'info status', 'info name', 'info uuid'],
      ...[
        'nope',
        'nope a b',
        'info nope',
        'help nope',
        '? nope',
        'help info nope',
        'info status x',
      ],
      ...['stop x', 's x', 'q x', 'cont now', 'device_del', 'device_del nope', 'device_add'],
      ...['device_add nosuch', 'device_add nosuch,id=x', 'object_del', 'object_del nope'],
      ...['object_del m1', 'qom-list', 'qom-list /machine/peripheral/nope'],
      ...['qom-get /objects/m1 size', 'qom-get /objects/m1 policy', 'qom-get /objects/m1 nope'],
      ...['qom-get /objects', 'info qom-tree /nope', 'info qtree x', 'info balloon', 'info block'],
      ...['device_add ivshmem-plain,id=hm,memdev=m3,bus=rp2', 'info pci', 'stop', 'info status'],
    ].map(hmp),
  },
  {
    name: 'the human monitor makes, sets and removes the same',
    options: [...bare('q35'), '-device', 'edu,id=e1'],
    steps: [
      ...[
        'object_add',
        'object_add nope',
        'object_add nope,id=x',
        'object_add id=x',
        'object_add {',
      ],
      ...[
        '',
        ',id=m2',
        ',id=m2,size=1M',
        ',id=m2,size=1M',
        ',id=m3,size=1X',
        ',id=m3,size=',
        ',id=m3,size=1M,prealloc-threads=x',
        ',id=m3,size=1M,share=maybe',
        ',id=m3,size=1M,policy=x',
        ',id=m3,size=1M,nosuch=1',
        ',id=m3,size=1M,share=on,x',
        ',id=m3,size=1M,host-nodes=0',
        ',id=m3,size=1M,host-nodes.0=x',
        ',id=1bad,size=1M',
        ',id=m3,size=1M x',
      ].map((rest) => `object_add memory-backend-ram${rest}`),
      'object_add memory-backend-file,id=m3,size=1M',
      'object_add {"qom-type":"memory-backend-ram","id":"m5","size":1048576}',
      'object_add {"qom-type":"memory-backend-ram","id":"m6","size":"1M"}',
      ...['qom-set', 'qom-set /objects/m2', 'qom-set /objects/m2 share', 'qom-set -j'],
      ...['off', 'maybe', 'false', 'YES', 'y', 'on off'].map((on) => `qom-set m2 merge ${on}`),
      ...['true', '"x"', 'tru', 'on', '{', ''].map((on) => `qom-set -j /objects/m2 merge ${on}`),
      ...['nope 1', 'size 2M', 'policy bind', 'policy x', 'type x', 'prealloc-threads x'].map(
        (rest) => `qom-set /objects/m2 ${rest}`,
      ),
      ...['qom-get m2 merge', 'qom-get m2 policy', 'qom-set /nope merge off'],
      ...['qom-set -x /objects/m2 merge on', 'qom-get -j /objects/m2 merge', 'qom-list a b'],
      ...['qom-get /objects/m2 merge x', 'qom-set /machine/peripheral/e1 addr 3'],
      ...['chardev-add', 'chardev-add null', 'chardev-add null,id=c1', 'chardev-add null,id=c1'],
      ...['chardev-add nope,id=c2', 'chardev-add socket,id=c4,path=/nonexistent/socket'],
      ...['chardev-send-break c1', 'chardev-send-break', 'chardev-send-break nope'],
      ...['chardev-remove', 'chardev-remove nope', 'chardev-remove c1 x', 'chardev-remove c1'],
      ...['chardev-remove c1', 'chardev-remove compat_monitor0'],
      ...['getfd', 'getfd x', 'getfd 1x', 'closefd', 'closefd nope', 'closefd a b'],
      ...['object_del m2 x', 'object_del m2', 'object_del m5', 'device_del e1 x'],
    ].map(hmp),
  },
  {
    name: 'the human monitor refuses the wrong arguments',
    options: bare('q35'),
    steps: [
      hmp('info memdev'),
      hmp('qom-list /objects'),
      hmp(5n),
      hmp(null),
      ask('human-monitor-command', { 'command-line': 'info status', 'cpu-index': 0n }),
      ask('human-monitor-command', { 'command-line': 'info status', 'cpu-index': 7n }),
      ask('human-monitor-command', { 'command-line': 'info status', 'cpu-index': 'x' }),
      ask('human-monitor-command', { 'command-line': 'info status', nosuch: true }),
      list('/machine/peripheral'),
      get('/machine', 'nosuch'),
    ],
  },
];

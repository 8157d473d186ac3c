import t from 'tap';
import { modules } from '../../schema/index.js';
import { definitions } from '../../schema/introspect.js';
import { startDaemon } from '../support/daemon.js';

/** What clients need, by who asks for it; a missing command or event fails here by name. */
const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  'every client': ['qmp_capabilities', 'query-version', 'query-commands', 'query-qmp-schema'],
  'scripts: the machine': [
    ...['query-status', 'query-name', 'query-uuid', 'query-kvm', 'query-target'],
    ...['query-machines', 'query-current-machine', 'query-command-line-options'],
    ...['stop', 'cont', 'system_reset', 'system_powerdown', 'system_wakeup', 'quit'],
    ...['set-action', 'watchdog-set-action', 'inject-nmi', 'human-monitor-command'],
    ...['x-exit-preconfig', 'set-numa-node', 'query-accelerators'],
  ],
  'scripts: descriptors and character devices': [
    ...['getfd', 'closefd', 'add-fd', 'remove-fd', 'query-fdsets', 'add_client'],
    ...['query-chardev', 'query-chardev-backends', 'chardev-add', 'chardev-remove'],
    ...['chardev-send-break', 'query-yank', 'yank'],
  ],
  'scripts: memory, PCI, CPUs, jobs': [
    ...['query-memory-devices', 'query-memory-size-summary', 'query-memdev', 'query-pci'],
    ...['query-hotpluggable-cpus', 'query-cpus-fast', 'query-iothreads'],
    ...['query-acpi-ospm-status', 'query-balloon', 'balloon', 'query-migrate', 'migrate_cancel'],
    ...['query-jobs', 'query-block', 'query-block-jobs', 'query-blockstats'],
    ...['query-named-block-nodes', 'query-rx-filter', 'query-vnc'],
    ...['job-pause', 'job-resume', 'job-cancel', 'job-complete', 'job-dismiss', 'job-finalize'],
    ...['query-mice', 'rtc-reset-reinjection'],
  ],
  'scripts: objects and devices': [
    ...['qom-list', 'qom-get', 'qom-set', 'qom-list-get', 'qom-list-types'],
    ...['qom-list-properties', 'device-list-properties', 'object-add', 'object-del'],
    ...['device_add', 'device_del'],
  ],
  'libvirt: probing and start': [
    ...['query-migrate-capabilities', 'migrate-set-capabilities', 'query-tpm-models'],
    ...['query-tpm-types'],
  ],
  'libvirt: save asks for these before it migrates': [
    ...['query-migrate-parameters', 'migrate-set-parameters'],
  ],
};
const EVENTS: Readonly<Record<string, readonly string[]>> = {
  'scripts and libvirt': [
    ...['SHUTDOWN', 'RESET', 'STOP', 'RESUME', 'POWERDOWN', 'DEVICE_DELETED'],
    ...['DEVICE_UNPLUG_GUEST_ERROR', 'MEMORY_DEVICE_SIZE_CHANGE'],
  ],
};

const named = (kind: string): ReadonlySet<string> =>
  new Set(
    definitions(modules)
      .filter((one) => one.kind === kind)
      .map(({ name }) => name),
  );

for (const [kind, wanted] of [
  ['command', COMMANDS],
  ['event', EVENTS],
] as const)
  for (const [who, names] of Object.entries(wanted))
    t.test(`${who}: every ${kind} is there`, async (t) => {
      const there = named(kind);
      t.strictSame(
        names.filter((name) => !there.has(name)),
        [],
      );
    });

t.test(
  'libvirt: what is missing for certain is not listed, as a listed one must work',
  async (t) => {
    const there = named('command');
    for (const name of [
      ...['query-cpu-definitions', 'query-cpu-model-expansion', 'query-cpu-model-baseline'],
      ...['query-stats', 'query-dirty-rate', 'blockdev-reopen', 'block-export-add'],
      ...['query-sev-capabilities', 'query-sgx-capabilities', 'query-events', 'query-cpus'],
    ])
      t.equal(there.has(name), false, name);
  },
);

t.test('every command answers when it is asked without arguments', async (t) => {
  const { qmp } = await startDaemon(t, ['-M', 'q35', '-S', '-nodefaults']);
  let answered = 0;
  for (const name of named('command')) {
    if (name === 'quit') continue;
    const reply = await qmp.execute(name).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (reply !== undefined) t.match(reply, { class: String, message: /\S/ }, name);
    if (reply === undefined) answered++;
  }
  t.equal(answered > 40, true);
});

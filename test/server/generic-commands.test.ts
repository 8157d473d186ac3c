import t from 'tap';
import { sharedCommands, startMachine } from '../support/machine.js';

const Q35 = ['-M', 'q35', '-S', '-nodefaults'];

t.test('what is not modelled answers that there is none', async (t) => {
  const { run } = await startMachine(t, Q35);
  for (const command of [
    'query-block',
    'query-blockstats',
    'query-named-block-nodes',
    'query-jobs',
    'query-block-jobs',
    'query-cpus-fast',
    'query-iothreads',
    'query-acpi-ospm-status',
    'query-rx-filter',
    'query-mice',
    'query-tpm-models',
    'query-tpm-types',
  ])
    t.strictSame(await run(command), [], command);
  t.strictSame(await run('query-named-block-nodes', { flat: true }), []);
  t.strictSame(await run('query-migrate'), {});
  t.strictSame(await run('query-vnc'), { enabled: false });
  t.equal(await run('inject-nmi'), undefined);
  t.equal(await run('migrate_cancel'), undefined);
});

t.test('what cannot be done is refused with the words of QEMU', async (t) => {
  const q35 = await startMachine(t, Q35);
  const bare = await startMachine(t, ['-M', 'none']);
  const balloon = 'No balloon device has been activated';
  for (const [machine, command, args, errorClass, message] of [
    [q35, 'query-balloon', {}, 'DeviceNotActive', balloon],
    [q35, 'balloon', { value: 1n }, 'DeviceNotActive', balloon],
    ...['pause', 'resume', 'cancel', 'complete', 'dismiss', 'finalize'].map(
      (verb) => [q35, `job-${verb}`, { id: 'x' }, 'GenericError', 'Job not found'] as const,
    ),
    [q35, 'query-rx-filter', { name: 'n' }, 'GenericError', 'invalid net client name: n'],
    [
      q35,
      'query-hotpluggable-cpus',
      {},
      'GenericError',
      'machine does not support hot-plugging CPUs',
    ],
    [
      q35,
      'system_wakeup',
      {},
      'GenericError',
      'Unable to wake up: guest is not in suspended state',
    ],
    [
      bare,
      'system_wakeup',
      {},
      'GenericError',
      'wake-up from suspend is not supported by this guest',
    ],
    [
      bare,
      'query-acpi-ospm-status',
      {},
      'GenericError',
      'command is not supported, missing ACPI device',
    ],
    [bare, 'inject-nmi', {}, 'GenericError', 'this feature or command is not currently supported'],
    [
      q35,
      'query-command-line-options',
      { option: 'nope' },
      'GenericError',
      'invalid option name: nope',
    ],
  ] as const)
    await t.rejects(machine.run(command, args), { class: errorClass, message }, command);
});

t.test('query-machines lists every version of a board, the newest with its alias', async (t) => {
  const { run } = await startMachine(t, Q35);
  const machines = (await run('query-machines')) as Record<string, unknown>[];
  t.equal(new Set(machines.map(({ name }) => name)).size, machines.length);
  t.strictSame(
    machines.filter(({ alias }) => alias !== undefined).map(({ name, alias }) => [name, alias]),
    [
      ['pc-i440fx-10.2', 'pc'],
      ['pc-q35-10.2', 'q35'],
    ],
  );
  t.strictSame(
    machines.filter((info) => info['is-default'] === true).map(({ name }) => name),
    ['pc-i440fx-10.2'],
  );
  for (const { name } of machines) await startMachine(t, ['-M', String(name), '-nodefaults']);
});

t.test('query-command-line-options tells of one option or of all', async (t) => {
  const { run } = await startMachine(t, Q35);
  t.strictSame(await run('query-command-line-options', { option: 'memory' }), [
    {
      option: 'memory',
      parameters: [
        { name: 'maxmem', type: 'size' },
        { name: 'slots', type: 'number' },
        { name: 'size', type: 'size' },
      ],
    },
  ]);
  const all = (await run('query-command-line-options')) as { option: string }[];
  t.equal(all.length > 15, true);
});

t.test('migration capabilities are switched all or none', async (t) => {
  const { run } = await startMachine(t, Q35);
  const on = async (): Promise<string[]> =>
    ((await run('query-migrate-capabilities')) as { capability: string; state: boolean }[])
      .filter(({ state }) => state)
      .map(({ capability }) => capability);
  const set = (...capabilities: readonly (readonly [string, boolean])[]): Promise<unknown> =>
    run('migrate-set-capabilities', {
      capabilities: capabilities.map(([capability, state]) => ({ capability, state })),
    });
  t.strictSame(await on(), []);
  await set(['events', true]);
  t.strictSame(await on(), ['events']);
  await t.rejects(set(['xbzrle', true], ['postcopy-preempt', true]), {
    message: 'Postcopy preempt requires postcopy-ram',
  });
  t.strictSame(await on(), ['events'], 'nothing half-done');
  await set(['events', false]);
  t.strictSame(await on(), []);
});

t.test('set-action decides what a reset does', async (t) => {
  const { run, events } = await startMachine(t, ['-M', 'q35', '-nodefaults']);
  await run('set-action', { reboot: 'shutdown', shutdown: 'pause' });
  await run('system_reset');
  t.strictSame(
    events.map(({ name }) => name),
    ['SHUTDOWN', 'STOP'],
  );
  t.strictSame(events[0]?.data, { guest: false, reason: 'host-qmp-system-reset' });
  t.strictSame(await run('query-status'), { status: 'shutdown', running: false });
  await t.rejects(run('cont'), { message: 'Resetting the Virtual Machine is required' });
  await run('set-action', { reboot: 'reset' });
  await run('system_reset');
  await run('cont');
  t.strictSame(await run('query-status'), { status: 'running', running: true });
});

t.test('iothread objects are listed with a thread of the process', async (t) => {
  const { run } = await startMachine(t, [...Q35, '-object', 'iothread,id=io1,poll-max-ns=5']);
  t.strictSame(await run('query-iothreads'), [
    {
      id: 'io1',
      'thread-id': BigInt(process.pid),
      'poll-max-ns': 5n,
      'poll-grow': 0n,
      'poll-shrink': 0n,
      'aio-max-batch': 0n,
    },
  ]);
});

t.test(
  'qom-list-get lists several objects with their values; one bad path fails all',
  async (t) => {
    const words = [...Q35, '-object', 'memory-backend-ram,id=m1,size=1M'];
    const { run } = await startMachine(t, words);
    const objects = (await run('qom-list-get', { paths: ['/objects/m1', '/objects'] })) as {
      properties: { name: string; type: string; value?: unknown }[];
    }[];
    t.equal(objects.length, 2);
    t.strictSame(
      objects[0]?.properties.find(({ name }) => name === 'size'),
      { name: 'size', type: 'int', value: 1048576n },
    );
    t.strictSame(
      objects[1]?.properties.find(({ name }) => name === 'm1'),
      { name: 'm1', type: 'child<memory-backend-ram>', value: '/objects/m1' },
    );
    await t.rejects(run('qom-list-get', { paths: ['/objects', '/nope'] }), {
      class: 'DeviceNotFound',
      message: "Device '/nope' not found",
    });
  },
);

t.test('what is not there is named, with the class that clients look for', async (t) => {
  const { run } = await startMachine(t, Q35);
  for (const id of ['nope', '/machine/nope'])
    await t.rejects(run('device_del', { id }), {
      class: 'DeviceNotFound',
      message: `Device '${id}' not found`,
    });
  await t.rejects(run('device_del', { id: '/machine' }), {
    class: 'GenericError',
    message: '/machine is not a device',
  });
  const instances = [{ type: 'chardev', id: 'nope' }];
  await t.rejects(run('yank', { instances }), {
    class: 'DeviceNotFound',
    message: 'Instance not found',
  });
  await run('yank', { instances: [] });
});

t.test('machines share the commands and the text of the schema, and nothing else', async (t) => {
  const commands = sharedCommands();
  const [one, other] = [
    await startMachine(t, ['-M', 'none', '-name', 'one'], commands),
    await startMachine(t, ['-M', 'none', '-name', 'other'], commands),
  ];
  t.equal(await one.run('query-qmp-schema'), await other.run('query-qmp-schema'));
  await one.run('migrate-set-capabilities', {
    capabilities: [{ capability: 'events', state: true }],
  });
  const states = async ({ run }: typeof one): Promise<boolean[]> =>
    ((await run('query-migrate-capabilities')) as { state: boolean }[]).map(({ state }) => state);
  t.equal((await states(one)).filter(Boolean).length, 1);
  t.equal((await states(other)).filter(Boolean).length, 0);
  t.strictSame(
    [await one.run('query-name'), await other.run('query-name')],
    [{ name: 'one' }, { name: 'other' }],
  );
});

import { once } from 'node:events';
import { QMPClient } from 'node-qemu';
import QMP from 'qemu-qmp';
import t from 'tap';
import { startDaemon } from '../support/daemon.js';

const WORDS = ['-M', 'pc,guest-policy=accept', '-name', 'vm0', '-S'];

/** The callback client, as its users promisify it. */
const callbackClient = (path: string) => {
  const client = new QMP();
  const connected = new Promise<unknown>((resolve, reject) =>
    client.connect(path, (error, value) => (error === null ? resolve(value) : reject(error))),
  );
  const execute = (command: string, args: Readonly<Record<string, unknown>> = {}) =>
    new Promise<unknown>((resolve, reject) =>
      client.execute(command, args, (error, value) =>
        error === null ? resolve(value) : reject(error),
      ),
    );
  return { client, connected, execute };
};

t.test(
  'npm qemu-qmp: the greeting is its first chunk, commands come without line ends',
  async (t) => {
    const { socket } = await startDaemon(t, WORDS);
    const { client, connected, execute } = callbackClient(socket);
    t.teardown(() => client.destroy());
    t.equal(await connected, client);
    t.match(client, {
      version: { qemu: { major: 10, minor: 2, micro: 0 } },
      capabilities: ['oob'],
    });
    t.strictSame(await execute('query-name'), { name: 'vm0' });
    await t.rejects(execute('device_del', { id: 'no' }), { message: "Device 'no' not found" });
    t.match(await execute('query-status'), { status: 'prelaunch', running: false });
    const resumed = once(client, 'resume');
    await execute('cont');
    t.strictSame(await resumed, ['RESUME']);
    // Written together: the answers come in the order of the commands.
    const answers = await Promise.all([
      execute('query-name'),
      execute('query-status'),
      execute('query-version'),
    ]);
    t.match(answers, [{ name: 'vm0' }, { running: true }, { package: /qmemd/ }]);
  },
);

t.test('npm node-qemu: typed commands, typed events, errors, hotplug', async (t) => {
  const { socket } = await startDaemon(t, WORDS);
  const client = new QMPClient({ socketPath: socket });
  await client.connect();
  t.teardown(() => client.close());
  t.match(await client.queryStatus(), { status: 'prelaunch' });
  t.match(await client.queryVersion(), { qemu: { major: 10, minor: 2, micro: 0 } });
  const commands = await client.queryCommands();
  t.equal(
    commands.some(({ name }) => name === 'device_add'),
    true,
  );
  const resumed = once(client, 'RESUME');
  await client.cont();
  await resumed;
  t.match(await client.queryStatus(), { status: 'running', running: true });
  const size = 1 << 20;
  // Its own objectAdd takes no members of the type.
  await client.execute('object-add', { 'qom-type': 'memory-backend-ram', id: 'm0', size });
  await client.deviceAdd({ driver: 'ivshmem-plain', id: 'd0', memdev: 'm0' });
  t.match(
    (await client.queryMemdev()).find(({ id }) => id === 'm0'),
    { size },
  );
  await t.rejects(client.execute('object-del', { id: 'm0' }), {
    message: /object 'm0' is in use, can not be deleted/,
  });
  const deleted = once(client, 'DEVICE_DELETED');
  await client.deviceDel('d0');
  t.match(await deleted, [{ device: 'd0' }]);
  await client.objectDel('m0');
  await t.rejects(client.execute('no-such-command'), { message: /has not been found/ });
});

t.test(
  'npm node-qemu: its out-of-band is the withdrawn form, which QEMU refuses too',
  async (t) => {
    const { socket } = await startDaemon(t, WORDS);
    const client = new QMPClient({ socketPath: socket, oob: true });
    await client.connect();
    t.teardown(() => client.close());
    await t.rejects(client.executeOob('query-status'), {
      message: "QMP input member 'control' is unexpected",
    });
    t.match(await client.queryStatus(), { status: 'prelaunch' }, 'the session lives on');
  },
);

t.test('both clients at once, and neither sees the replies of the other', async (t) => {
  const { socket } = await startDaemon(t, WORDS);
  const old = callbackClient(socket);
  t.teardown(() => old.client.destroy());
  await old.connected;
  const typed = new QMPClient({ socketPath: socket });
  await typed.connect();
  t.teardown(() => typed.close());
  const rounds = Array.from({ length: 200 }, (_, i) => i);
  await Promise.all([
    ...rounds.map(async () => t.match(await old.execute('query-name'), { name: 'vm0' })),
    ...rounds.map(async () => t.match(await typed.queryStatus(), { status: 'prelaunch' })),
  ]);
});

import t from 'tap';
import { startDaemon } from '../support/daemon.js';

const late = (name: string): { message: string } => ({
  message: `The command '${name}' is permitted only after machine initialization has completed`,
});
const refusal = (message: string): { message: string } => ({ message });

t.test('a machine waits in --preconfig until x-exit-preconfig', async (t) => {
  const { qmp } = await startDaemon(t, ['-M', 'q35', '-S', '--preconfig']);
  t.match(await qmp.execute('query-status'), { status: 'prelaunch', running: false });
  for (const name of ['query-pci', 'device_add', 'cont', 'stop', 'getfd'])
    await t.rejects(qmp.execute(name), late(name));
  await t.rejects(qmp.execute('nope'), { message: 'The command nope has not been found' });
  await qmp.execute('object-add', { 'qom-type': 'memory-backend-ram', id: 'm0', size: 4096n });
  t.strictSame(await qmp.execute('x-exit-preconfig'), {});
  t.match(await qmp.execute('query-status'), { status: 'prelaunch', running: false });
  t.match(await qmp.execute('query-pci'), [{}]);
  await t.rejects(
    qmp.execute('x-exit-preconfig'),
    refusal('The command is permitted only before machine initialization'),
  );
  await t.rejects(
    qmp.execute('set-numa-node', { type: 'node' }),
    refusal('The command is permitted only before the machine has been created'),
  );
});

t.test('without -S it runs then', async (t) => {
  const { qmp } = await startDaemon(t, ['-M', 'none', '--preconfig']);
  await qmp.execute('x-exit-preconfig');
  t.match(await qmp.execute('query-status'), { status: 'running', running: true });
});

t.test('without --preconfig it is too late from the start', async (t) => {
  const { qmp } = await startDaemon(t, ['-M', 'none']);
  await t.rejects(
    qmp.execute('x-exit-preconfig'),
    refusal('The command is permitted only before machine initialization'),
  );
});

t.test('set-numa-node refuses as QEMU does', async (t) => {
  const { qmp } = await startDaemon(t, ['-M', 'none', '--preconfig']);
  const set = (args: Record<string, string | bigint | bigint[]>): Promise<unknown> =>
    qmp.execute('set-numa-node', args);
  const missing =
    "Source/Destination NUMA node is missing. Please use '-numa node' option to declare it first.";
  await set({ type: 'node' });
  for (const [args, text] of [
    [{ type: 'node', nodeid: 0n }, 'Duplicate NUMA nodeid: 0'],
    [{ type: 'node', nodeid: 128n }, 'Max number of NUMA nodes reached: 128'],
    [{ type: 'nope' }, "Parameter 'type' does not accept value 'nope'"],
    [{}, "Parameter 'type' is missing"],
    [{ type: 'dist', src: 0n, dst: 5n, val: 20n }, missing],
    [{ type: 'dist', src: 0n, dst: 0n, val: 20n }, 'Local distance of node 0 should be 10.'],
    [
      { type: 'dist', src: 0n, dst: 0n, val: 5n },
      "NUMA distance (5) is invalid, it shouldn't be less than 10.",
    ],
    [
      { type: 'dist', src: 128n, dst: 0n, val: 20n },
      "Parameter 'src' expects an integer between 0 and 127",
    ],
    [
      { type: 'cpu', 'node-id': 9n },
      "Invalid node-id=9, NUMA node must be defined with -numa node,nodeid=ID before it's used with -numa cpu,node-id=ID",
    ],
    [{ type: 'cpu', 'node-id': 0n }, 'no match found'],
    [{ type: 'node', nodeid: 1n, memdev: 'none' }, 'memdev=none is ambiguous'],
    [
      { type: 'node', mem: 1n << 20n },
      'Parameter -numa node,mem is not supported by this machine type',
    ],
    [
      { type: 'node', mem: 1n << 20n, memdev: 'none' },
      'numa configuration should use either mem= or memdev=,mixing both is not allowed',
    ],
    [{ type: 'node', nodeid: 0n, cpus: [9n], mem: 1n }, 'Duplicate NUMA nodeid: 0'],
    [{ type: 'node', cpus: [9n], mem: 1n }, 'CPU index (9) should be smaller than maxcpus (0)'],
  ] as const)
    await t.rejects(set(args as never), refusal(text), text);
  await set({ type: 'node', nodeid: 127n });
  await t.rejects(qmp.execute('x-exit-preconfig'), refusal('numa: Node ID missing: 1'));
});

t.test('a machine that cannot be created says why, and ends', async (t) => {
  const words = ['-M', 'none', '--preconfig', '-device', 'ivshmem-plain'];
  const { qmp, gone } = await startDaemon(t, words);
  await t.rejects(qmp.execute('x-exit-preconfig'), { message: /^-device ivshmem-plain: / });
  await gone;
});

import { createHash } from 'node:crypto';
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { STATE } from '../../../devices/state/target.js';
import { refused } from '../../../schema/error.js';
import type { DeviceEntry } from '../../../server/machine/device-entry.js';
import { Rehearsal } from '../../../server/state-files/rehearsal.js';
import type { Json } from '../../side-by-side/client.js';
import type { Cleanup } from '../../support/daemon.js';
import { startMachine, type TestMachine } from '../../support/machine.js';
import { needsNative } from '../../support/mdevice.js';
import { poolName } from '../../support/pools.js';

/** Two devices of a type, `a` and `b`, in one machine. */
const start = async (t: Cleanup, device: string, words: readonly string[] = []) => {
  const machine = await startMachine(t, [
    ...['-M', 'q35', '-nodefaults', ...words],
    ...['a', 'b'].flatMap((id) => ['-device', device.replaceAll('ID', id)]),
  ]);
  const rehearse = (more: Record<string, Json> = {}): Promise<unknown> =>
    machine.run('device-state-rehearse', { source: 'a', target: 'b', ...more });
  const states = (): unknown => ['a', 'b'].map((id) => stateOf(machine, id));
  return { ...machine, rehearse, states };
};
const stateOf = ({ machine }: TestMachine, id: string): number =>
  machine.devices.find(id).state.state;
const bytesOf = ({ machine }: Pick<TestMachine, 'machine'>, id: string): Buffer => {
  const [own] = machine.devices.find(id).memories.list;
  const bytes = Buffer.alloc(Number(own?.memory.size ?? 0n));
  own?.memory.read(0n, bytes);
  return bytes;
};
const SAMPLE = 'state-sample,id=ID';
/** Of reference/vfio-device-state.md §11, vector 1. */
const INITIAL = '15eddd53473f38c5';

t.test('a device moves whole: passes, digests, states', async (t) => {
  const machine = await start(t, SAMPLE);
  const done = (await machine.rehearse({ 'dirty-limit': 0n })) as Record<string, unknown>;
  t.match(done, {
    passes: [{ bytes: 20048n, pages: 5 }],
    'stop-bytes': 0n,
    'config-bytes': 304n,
    'digest-source': new RegExp(`^${INITIAL}`),
  });
  t.equal(done['digest-target'], done['digest-source']);
  t.strictSame(machine.states(), [1, 1], 'both stand still');
  t.strictSame(
    machine.events
      .filter(({ name }) => name.startsWith('DEVICE_STATE'))
      .map(({ name, data }) => ({ name, ...(data as object) })),
    [
      changed('b', 'running', 'stop'),
      changed('a', 'running', 'running-logging'),
      {
        ...{ name: 'DEVICE_STATE_PASS', device: 'a', path: '/machine/peripheral/a' },
        ...{ pass: 1, bytes: 20048n },
      },
      changed('a', 'running-logging', 'stop-logging'),
      changed('a', 'stop-logging', 'stop'),
    ],
  );
});
const changed = (id: string, from: string, to: string): object => ({
  name: 'DEVICE_STATE_CHANGED',
  ...{ device: id, path: `/machine/peripheral/${id}`, from, to },
});

const poke = ({ machine }: Pick<TestMachine, 'machine'>, at: number, value: number): void => {
  machine.devices.find('a').memories.list[0]?.memory.write(BigInt(at), Buffer.of(value));
};

t.test('what is written between passes comes along, then what is left', async (t) => {
  const machine = await start(t, SAMPLE);
  machine.watch((name, data) => {
    const { pass } = data as { pass?: number };
    if (name === 'DEVICE_STATE_PASS' && pass !== undefined && pass <= 3)
      poke(machine, 4096 * pass, 0xa0 + pass);
  });
  const done = await machine.rehearse({ 'dirty-limit': 0n, 'max-passes': 3n, 'auto-run': true });
  t.match(done, {
    passes: [{ pages: 5 }, { pages: 1 }, { pages: 1 }],
    'stop-bytes': 32n + 16n + 4096n,
  });
  t.strictSame(machine.states(), [1, 0], 'the target runs');
  t.same(bytesOf(machine, 'b'), bytesOf(machine, 'a'));
  t.strictSame(
    [1, 2, 3].map((n) => bytesOf(machine, 'b')[4096 * n]),
    [0xa1, 0xa2, 0xa3],
  );
});

t.test('little enough is left for the stop', async (t) => {
  const machine = await start(t, SAMPLE);
  t.match(await machine.rehearse(), { passes: [], 'stop-bytes': 20048n });
  const digest = createHash('sha256')
    .update(machine.machine.devices.find('b').state.target.config.save())
    .update(bytesOf(machine, 'b'))
    .digest('hex');
  t.equal(digest.startsWith(INITIAL), true);
});

const backend = (id: string, size: string): string[] => [
  '-object',
  `memory-backend-ram,id=${id},size=${size}`,
];
const CXL = [
  ...['-M', 'cxl=on', '-device', 'pxb-cxl,id=cxl.0,bus=pcie.0,bus_nr=52'],
  ...['-device', 'cxl-rp,id=rp-a,bus=cxl.0,chassis=0,slot=0,port=0'],
  ...['-device', 'cxl-rp,id=rp-b,bus=cxl.0,chassis=0,slot=1,port=1'],
];
const two = (size: string): string[] => [...backend('m-a', size), ...backend('m-b', size)];
const TWO = two('1M');

for (const [device, words] of [
  ['edu,id=ID', []],
  ['iopmem,id=ID,memdev=m-ID', TWO],
  ['cxl-type3,id=ID,bus=rp-ID,volatile-memdev=m-ID', [...CXL, ...two('256M')]],
  ['virtio-shmem-pci,id=ID,memdev0=m-ID', TWO],
  ['ivshmem-plain,id=ID,memdev=m-ID', TWO],
] as const)
  t.test(`a device ${device}`, async (t) => {
    const machine = await start(t, device, words);
    machine.machine.devices.find('a').memories.list[0]?.memory.write(5000n, Buffer.from('here'));
    machine.machine.devices.find('a').pci?.pci.writeConfig(4, 2, 6);
    const done = (await machine.rehearse()) as Record<string, unknown>;
    t.equal(done['digest-target'], done['digest-source']);
    t.same(bytesOf(machine, 'b'), bytesOf(machine, 'a'));
    t.equal(machine.machine.devices.find('b').pci?.pci.readConfig(4, 2), 6);
  });

t.test('memory that no single pass brings comes before the stop', async (t) => {
  const limit = ['--limit', 'state-pass-bytes=8192'];
  for (const [most, pages, stopBytes] of [
    [0n, [], 4 * 48 + 20_000 + 4096],
    [1n, [2, 2, 1], 48 + 4096],
    [2n, [2, 2, 1, 1], 0],
  ] as const) {
    const machine = await start(t, SAMPLE, limit);
    machine.watch((name, data) => {
      if (name === 'DEVICE_STATE_PASS' && (data as { pass: number }).pass === 3)
        poke(machine, 0, 0xee);
    });
    const done = (await machine.rehearse({ 'dirty-limit': 0n, 'max-passes': most })) as {
      passes: { pages: number }[];
    };
    t.strictSame(
      done.passes.map((pass) => pass.pages),
      pages,
    );
    t.equal((done as { 'stop-bytes'?: bigint })['stop-bytes'], BigInt(stopBytes));
    t.same(bytesOf(machine, 'b'), bytesOf(machine, 'a'));
  }
});

t.test('what has no storage gets none', needsNative, async (t) => {
  const folder = t.testdir();
  const words = ['a', 'b'].flatMap((id) => [
    '-object',
    `memory-backend-file,id=m-${id},size=64M,share=on,mem-path=${join(folder, id)}`,
  ]);
  const machine = await start(t, 'iopmem,id=ID,memdev=m-ID', words);
  const [source, target] = ['a', 'b'].map(
    (id) => machine.machine.devices.find(id).memories.list[0]?.memory,
  );
  source?.write(5_000_000n, Buffer.alloc(300_000, 0x5a));
  target?.write(40_000_000n, Buffer.alloc(300_000, 0xa5));
  const done = (await machine.rehearse()) as Record<string, unknown>;
  t.equal(done['digest-target'], done['digest-source']);
  t.same(bytesOf(machine, 'b'), bytesOf(machine, 'a'));
  for (const id of ['a', 'b']) t.ok(statSync(join(folder, id)).blocks * 512 < 4 << 20, id);
});

const NOT = "cannot rehearse the migration of device 'a' into 'b': ";
/** The source works on, and the target is as after a reset. */
const asBefore = (t: Test, machine: Awaited<ReturnType<typeof start>>): void => {
  t.strictSame(machine.states(), [0, 0]);
  for (const id of ['a', 'b']) {
    t.equal(machine.machine.devices.find(id).state.loading, false);
    t.equal(machine.machine.devices.find(id).activity.stopped, false);
  }
};

t.test('what cannot move is refused before anything changes', async (t) => {
  const sample = await start(t, SAMPLE, [
    '-device',
    'edu,id=e',
    '-device',
    'vfio-state,id=v,target=e',
  ]);
  const refuse = async (args: Record<string, Json>, message: string | RegExp): Promise<void> => {
    await t.rejects(sample.rehearse(args), { message });
  };
  await refuse({ target: 'none' }, "Device 'none' not found");
  await refuse({ target: 'a' }, /^cannot .*: source and target are the same device 'a' and 'a'$/);
  await refuse({ source: 'e' }, /: device 'b' is of type 'state-sample', the state of type 'edu'$/);
  await refuse({ target: 'v' }, /: device 'v' is of type 'vfio-state', the state of .*sample'$/);
  await sample.run('device-state-set', { id: 'a', state: 'stop' });
  await refuse({}, `${NOT}device 'a' is in state 1: a rehearsal begins with a device that runs`);
  await sample.run('device-state-set', { id: 'a', state: 'running' });
  asBefore(t, sample);
  t.equal(sample.events.length, 2, 'of the two commands');

  const path = `/dev/shm/${poolName(t)}`;
  const file = (id: string): string[] => [
    '-object',
    `memory-backend-file,id=${id},size=1M,mem-path=${path},share=on`,
  ];
  t.teardown(() => rmSync(path, { force: true }));
  const same = await start(t, 'iopmem,id=ID,memdev=m-ID', ['m-a', 'm-b'].flatMap(file));
  await t.rejects(same.rehearse(), {
    message: new RegExp(`^${NOT}devices 'a' and 'b' have memory '.*' in common$`),
  });
  asBefore(t, same);
});

const deviceOf = ({ machine }: Pick<TestMachine, 'machine'>, id: string): DeviceEntry =>
  machine.devices.find(id);
const refuseToLoad = (machine: TestMachine): void => {
  Reflect.set(deviceOf(machine, 'b').state.target.config, 'load', () => {
    throw refused('not today');
  });
};
for (const [what, meanwhile, message] of [
  [
    'its target runs',
    (machine) => deviceOf(machine, 'b').state.setState(STATE.RUNNING),
    `device 'b' went to another state meanwhile`,
  ],
  [
    'the machine is reset',
    (machine) => machine.machine.reset(),
    `device 'b' went to another state meanwhile`,
  ],
  ['the configuration is refused', refuseToLoad, 'EINVAL, not today'],
  [
    'the target changes',
    (machine) => deviceOf(machine, 'b').memories.list[0]?.memory.write(9n, Buffer.of(1)),
    /after the load 'b' has digest [0-9a-f]{64}, and 'a' 15eddd53473f38c5[0-9a-f]{48}$/,
  ],
] as readonly [string, (machine: TestMachine) => void, string | RegExp][])
  t.test(`it fails when ${what}: the source works on, the target is reset`, async (t) => {
    const machine = await start(t, SAMPLE);
    machine.watch((name) => {
      if (name === 'DEVICE_STATE_PASS') meanwhile(machine);
    });
    await t.rejects(machine.rehearse({ 'dirty-limit': 0n }), {
      message: typeof message === 'string' ? `${NOT}${message}` : message,
    });
    asBefore(t, machine);
  });

t.test('it fails when the target leaves, or the client', async (t) => {
  const machine = await start(t, SAMPLE);
  const controller = new AbortController();
  machine.watch((name) => {
    if (name === 'DEVICE_STATE_PASS') controller.abort();
  });
  const [source, target] = [deviceOf(machine, 'a'), deviceOf(machine, 'b')];
  const rehearsal = new Rehearsal({
    ...{ machine: machine.machine, source, target, gone: controller.signal },
    ...{ maxPasses: 30, dirtyLimit: 0, autoRun: true },
  });
  await t.rejects(rehearsal.run(), { message: 'the client is gone' });
  asBefore(t, machine);

  const other = await start(t, SAMPLE, ['-M', 'pc']);
  other.watch((name) => {
    if (name === 'DEVICE_STATE_PASS') void other.run('device-yank', { id: 'b' });
  });
  await t.rejects(other.rehearse({ 'dirty-limit': 0n }), {
    message: `${NOT}device 'b' was unplugged meanwhile`,
  });
  t.equal(stateOf(other, 'a'), STATE.RUNNING);
  t.equal(deviceOf(other, 'a').activity.stopped, false);
});

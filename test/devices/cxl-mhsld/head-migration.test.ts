import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import type { Device } from '../../../devices/core/device.js';
import type { Handover } from '../../../devices/core/handover.js';
import { takeBackAll } from '../../../devices/core/handover.js';
import { dpa } from '../../../devices/cxl/addresses.js';
import { asCxlMemoryTarget } from '../../../devices/cxl/memory-target.js';
import { eventually, privateFolder } from '../../support/daemon.js';
import { startMachine, type TestMachine } from '../../support/machine.js';
import { needsNative } from '../../support/mdevice.js';
import { CXL_PORTS, ownerMasks, poolName } from '../../support/pools.js';

const MiB = 1n << 20n;
const TAG = '5be13bce-ae34-4a77-b6c3-16df975fcf1a';

/** Machines of one pool that share its memory. */
const startPool = (t: Test) => {
  const name = poolName(t);
  const file = join(t.testdir(), 'memory');
  const machine = async (head: number, incoming = false): Promise<TestMachine> => {
    const m = await startMachine(t, [
      ...CXL_PORTS,
      ...['-object', `memory-backend-file,id=dc,size=256M,mem-path=${file},share=on`],
    ]);
    // The devices believe to be at a destination; the commands of the guest side still work.
    if (incoming)
      Object.defineProperty(m.machine.runState, 'status', {
        ...{ get: () => 'inmigrate', configurable: true },
      });
    await m.run('device_add', {
      ...{ driver: 'cxl-mhsld', id: 'h', bus: 'rp0', 'num-dc-regions': 1n },
      ...{ 'volatile-dc-memdev': 'dc', 'mhd-head': BigInt(head), 'mhd-init': true },
      'mhd-state_file': name,
    });
    Reflect.deleteProperty(m.machine.runState, 'status');
    await m.run('system_reset');
    return m;
  };
  const map = (first = 0, count = 16): string => ownerMasks(name, first, count).toString('hex');
  return { machine, map };
};

const deviceOf = (m: TestMachine): Device => m.machine.devices.find('h').device;
const handoverOf = (m: TestMachine): Handover => {
  const { handover } = deviceOf(m);
  if (handover === undefined) throw new Error('no head');
  return handover;
};
const offer = (m: TestMachine, offset: number, len: number, tag?: string): Promise<unknown> =>
  m.run('cxl-add-dynamic-capacity', {
    ...{ path: 'h', 'host-id': 0n, 'selection-policy': 'prescriptive', region: 0n },
    ...(tag === undefined ? {} : { tag }),
    extents: [{ offset: BigInt(offset) * MiB, len: BigInt(len) * MiB }],
  });
const accept = (m: TestMachine): Promise<unknown> =>
  m.run('guest-cxl-respond', { id: 'h', action: 'accept' });
const giveBack = (m: TestMachine, offset: number, len: number): Promise<unknown> =>
  m.run('guest-cxl-release', {
    ...{ id: 'h', extents: [{ 'start-dpa': BigInt(offset) * MiB, len: BigInt(len) * MiB }] },
  });
const detach = async (m: TestMachine): Promise<void> => {
  await m.run('device_del', { id: 'h' });
  await m.run('guest-eject', { id: 'h' });
};
const capacity = async (m: TestMachine): Promise<string> => {
  const [info] = (await m.run('query-cxl-dynamic-capacity')) as {
    pending: { extents: { offset: bigint; len: bigint }[] }[];
    accepted: { offset: bigint; len: bigint }[];
  }[];
  const text = (list: readonly { offset: bigint; len: bigint }[] = []): string =>
    list.map(({ offset, len }) => `${String(offset / MiB)}+${String(len / MiB)}`).join(' ');
  return `${text(info?.accepted)}, ${text(info?.pending.flatMap(({ extents }) => extents))}`;
};
const access = (m: TestMachine, address: bigint, data?: string): string => {
  const target = asCxlMemoryTarget(deviceOf(m));
  if (target === undefined) throw new Error('no memory');
  if (data !== undefined) return target.writeDpa(dpa(address), Buffer.from(data)) ?? 'ok';
  const into = new Uint8Array(8);
  return target.readDpa(dpa(address), into) ?? Buffer.from(into).toString();
};

/** Accepted, tagged and pending capacity, bytes in it, and a mark that they are to be erased. */
const fill = async (m: TestMachine): Promise<void> => {
  await offer(m, 0, 8);
  await accept(m);
  await offer(m, 8, 4, TAG);
  await accept(m);
  await offer(m, 16, 4);
  access(m, 2n * MiB, 'the data');
  await m.run('cxl-release-dynamic-capacity', {
    ...{ path: 'h', 'host-id': 0n, 'removal-policy': 'prescriptive', region: 0n },
    ...{ 'sanitize-on-release': true, extents: [{ offset: 0n, len: 2n * MiB }] },
  });
};
const FILLED = '0+8 8+4, 16+4';

for (const to of [1, 0])
  t.test(`head 0 migrates to a machine with head ${String(to)}`, needsNative, async (t) => {
    const { machine, map } = startPool(t);
    const source = await machine(0);
    await fill(source);
    const onlooker = await machine(2);
    await onlooker.run('cxl-add-dynamic-capacity', {
      ...{ path: 'h', 'host-id': 0n, 'selection-policy': 'enable-shared-access', region: 0n },
      ...{ tag: TAG, extents: [] },
    });
    await accept(onlooker);
    const destination = await machine(to, true);
    const before = '010101010505' + '0000' + '0101' + '0000'.repeat(3);
    t.equal(map(), before);
    if (to === 0) {
      await t.rejects(offer(destination, 64, 2), { message: /is in use$/ });
      const [pool] = (await destination.run('query-cxl-pools')) as { heads: object[] }[];
      t.match(pool?.heads[0], { state: 'attached', waiting: true, blocks: 8n });
    }

    const [from, into] = [handoverOf(source), handoverOf(destination)];
    const state = deviceOf(source).save();
    into.expect(from.offer());
    void deviceOf(destination).load(state);
    t.equal(map(), before, 'what is loaded is not claimed');
    t.equal(access(destination, 2n * MiB), 'not-owner');
    const [pool] = (await onlooker.run('query-cxl-pools')) as { moves: object[] }[];
    t.strictSame(pool?.moves, [{ from: 0, to, phase: 'waiting' }]);
    from.give();
    into.take();
    from.letGo();
    const owner = to === 0 ? '01' : '02';
    t.equal(
      map(),
      `${owner.repeat(4)}${to === 0 ? '0505' : '0606'}0000${owner.repeat(2)}${'0000'.repeat(3)}`,
    );
    t.equal(await capacity(source), ', ');
    t.equal(await capacity(destination), FILLED);
    t.strictSame(deviceOf(destination).save()['state'], state['state']);
    t.equal(access(source, 2n * MiB), 'unbacked');
    t.equal(access(destination, 2n * MiB), 'the data');

    await source.run('system_reset');
    if (to === 0) await t.rejects(offer(source, 64, 2), { message: /has migrated away/ });
    await detach(source);
    t.equal(access(destination, 2n * MiB), 'the data', 'not erased by the one that lost it');
    await accept(destination);
    t.equal(await capacity(destination), '0+8 8+4 16+4, ');
    access(destination, 0n, 'a secret');
    await giveBack(destination, 0, 8);
    t.equal(map(0, 4), '00000000');
    await offer(destination, 0, 4);
    await accept(destination);
    t.equal(access(destination, 0n), '\0'.repeat(8), 'what was to be erased still is');
    await detach(destination);
    t.equal(map(), '00000000' + '0404' + '0000'.repeat(5));
  });

for (const to of [1, 0])
  t.test(`head 0 stays when its migration to head ${String(to)} fails`, needsNative, async (t) => {
    const { machine, map } = startPool(t);
    const source = await machine(0);
    await fill(source);
    const destination = await machine(to, true);
    const before = map();
    const empty = deviceOf(destination).save();
    const [from, into] = [handoverOf(source), handoverOf(destination)];
    const goesOn = async (text: string): Promise<void> => {
      t.equal(map(), before, text);
      t.equal(await capacity(source), FILLED, text);
      t.equal(access(source, 2n * MiB), 'the data', text);
      t.equal(await capacity(destination), ', ', text);
      void deviceOf(destination).load(empty);
    };
    const begin = (): void => {
      into.expect(from.offer());
      void deviceOf(destination).load(deviceOf(source).save());
    };
    into.abandon();
    await goesOn('nothing was begun');
    begin();
    into.abandon();
    await goesOn('loaded');
    begin();
    from.give();
    t.ok(takeBackAll([from]));
    t.throws(() => into.take(), { message: /was not given what it waits for/ });
    into.abandon();
    await goesOn('given');
    begin();
    await destination.run('system_reset');
    t.throws(() => from.give(), { message: /nobody waits/ });
    await goesOn('the destination was reset');
    begin();
    from.give();
    await destination.run('system_reset');
    t.ok(takeBackAll([from]));
    await goesOn('the destination was reset after it was given');
    begin();
    from.give();
    await detach(destination);
    t.ok(takeBackAll([from]));
    t.equal(map(), before);
    await accept(source);
    t.equal(await capacity(source), '0+8 8+4 16+4, ');
    await detach(source);
    t.throws(() => map(), { code: 'ENOENT' }, 'the last one removed the pool');
  });

t.test('what is no head of the same pool is refused', needsNative, async (t) => {
  const { machine } = startPool(t);
  const other = startPool(t);
  const source = await machine(0);
  const destination = await machine(1, true);
  const elsewhere = await other.machine(1, true);
  const offered = handoverOf(source).offer();
  const into = handoverOf(destination);
  t.throws(() => handoverOf(elsewhere).expect(offered), {
    message: /^a head of mhsld state '.*' cannot move to '.*'$/,
  });
  t.throws(() => into.expect({ ...offered, head: 9 }), {
    message: /^mhsld state '.*' has no head 9$/,
  });
  t.throws(() => into.expect({ ...offered, head: 'x' }), { message: /has no head x$/ });
  t.throws(() => into.expect({ ...offered, blocks: 127 }), {
    message: /^mhsld state '.*' has 128 blocks, not 127$/,
  });
  t.throws(() => into.expect({}), { message: /^a head of mhsld state 'undefined'/ });
  await offer(source, 0, 4);
  into.expect(offered);
  const state = deviceOf(source).save();
  await source.run('guest-cxl-respond', { id: 'h', action: 'reject' });
  t.throws(() => void deviceOf(destination).load(state), {
    message: /^saved dynamic capacity cannot be had/,
  });
  into.abandon();
  t.equal(await capacity(destination), ', ');
  const waiting = await machine(0, true);
  t.throws(() => handoverOf(waiting).offer(), {
    message: /^head 0 of mhsld state '.*' is in use$/,
  });
});

t.test('a state that comes by itself makes a head that waits sit down', needsNative, async (t) => {
  const { machine, map } = startPool(t);
  const source = await machine(0);
  await fill(source);
  const state = deviceOf(source).save();
  const destination = await machine(0, true);
  t.throws(() => void deviceOf(destination).load(state), { message: /is in use/ });
  await detach(source);
  void deviceOf(destination).load(state);
  t.equal(map(0, 6), '010101010101');
  t.equal(await capacity(destination), FILLED);
});

/** Two machines with heads of a pool; the second one waits. */
const startHeads = async (t: Test, memory: (machine: string) => string) => {
  const name = poolName(t);
  const words = (machine: string, head: number): string[] => [
    ...CXL_PORTS,
    ...['-object', memory(machine)],
    '-device',
    `cxl-mhsld,id=h,bus=rp0,num-dc-regions=1,volatile-dc-memdev=dc,mhd-state_file=${name},mhd-head=${String(head)},mhd-init=true`,
  ];
  const source = await startMachine(t, words('source', 0));
  const destination = await startMachine(t, [...words('destination', 1), '-incoming', 'defer']);
  await offer(source, 0, 4);
  await accept(source);
  t.equal(access(source, 3n * MiB, 'the data'), 'ok');
  /** @returns the status of the source and what it says of it */
  const migrate = async (): Promise<unknown[]> => {
    const uri = `unix:${privateFolder(t)}/migrate.sock`;
    await destination.run('migrate-incoming', { uri });
    await source.run('migrate', { uri });
    let reply: Record<string, unknown> = {};
    await eventually('the end of the migration', async () => {
      reply = (await source.run('query-migrate')) as Record<string, unknown>;
      return reply['status'] === 'completed' || reply['status'] === 'failed';
    });
    return [reply['status'], reply['error-desc']];
  };
  return { source, destination, migrate, map: () => ownerMasks(name, 0, 3).toString('hex') };
};

t.test('bytes of a private backend go along with the head', needsNative, async (t) => {
  for (const kind of ['ram', 'memfd']) {
    const heads = await startHeads(t, () => `memory-backend-${kind},id=dc,size=256M`);
    const { source, destination, migrate, map } = heads;
    t.strictSame(await migrate(), ['completed', undefined]);
    t.equal(map(), '020200');
    t.equal(access(destination, 3n * MiB), 'the data');
    t.equal(access(source, 3n * MiB), 'unbacked');
  }
});

t.test('a head whose bytes others have too needs the same file', needsNative, async (t) => {
  const folder = privateFolder(t);
  const { source, migrate, map } = await startHeads(
    t,
    (machine) => `memory-backend-file,id=dc,size=256M,mem-path=${folder}/${machine},share=on`,
  );
  t.strictSame(await migrate(), [
    'failed',
    "The destination refused: migration stream: byte 16, frame 0: memory 'dynamic' of /machine/peripheral/h is another object here, and others use it too",
  ]);
  t.equal(map(), '010100');
  t.equal(access(source, 3n * MiB), 'the data');
});

t.test('heads of two pools migrate together, or none of them', needsNative, async (t) => {
  const names = [poolName(t), poolName(t)];
  const words = (head: number): string[] => [
    ...CXL_PORTS,
    ...[0, 1].flatMap((i) => [
      ...['-object', `memory-backend-ram,id=dc${String(i)},size=256M`, '-device'],
      `cxl-mhsld,id=h${String(i)},bus=rp${String(i)},num-dc-regions=1,volatile-dc-memdev=dc${String(i)},mhd-state_file=${names[i] ?? ''},mhd-head=${String(head)},mhd-init=true`,
    ]),
  ];
  const add = (m: TestMachine, id: string): Promise<unknown> =>
    m.run('cxl-add-dynamic-capacity', {
      ...{ path: id, 'host-id': 0n, 'selection-policy': 'prescriptive', region: 0n },
      extents: [{ offset: 0n, len: 4n * MiB }],
    });
  const maps = (): string[] => names.map((name) => ownerMasks(name, 0, 3).toString('hex'));
  const source = await startMachine(t, words(0));
  for (const id of ['h0', 'h1']) await add(source, id);
  const migrate = async (destination: TestMachine): Promise<unknown> => {
    const uri = `unix:${privateFolder(t)}/migrate.sock`;
    await destination.run('migrate-incoming', { uri });
    await source.run('migrate', { uri });
    let status: unknown;
    await eventually('the end of the migration', async () => {
      ({ status } = (await source.run('query-migrate')) as Record<string, unknown>);
      return status === 'completed' || status === 'failed';
    });
    return status;
  };
  const destination = await startMachine(t, [...words(1), '-incoming', 'defer']);
  // Somebody is about to take what the second head has.
  const other = await startMachine(t, [...words(2), '-incoming', 'defer']);
  const [second, rival] = [source, other].map(
    ({ machine }) => machine.devices.find('h1').device.handover,
  );
  rival?.expect(second?.offer() ?? {});
  t.equal(await migrate(destination), 'failed');
  t.strictSame(maps(), ['010100', '010100']);
  rival?.abandon();
  t.equal(await migrate(destination), 'completed');
  t.strictSame(maps(), ['020200', '020200']);
});

import fc from 'fast-check';
import t from 'tap';
import type { Cleanup } from '../../support/daemon.js';
import { startMachine, type TestMachine } from '../../support/machine.js';

interface Window {
  base: bigint;
  size: bigint;
}
interface Found {
  device?: string;
  bus: number;
  slot: number;
  bars: { bar: number; size: bigint; address: bigint; prefetch: boolean; type: string }[];
  bridge?: {
    secondary: number;
    subordinate: number;
    io?: Window;
    memory?: Window;
    prefetch?: Window;
  };
}
interface Answer {
  ecam?: bigint;
  assigned: number;
  functions: Found[];
  unassigned: { bus: number; slot: number; bar?: number; reason: string }[];
}

const GiB = 1n << 30n;
const enumerate = async ({ run }: TestMachine): Promise<Answer> =>
  (await run('guest-enumerate')) as Answer;
const byId = ({ functions }: Answer, id: string): Found => {
  const found = functions.find(({ device }) => device === id);
  if (found === undefined) throw new Error(`${id} was not found`);
  return found;
};
const backends = (...sizes: string[]): string[] =>
  sizes.flatMap((size, i) => [
    '-object',
    `memory-backend-ram,id=m${String(i)},size=${size},share=on`,
  ]);
const devices = (...words: string[]): string[] => words.flatMap((word) => ['-device', word]);
/** What query-pci says the BARs of a device are at. */
const told = async ({ run }: TestMachine, id: string): Promise<bigint[]> => {
  interface Device {
    qdev_id: string;
    regions: { address: bigint }[];
    pci_bridge?: { devices?: Device[] };
  }
  const flat = (list: Device[]): Device[] =>
    list.flatMap((one) => [one, ...flat(one.pci_bridge?.devices ?? [])]);
  const buses = (await run('query-pci')) as { devices: Device[] }[];
  const found = buses.flatMap((bus) => flat(bus.devices)).find((one) => one.qdev_id === id);
  return (found?.regions ?? []).map(({ address }) => address);
};
/** Nothing overlaps, everything behind a bridge is in its windows. */
const checkLayout = (t: { ok(value: unknown, name: string): void }, answer: Answer): void => {
  const all = answer.functions.flatMap(({ bus, slot, bars }) =>
    bars.map((bar) => ({ ...bar, bus, slot })),
  );
  for (const bar of all) {
    const name = `${String(bar.bus)}:${String(bar.slot)} BAR ${String(bar.bar)}`;
    t.ok(bar.address % bar.size === 0n, `${name} is aligned`);
    const clash = all.find(
      (other) =>
        other !== bar &&
        other.type === bar.type &&
        other.address < bar.address + bar.size &&
        bar.address < other.address + other.size,
    );
    t.ok(clash === undefined, `${name} overlaps nothing`);
    const above = answer.functions.find(({ bridge }) => bridge?.secondary === bar.bus)?.bridge;
    if (above === undefined) continue;
    const windows = bar.type === 'io' ? [above.io] : [above.memory, above.prefetch];
    t.ok(
      windows.some(
        (window) =>
          window !== undefined &&
          bar.address >= window.base &&
          bar.address + bar.size <= window.base + window.size,
      ),
      `${name} is in a window`,
    );
  }
};

t.test('pc: BARs below 4 GiB and above, devices on, a second call changes nothing', async (t) => {
  const machine = await startMachine(t, [
    ...['-M', 'pc', ...backends('1M', '8G')],
    ...devices('ivshmem-plain,id=iv,memdev=m0', 'edu,id=e', 'ivshmem-plain,id=big,memdev=m1'),
  ]);
  const first = await enumerate(machine);
  checkLayout(t, first);
  t.strictSame([first.ecam, first.unassigned], [undefined, []]);
  const at = (id: string): bigint[] => byId(first, id).bars.map(({ address }) => address);
  t.ok((at('e')[0] ?? 0n) >= 0x8000_0000n && (at('e')[0] ?? 0n) < 0xfec0_0000n);
  t.ok((at('big')[1] ?? 0n) >= 4n * GiB);
  for (const id of ['iv', 'e', 'big']) {
    t.strictSame(await told(machine, id), at(id), 'as query-pci tells');
    const command = await machine.run('guest-config-read', { id, offset: 4n, size: 2n });
    t.strictSame(command, { value: 6 });
  }
  const { memory } = machine.machine.platform;
  memory.write(at('big')[1] ?? 0n, 4, 7n);
  t.equal(memory.read(at('big')[1] ?? 0n, 4), 7n);
  const second = await enumerate(machine);
  t.strictSame(second, { ...first, assigned: 0 });
  t.ok(first.assigned > 0);
});

const TREE = [
  ...['-M', 'q35', '-nodefaults', ...backends('1M', '1M', '16M', '1M')],
  ...devices(
    'pcie-root-port,id=rp1,chassis=1,slot=1,addr=2',
    'pcie-root-port,id=rp2,chassis=1,slot=2,addr=3',
    'pxb-pcie,id=px,bus_nr=64,addr=4',
    'pcie-root-port,id=rp3,chassis=1,slot=3,bus=px',
    'pcie-pci-bridge,id=pb,bus=rp2',
    'iopmem,id=a,memdev=m0,bus=rp1',
    'ivshmem-plain,id=b,memdev=m1,bus=pb,addr=5',
    'iopmem,id=c,memdev=m2,bus=rp3',
    'edu,id=e,bus=pb,addr=6',
  ),
];
const readPattern = async (machine: TestMachine, id: string): Promise<void> => {
  const address = (await told(machine, id)).at(-1) ?? -1n;
  machine.machine.platform.memory.write(address + 8n, 4, 0xcafen);
  const bar = id === 'b' ? 2n : 4n;
  const { value } = (await machine.run('guest-mmio-read', {
    ...{ id, bar, offset: 8n, size: 4n },
  })) as { value: bigint };
  if (value !== 0xcafen) throw new Error(`${id} is not at ${String(address)}`);
};

t.test('q35: ports, bridges and expanders are numbered and pass memory on', async (t) => {
  const machine = await startMachine(t, TREE);
  const answer = await enumerate(machine);
  checkLayout(t, answer);
  t.strictSame(answer.unassigned, []);
  t.strictSame(
    ['rp1', 'rp2', 'pb', 'rp3'].map((id) => {
      const { secondary, subordinate } = byId(answer, id).bridge ?? {};
      return [secondary, subordinate];
    }),
    [
      [1, 1],
      [2, 3],
      [3, 3],
      [65, 65],
    ],
  );
  t.strictSame(
    ['a', 'b', 'c', 'e'].map((id) => byId(answer, id).bus),
    [1, 3, 65, 3],
  );
  for (const id of ['a', 'b', 'c']) await readPattern(machine, id);
  t.equal(answer.ecam, 0xb000_0000n);
  t.equal(machine.machine.platform.memory.read(0xb000_0000n, 4), 0x29c08086n);
  t.strictSame(await enumerate(machine), { ...answer, assigned: 0 });
});

t.test('after a reset of the machine everything comes back to the same place', async (t) => {
  const machine = await startMachine(t, TREE);
  const answer = await enumerate(machine);
  machine.machine.reset();
  t.strictSame(await told(machine, 'a'), []);
  t.strictSame(await enumerate(machine), answer);
});

t.test('what is added behind an open window is found by the next call', async (t) => {
  const machine = await startMachine(t, [
    ...['-M', 'q35', '-nodefaults', ...backends('1M', '1G', '64G')],
    ...devices(
      'pcie-root-port,id=rp1,chassis=1,slot=1',
      'pcie-root-port,id=rp2,chassis=1,slot=2',
      'ivshmem-plain,id=iv,memdev=m0',
    ),
  ]);
  const before = await enumerate(machine);
  await machine.run('device_add', { driver: 'iopmem', id: 'hot', memdev: 'm1', bus: 'rp1' });
  await machine.run('device_add', { driver: 'iopmem', id: 'huge', memdev: 'm2', bus: 'rp2' });
  const after = await enumerate(machine);
  checkLayout(t, after);
  t.equal(after.assigned, 1);
  t.strictSame(byId(after, 'iv'), byId(before, 'iv'), 'others stay where they are');
  t.strictSame(byId(after, 'rp1'), byId(before, 'rp1'));
  await readPattern(machine, 'hot');
  t.strictSame(
    after.unassigned.map(({ bar, reason }) => [bar, reason]),
    [[4, 'no room for the 68719476736 bytes of BAR 4 in prefetchable memory above 4 GiB']],
  );
  const command = await machine.run('guest-config-read', { id: 'huge', offset: 4n, size: 2n });
  t.strictSame(command, { value: 0 }, 'it is not switched on');
});

t.test('a port that asks for room gets it', async (t) => {
  const machine = await startMachine(t, [
    ...['-M', 'q35', '-nodefaults', ...backends('64G')],
    ...devices(
      'pcie-root-port,id=rp1,chassis=1,pref64-reserve=64G,bus-reserve=3,io-reserve=4K,mem-reserve=8M',
      'pcie-root-port,id=rp2,chassis=1,slot=2',
    ),
  ]);
  const { bridge } = byId(await enumerate(machine), 'rp1');
  t.match(bridge, { secondary: 1, subordinate: 4 });
  t.strictSame(
    [bridge?.io?.size, bridge?.memory?.size, bridge?.prefetch?.size],
    [0x1000n, 8n << 20n, 64n * GiB],
  );
  await machine.run('device_add', { driver: 'iopmem', id: 'huge', memdev: 'm0', bus: 'rp1' });
  t.strictSame((await enumerate(machine)).unassigned, []);
  await readPattern(machine, 'huge');
});

t.test('what a driver has placed stays there', async (t) => {
  const machine = await startMachine(t, [
    ...['-M', 'q35', '-nodefaults', ...backends('1M'), ...devices('edu,id=e,addr=5')],
    ...devices('ivshmem-plain,id=iv,memdev=m0,addr=6'),
  ]);
  machine.config.write(0, 5, 0, 0x10, 0xc000_0000);
  machine.config.write(0, 5, 0, 0x04, 2, 2);
  const answer = await enumerate(machine);
  t.equal(byId(answer, 'e').bars[0]?.address, 0xc000_0000n);
  checkLayout(t, answer);
});

t.test('memory that runs out is told, function by function', async (t) => {
  const machine = await startMachine(t, [
    ...['-M', 'q35', '-nodefaults'],
    ...devices(
      'pxb-pcie,id=p1,bus_nr=1',
      'pxb-pcie,id=p2,bus_nr=2,bus=pcie.0',
      'pcie-root-port,id=r,bus=p1',
    ),
    ...Array.from({ length: 20 }, (_, i) => [
      '-device',
      `dynamic-mdevice,id=d${String(i)},bus=pcie.0,size=32T,align=4K,mem-path=/dev/zero`,
    ]).flat(),
  ]);
  const answer = await enumerate(machine);
  checkLayout(t, answer);
  const reasons = answer.unassigned.map(({ reason }) => reason);
  t.equal(reasons[0], 'no bus number is free', 'bus 1 has no number below 2');
  t.equal(reasons.filter((reason) => reason.includes('35184372088832 bytes of BAR 2')).length, 13);
});

t.test('INTx reaches its input behind bridges, on pc by the router', async (t) => {
  const bridged = async (t: Cleanup, kind: string): Promise<[number, boolean][]> => {
    const machine = await startMachine(t, [
      ...['-M', kind, '-nodefaults'],
      ...devices('pci-bridge,id=br,chassis_nr=1,addr=4', 'edu,id=e,bus=br,addr=6'),
    ]);
    await enumerate(machine);
    const { platform } = machine.machine;
    const seen: [number, boolean][] = [];
    platform.interrupts.onChange((input, level) => seen.push([input, level]));
    const base = (await told(machine, 'e'))[0] ?? 0n;
    platform.memory.write(base + 0x60n, 4, 1n);
    return seen;
  };
  // INTA of slot 6 is pin 2 of the bridge in slot 4: PIRQ 4 + (4 + 2) % 4, and (4 - 1 + 2) % 4.
  t.strictSame(await bridged(t, 'q35'), [
    [22, true],
    [11, true],
  ]);
  t.strictSame(await bridged(t, 'pc'), [[10, true]]);
});

t.test('room for memory modules is left alone; without PCI there is nothing to do', async (t) => {
  const machine = await startMachine(t, [
    ...['-M', 'q35', '-nodefaults', '-m', '1G,slots=2,maxmem=100G', ...backends('1M')],
    ...devices('ivshmem-plain,id=iv,memdev=m0'),
  ]);
  t.ok((byId(await enumerate(machine), 'iv').bars[1]?.address ?? 0n) >= 105n * GiB);
  const none = await startMachine(t, ['-M', 'none']);
  await t.rejects(none.run('guest-enumerate'), /The machine has no PCI host/);
});

t.test('switches are numbered depth first', async (t) => {
  const machine = await startMachine(t, [
    ...['-M', 'q35,cxl=on', '-nodefaults', ...backends('256M', '256M')],
    ...devices(
      'pxb-cxl,id=px,bus_nr=12,bus=pcie.0',
      'cxl-rp,id=rp,bus=px,chassis=1,slot=1',
      'cxl-upstream,id=us,bus=rp',
      'cxl-downstream,id=d0,bus=us,chassis=1,slot=2,port=0',
      'cxl-downstream,id=d1,bus=us,chassis=1,slot=3,port=1',
      'cxl-type3,id=t0,bus=d0,volatile-memdev=m0',
      'cxl-type3,id=t1,bus=d1,volatile-memdev=m1',
    ),
  ]);
  const answer = await enumerate(machine);
  checkLayout(t, answer);
  t.strictSame(answer.unassigned, []);
  t.strictSame(
    ['rp', 'us', 'd0', 'd1'].map((id) => {
      const { secondary, subordinate } = byId(answer, id).bridge ?? {};
      return [secondary, subordinate];
    }),
    [
      [13, 16],
      [14, 16],
      [15, 15],
      [16, 16],
    ],
  );
  t.strictSame([byId(answer, 't0').bus, byId(answer, 't1').bus], [15, 16]);
  t.strictSame(await enumerate(machine), { ...answer, assigned: 0 });
});

t.test('whatever software has left in the registers, the result is sound', async (t) => {
  const machine = await startMachine(t, TREE);
  const access = fc.record({
    id: fc.constantFrom('rp1', 'rp2', 'rp3', 'pb', 'a', 'b', 'c', 'e'),
    offset: fc.nat({ max: 15 }).map((dword) => BigInt(4 * dword)),
    value: fc.nat({ max: 0xffff_ffff }).map(BigInt),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(access, { maxLength: 24 }), async (accesses) => {
      for (const one of accesses) await machine.run('guest-config-write', { ...one, size: 4n });
      const answer = await enumerate(machine);
      const problems: string[] = [];
      checkLayout({ ok: (value, name) => void (value || problems.push(name)) }, answer);
      if (problems.length > 0) throw new Error(problems.join('; '));
      const again = await enumerate(machine);
      if (again.assigned !== 0 && answer.unassigned.length === 0)
        throw new Error('a second call finds something to do');
    }),
    { numRuns: 150 },
  );
});

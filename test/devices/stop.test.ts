import fc from 'fast-check';
import t from 'tap';
import type { DeviceState } from '../../devices/core/device.js';
import type { AccessSize } from '../../devices/core/host-memory.js';
import { dpa } from '../../devices/cxl/addresses.js';
import { asCxlMemoryTarget } from '../../devices/cxl/memory-target.js';
import { userDeviceTypes } from '../../devices/index.js';
import type { PciFunction } from '../../devices/pci/function.js';
import { CONFIG } from '../../devices/pci/registers.js';
import type { DeviceEntry } from '../../server/machine/device-entry.js';
import { eventually } from '../support/daemon.js';
import type { Json } from '../side-by-side/client.js';
import { DUT, machineWith, RECIPE_TYPES } from '../support/every-device.js';
import type { TestMachine } from '../support/machine.js';
import { needsNative } from '../support/mdevice.js';

/** One write of software: to configuration space, or to the registers of a BAR. */
interface Write {
  readonly place: number;
  readonly offset: number;
  readonly size: AccessSize;
  readonly value: bigint;
}

const offsets = fc.oneof(fc.nat(0x80), fc.nat(0x400), fc.nat(0xfff), fc.nat(0xffff));
const writes: fc.Arbitrary<Write> = fc.record({
  place: fc.nat(7),
  offset: offsets,
  size: fc.constantFrom<AccessSize>(1, 2, 4, 4, 4, 8),
  value: fc.oneof(fc.bigInt({ min: 0n, max: 8n }), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n })),
});

const dut = ({ machine }: TestMachine): DeviceEntry => machine.devices.find(DUT);

/** Where a device has registers in no BAR. */
const PORTS: Readonly<Record<string, bigint>> = { 'isa-serial': 0x3f8n };

/** Registers only: memory of a stopped device takes no writes that its twin would take. */
const apply = (own: TestMachine, write: Write): void => {
  const { pci, type } = dut(own);
  const ports = PORTS[type.name];
  const { io } = own.machine.platform;
  if (ports !== undefined)
    io.write(ports + BigInt(write.offset % 8), 1, BigInt.asUintN(8, write.value));
  if (pci !== undefined) applyTo(pci.pci, write);
};
const applyTo = (fn: PciFunction, { place, offset, size, value }: Write): void => {
  const bar = fn.bars[place % (fn.bars.length + 1)];
  const at = offset - (offset % size);
  if (bar === undefined) {
    const width = size === 8 ? 4 : size;
    const inside = (offset - (offset % width)) % fn.config.size;
    // The BARs must stay reachable.
    if (inside < CONFIG.COMMAND + 2 && inside + width > CONFIG.COMMAND) return;
    fn.writeConfig(inside, width, Number(BigInt.asUintN(8 * width, value)));
    return;
  }
  const inside = at % Number(bar.size);
  if (bar.region.section(BigInt(inside), 1n).region?.kind !== 'mmio') return;
  fn.writeBar(bar.index, inside, size, BigInt.asUintN(8 * size, value));
};

/** All that makes a device: what is saved, and what became of its interrupts. */
const stateOf = ({ device, pci }: DeviceEntry): DeviceState => ({
  saved: device.save(),
  interrupts: JSON.stringify(pci?.pci.interrupts() ?? []),
});

const readEverything = (own: TestMachine): void => {
  const { pci, type } = dut(own);
  const ports = PORTS[type.name];
  for (let at = 0n; ports !== undefined && at < 8n; at++)
    own.machine.platform.io.read(ports + at, 1);
  if (pci !== undefined) readFunction(pci.pci);
};
const readFunction = (fn: PciFunction): void => {
  for (let at = 0; at < fn.config.size; at += 4) fn.readConfig(at, 4);
  for (const { index, size } of fn.bars)
    for (let at = 0; at < Math.min(Number(size), 0x2000); at += 4) {
      fn.readBar(index, at, 4);
      fn.readBar(index, at & ~7, 8);
    }
};

/** What makes memory reachable where a device does not start with it. */
const ATTACH: Readonly<Record<string, readonly (readonly [string, Record<string, Json>])[]>> = {
  'cxl-mhsld': [
    [
      'cxl-add-dynamic-capacity',
      {
        ...{ path: DUT, 'host-id': 0n, 'selection-policy': 'prescriptive', region: 0n },
        extents: [{ offset: 0n, len: 2n << 20n }],
      },
    ],
    ['guest-cxl-respond', { id: DUT, action: 'accept' }],
  ],
  'dynamic-mdevice': [['mem-attach', { id: DUT, size: 8192n, offset: 0n }]],
  'virtio-mem-pci': [['guest-memory-resize', { id: DUT, size: 1n << 26n }]],
};

/** Ready to be used, as firmware and driver leave it. */
const inUse = async (t: Parameters<typeof machineWith>[0], type: string) => {
  const started = await machineWith(t, type);
  if (dut(started).pci !== undefined) await started.run('guest-enumerate');
  for (const [command, values] of ATTACH[type] ?? [])
    await started.run(command, structuredClone(values));
  return started;
};

/** Writes to memory of the device in every way that software has. */
const poke = async ({ machine, run }: TestMachine, bytes: Uint8Array): Promise<void> => {
  const { device, pci } = machine.devices.find(DUT);
  for (const { index, region } of pci?.pci.bars ?? [])
    if (region.section(0n, 1n).region?.kind === 'ram') pci?.pci.writeBarBytes(index, 0, bytes);
  const modules = (await run('query-memory-devices')) as {
    data: { addr?: bigint; memaddr?: bigint };
  }[];
  for (const { data } of modules)
    machine.platform.memory.writeBytes(data.addr ?? data.memaddr ?? 0n, bytes);
  asCxlMemoryTarget(device)?.writeDpa(dpa(0n), bytes);
};
/** The first bytes of each piece of memory. */
const contents = ({ memories }: DeviceEntry): string[] =>
  memories.list.map(({ name, memory }) => {
    const bytes = new Uint8Array(64);
    memory.read(0n, bytes);
    return `${name} ${Buffer.from(bytes).toString('hex')}`;
  });

t.test('every type that users can create is stopped here', (t) => {
  const types = userDeviceTypes.filter(
    ({ abstract, userCreatable }) => abstract !== true && userCreatable !== false,
  );
  t.strictSame([...RECIPE_TYPES].sort(), types.map(({ name }) => name).sort());
  t.end();
});

const show = (state: DeviceState): string =>
  JSON.stringify(state, (_key, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );

for (const type of RECIPE_TYPES) {
  t.test(`${type}: nothing changes while it is stopped`, needsNative, async (t) => {
    const own = await inUse(t, type);
    const twin = await inUse(t, type);
    const entry = dut(own);
    for (const write of fc.sample(writes, { seed: 2, numRuns: 300 }))
      for (const one of [own, twin]) apply(one, write);
    await eventually('both are the same', () => show(stateOf(entry)) === show(stateOf(dut(twin))));
    const before = stateOf(entry);

    const go = entry.activity.hold();
    readEverything(own);
    t.strictSame(stateOf(entry), before, 'reads leave no trace');
    const sample = fc.sample(writes, { seed: 1, numRuns: 300 });
    for (const write of sample) apply(own, write);
    t.strictSame(stateOf(entry), before, 'writes wait');
    const hasRegisters = entry.pci !== undefined || type in PORTS;
    t.equal(entry.activity.latch.latched > 0, hasRegisters);
    if (entry.pci !== undefined)
      t.equal(entry.pci.pci.dma.write(0x1000n, Uint8Array.of(1)), false, 'no DMA');
    for (const write of sample) apply(twin, write);
    go();
    t.equal(entry.activity.latch.latched, 0);
    await eventually('both are the same', () => show(stateOf(entry)) === show(stateOf(dut(twin))));
    t.strictSame(stateOf(entry), stateOf(dut(twin)), 'what waited was done, in order');
  });

  t.test(`${type}: its memory stays while it is stopped`, needsNative, async (t) => {
    const own = await inUse(t, type);
    const entry = dut(own);
    await poke(own, Uint8Array.of(1, 2, 3, 4));
    const before = contents(entry);
    const go = entry.activity.hold();
    await poke(own, Uint8Array.of(5, 6, 7, 8));
    t.strictSame(contents(entry), before);
    go();
    t.strictSame(contents(entry), before, 'such writes do not wait');
    await poke(own, Uint8Array.of(5, 6, 7, 8));
    if (before.length > 0) t.notSame(contents(entry), before, 'the way is the right one');
  });
}

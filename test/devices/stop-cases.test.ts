import t from 'tap';
import type { PciFunction } from '../../devices/pci/function.js';
import { CAPABILITY, COMMAND, CONFIG } from '../../devices/pci/registers.js';
import type { DeviceEntry } from '../../server/machine/device-entry.js';
import { eventually } from '../support/daemon.js';
import { DUT, machineWith } from '../support/every-device.js';
import { startMachine, type TestMachine } from '../support/machine.js';
import { needsNative } from '../support/mdevice.js';

// What the guest side and clients see of a stopped device: the table of docs/device-state.md.

const MS = 1_000_000n;
const STOPPED = { message: "device 'dut' is stopped" };

/** A machine with the device, which is in use; and the function of the device. */
const inUse = async (
  t: Parameters<typeof machineWith>[0],
  type: string,
  more: readonly string[] = [],
): Promise<{ own: TestMachine; entry: DeviceEntry; fn: PciFunction }> => {
  const own = await machineWith(t, type, more);
  const entry = own.machine.devices.find(DUT);
  const fn = entry.pci?.pci;
  if (fn === undefined) throw new Error(`${type} is no PCI device`);
  await own.run('guest-enumerate');
  return { own, entry, fn };
};
/** Turns of the event loop, for work that follows a reply. */
const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};
const dword = ({ machine }: TestMachine, address: bigint): bigint =>
  machine.platform.memory.read(address, 4);

const EDU = { FACTORIAL: 8, STATUS: 0x20, REASONS: 0x24, ACKNOWLEDGE: 0x64 } as const;
const DMA = { SOURCE: 0x80, DESTINATION: 0x88, COUNT: 0x90, COMMAND: 0x98 } as const;
const TARGET = 0x10_0000n;

t.test('DMA in flight stops, and ends after the time that was left', needsNative, async (t) => {
  const { own, entry, fn } = await inUse(t, 'edu');
  const { clock } = own.machine;
  own.machine.platform.memory.write(TARGET, 4, 0x1234n);
  fn.writeBar(0, DMA.SOURCE, 8, 0x40000n);
  fn.writeBar(0, DMA.DESTINATION, 8, TARGET);
  fn.writeBar(0, DMA.COUNT, 8, 4n);
  fn.writeBar(0, DMA.COMMAND, 8, 3n);
  clock.advance(clock.now() + 60n * MS);
  const go = entry.activity.hold();
  clock.advance(clock.now() + 1000n * MS);
  t.equal(dword(own, TARGET), 0x1234n);
  t.equal(fn.readBar(0, DMA.COMMAND, 8), 3n, 'the transfer is under way');
  const told: bigint[] = [];
  fn.onDmaWrite((address) => told.push(address));
  go();
  clock.advance(clock.now() + 39n * MS);
  t.equal(dword(own, TARGET), 0x1234n);
  clock.advance(clock.now() + 1n * MS);
  t.equal(dword(own, TARGET), 0n);
  t.strictSame(told, [TARGET]);
});

t.test('a door bell rung in STOP is answered afterwards', needsNative, async (t) => {
  const { entry, fn } = await inUse(t, 'edu');
  fn.writeBar(0, EDU.STATUS, 4, 0x80n);
  const go = entry.activity.hold();
  fn.writeBar(0, EDU.FACTORIAL, 4, 5n);
  t.strictSame([fn.readBar(0, EDU.FACTORIAL, 4), fn.readBar(0, EDU.REASONS, 4)], [0n, 0n]);
  const count = (): unknown => fn.interrupts()[0]?.vectors;
  const before = count();
  go();
  t.strictSame([fn.readBar(0, EDU.FACTORIAL, 4), fn.readBar(0, EDU.REASONS, 4)], [120n, 1n]);
  t.notSame(count(), before, 'and interrupts');
});

t.test('an attach waits; commands of the driver are refused', needsNative, async (t) => {
  const { own, entry, fn } = await inUse(t, 'dynamic-mdevice');
  await own.run('mem-attach', { id: DUT, size: 4096n, offset: 0n });
  fn.writeBar(0, 4, 4, 0x3fn);
  const go = entry.activity.hold();
  await t.rejects(own.run('mem-attach', { id: DUT, size: 4096n, offset: 4096n }), STOPPED);
  await t.rejects(own.run('mem-detach', { id: DUT }), STOPPED);
  t.match(await own.run('query-mem-attachments', { id: DUT }), [{ size: 4096n }]);
  t.equal(fn.readBar(2, 8192, 4), 0n, 'a hole');
  fn.writeBar(0, 0x18, 8, 4096n);
  fn.writeBar(0, 0x20, 8, 4096n);
  fn.writeBar(0, 8, 4, 0x8000_0001n);
  fn.writeBar(2, 4096, 4, 0x77n);
  t.equal(fn.readBar(0, 4, 4), 0n, 'no event of the hole, none of the attach');
  t.equal(own.events.filter(({ name }) => name === 'MEM_ATTACHED').length, 1);
  go();
  t.equal(fn.readBar(0, 4, 4), 1n);
  t.equal(own.events.filter(({ name }) => name === 'MEM_ATTACHED').length, 2);
  t.equal(fn.readBar(2, 4096, 4), 0x77n, 'what was written behind it found the new memory');
});

t.test('interrupt status that reading clears stands', needsNative, async (t) => {
  const { entry, fn } = await inUse(t, 'ivshmem-plain');
  fn.writeBar(0, 4, 4, 5n);
  const go = entry.activity.hold();
  t.strictSame([fn.readBar(0, 4, 4), fn.readBar(0, 4, 4)], [5n, 5n]);
  go();
  t.strictSame([fn.readBar(0, 4, 4), fn.readBar(0, 4, 4)], [5n, 0n]);
});

t.test('properties and plugged memory stay', needsNative, async (t) => {
  const { own, entry } = await inUse(t, 'virtio-mem-pci');
  const requested = { path: DUT, property: 'requested-size' };
  const go = entry.activity.hold();
  await t.rejects(own.run('qom-set', { ...requested, value: 0n }), STOPPED);
  await t.rejects(own.run('guest-memory-resize', { id: DUT, size: 0n }), STOPPED);
  t.equal(await own.run('qom-get', requested), 1n << 26n);
  go();
  await own.run('qom-set', { ...requested, value: 0n });
  t.equal(await own.run('qom-get', requested), 0n);
});

const MAILBOX = { CTRL: 4, COMMAND: 8, STATUS: 0x10, PAYLOAD: 0x20 } as const;
/** Where the mailbox of a type 3 device begins. */
const mailboxOf = (fn: PciFunction): number => Number(fn.readBar(2, 0x20 + 4, 4));

t.test('the mailbox of a memory device does nothing', needsNative, async (t) => {
  const { own, entry, fn } = await inUse(t, 'cxl-type3');
  const at = mailboxOf(fn);
  const path = DUT;
  const go = entry.activity.hold();
  fn.writeBar(2, at + MAILBOX.COMMAND, 8, 0x4000n);
  fn.writeBar(2, at + MAILBOX.CTRL, 4, 1n);
  t.equal(fn.readBar(2, at + MAILBOX.COMMAND, 8), 0n);
  await t.rejects(own.run('guest-cxl-mailbox', { id: DUT, opcode: 0x4000n }), STOPPED);
  await t.rejects(own.run('cxl-add-dynamic-capacity', offer()), STOPPED);
  await t.rejects(own.run('cxl-inject-poison', { path, start: 0n, length: 64n }), STOPPED);
  t.strictSame(await own.run('query-cxl-dynamic-capacity', { path }).then(shownPending), [[]]);
  go();
  t.equal(fn.readBar(2, at + MAILBOX.COMMAND, 8) >> 16n, 0x45n, 'identify has been answered');
  await own.run('cxl-add-dynamic-capacity', offer());
  t.equal((await own.run('query-cxl-dynamic-capacity', { path }).then(shownPending)).length, 1);
});
const offer = () => ({
  ...{ path: DUT, 'host-id': 0n, 'selection-policy': 'prescriptive', region: 0n },
  extents: [{ offset: 0n, len: 2n << 20n }],
});
const shownPending = (shown: unknown): unknown[] =>
  (shown as { pending: unknown[] }[]).map(({ pending }) => pending);

t.test('a background operation goes on where it stood', needsNative, async (t) => {
  const { own, entry, fn } = await inUse(t, 'cxl-type3');
  const { clock } = own.machine;
  const at = mailboxOf(fn);
  const percent = (): bigint => (fn.readBar(2, at + 0x18, 8) >> 16n) & 0x7fn;
  fn.writeBar(2, at + MAILBOX.COMMAND, 8, 0x4400n);
  fn.writeBar(2, at + MAILBOX.CTRL, 4, 1n);
  clock.advance(clock.now() + 2000n * MS);
  const reached = percent();
  t.ok(reached > 0n && reached < 100n);
  const go = entry.activity.hold();
  clock.advance(clock.now() + 3_600_000n * MS);
  t.equal(percent(), reached);
  go();
  clock.advance(clock.now() + 1000n * MS);
  t.ok(percent() > reached && percent() < 100n);
});

t.test('drivers for the guest answer when the device goes on', needsNative, async (t) => {
  const { own, entry } = await inUse(t, 'cxl-type3');
  const accepted = async (): Promise<number> => {
    const [info] = (await own.run('query-cxl-dynamic-capacity')) as { accepted: unknown[] }[];
    return info?.accepted.length ?? -1;
  };
  await own.run('cxl-add-dynamic-capacity', offer());
  const go = entry.activity.hold();
  for (const value of ['reject', 'accept'])
    await own.run('qom-set', { path: '/machine', property: 'guest-policy', value });
  await settle();
  t.equal(await accepted(), 0);
  go();
  await settle();
  t.equal(await accepted(), 1);
});

/** Slot control: power, its indicator is on, attention is off. */
const POWERED = 0x1c0;
const NATIVE_HOTPLUG = ['-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'];

t.test('a port that is stopped takes and gives no device', needsNative, async (t) => {
  const { own, entry, fn } = await inUse(t, 'pcie-root-port', NATIVE_HOTPLUG);
  const added = { driver: 'pcie-pci-bridge', id: 'e', bus: DUT };
  let go = entry.activity.hold();
  await t.rejects(own.run('device_add', { ...added }), STOPPED);
  go();
  await own.run('device_add', { ...added });
  const slotControl = (fn.findCapability(CAPABILITY.EXPRESS) ?? 0) + 0x18;
  fn.writeConfig(slotControl, 2, POWERED);
  go = entry.activity.hold();
  await t.rejects(own.run('device_del', { id: 'e' }), STOPPED);
  await t.rejects(own.run('device-yank', { id: 'e' }), STOPPED);
  go();
  await own.run('device_del', { id: 'e' });
  const before = entry.device.save();
  go = entry.activity.hold();
  await own.run('guest-eject', { id: 'e' });
  t.strictSame(entry.device.save(), before);
  t.equal(own.machine.devices.has('e'), true);
  go();
  t.equal(own.machine.devices.has('e'), false, 'the guest let go of it');
});

t.test('registers outside every BAR stand still, too', needsNative, async (t) => {
  const own = await machineWith(t, 'pxb-cxl');
  const { activity } = own.machine.devices.find(DUT);
  const { memory } = own.machine.platform;
  const [base, size] = [DECODER, DECODER + 8n];
  memory.write(base, 4, 0x1000_0000n);
  const go = activity.hold();
  memory.write(base, 4, 0x2000_0000n);
  memory.write(size, 4, 0x3000_0000n);
  t.strictSame([memory.read(base, 4), memory.read(size, 4)], [0x1000_0000n, 0n]);
  t.equal(activity.latch.latched, 2);
  go();
  t.strictSame([memory.read(base, 4), memory.read(size, 4)], [0x2000_0000n, 0x3000_0000n]);
});
/** Base of the first decoder of the first host bridge: behind RAM, which ends below 4 GiB. */
const DECODER = 0x1_0000_0000n + 0x1000n + 0x128n + 0x10n;

for (const yanked of [false, true])
  t.test(`a stopped device can be ${yanked ? 'yanked' : 'taken away'}`, needsNative, async (t) => {
    const own = await startMachine(t, ['-M', 'pc', '-nodefaults', '-device', 'edu,id=dut']);
    const { activity, pci } = own.machine.devices.find(DUT);
    const go = activity.hold();
    pci?.pci.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
    await own.run(yanked ? 'device-yank' : 'device_del', { id: DUT });
    if (!yanked) await own.run('guest-eject', { id: DUT });
    t.strictSame([own.machine.devices.has(DUT), activity.latch.latched], [false, 0]);
    go();
  });

t.test('firmware does not place what is stopped', needsNative, async (t) => {
  const { own, entry } = await inUse(t, 'edu');
  const go = entry.activity.hold();
  await t.rejects(own.run('guest-enumerate'), STOPPED);
  go();
  await own.run('guest-enumerate');
});

t.test('a vector unmasked in STOP sends its message afterwards', needsNative, async (t) => {
  const { own, entry, fn } = await inUse(t, 'ivshmem-doorbell');
  const { machine } = own;
  fn.writeConfig(0x42, 2, 0x8000);
  fn.writeBar(1, 0, 8, TARGET);
  fn.writeBar(1, 8, 4, 0xcafen);
  await eventually('the device hears its own ring', () => {
    fn.writeBar(0, 12, 4, 0n);
    return fn.readBar(1, 0x800, 4) !== 0n;
  });
  t.equal(fn.readBar(1, 0x800, 4), 1n, 'pending');
  const go = entry.activity.hold();
  fn.writeBar(1, 12, 4, 0n);
  t.strictSame([fn.readBar(1, 0x800, 4), dword(own, TARGET)], [1n, 0n]);
  go();
  t.strictSame([fn.readBar(1, 0x800, 4), machine.platform.memory.read(TARGET, 4)], [0n, 0xcafen]);
});

t.test('--limit state-latched: what waits, and what does not', needsNative, async (t) => {
  const { own, fn } = await inUse(t, 'edu', ['--limit', 'state-latched=2']);
  const liveness = (value: bigint) =>
    own.run('guest-mmio-write', { id: DUT, bar: 0n, offset: 4n, size: 4n, value });
  const waiting = async (): Promise<unknown> => {
    const [info] = (await own.run('query-device-state', { id: DUT })) as Record<string, unknown>[];
    return [info?.['latched'], info?.['dropped']];
  };
  await own.run('device-state-set', { id: DUT, state: 'stop' });
  await liveness(1n);
  await own.run('guest-config-write', { id: DUT, offset: 0x3cn, size: 1n, value: 7n });
  t.strictSame(await waiting(), [2, 0]);
  await liveness(2n);
  t.strictSame(await waiting(), [2, 1]);
  await own.run('device-state-set', { id: DUT, state: 'running' });
  t.strictSame(await waiting(), [0, 1]);
  t.equal(fn.readBar(0, 4, 4), 0xffff_fffen, 'the complement of 1');
  t.equal(fn.readConfig(CONFIG.INTERRUPT_LINE, 1), 7);
});

t.test('a function reset that waited comes in its place', needsNative, async (t) => {
  const { own, entry, fn } = await inUse(t, 'cxl-upstream');
  const control = (fn.findCapability(CAPABILITY.EXPRESS) ?? 0) + 8;
  await own.run('device-state-set', { id: DUT, state: 'stop' });
  fn.writeConfig(CONFIG.CACHE_LINE_SIZE, 1, 5);
  fn.writeConfig(control, 2, 0x8000);
  fn.writeConfig(CONFIG.INTERRUPT_LINE, 1, 9);
  await own.run('device-state-set', { id: DUT, state: 'running-logging' });
  t.strictSame(
    [CONFIG.CACHE_LINE_SIZE, CONFIG.INTERRUPT_LINE].map((at) => fn.readConfig(at, 1)),
    [0, 9],
  );
  t.match(await own.run('query-device-state', { id: DUT }), [{ state: 'running', latched: 0 }]);
  t.strictSame([entry.activity.stopped, entry.activity.latch.latched], [false, 0]);
  const changes = own.events.filter(({ name }) => name === 'DEVICE_STATE_CHANGED');
  t.match(
    changes.map(({ data }) => data),
    [
      { from: 'running', to: 'stop' },
      { from: 'stop', to: 'running-logging' },
      { from: 'running-logging', to: 'running' },
    ],
  );
});

t.test('what is behind a stopped port works', needsNative, async (t) => {
  const own = await startMachine(t, [
    ...['-M', 'q35', '-nodefaults', '-object', 'memory-backend-ram,id=m,size=1M'],
    ...['-device', 'pcie-root-port,id=dut', '-device', 'iopmem,id=behind,memdev=m,bus=dut'],
  ]);
  await own.run('guest-enumerate');
  const { memory } = own.machine.platform;
  const bar = own.machine.devices.find('behind').pci?.pci.bars[0]?.address ?? -1n;
  const go = own.machine.devices.find(DUT).activity.hold();
  memory.write(bar, 4, 0x1234n);
  t.equal(memory.read(bar, 4), 0x1234n);
  go();
});

for (const type of ['edu', 'pc-dimm'])
  t.test(`a reset of the machine ends STOP of ${type}`, needsNative, async (t) => {
    const own = await machineWith(t, type);
    const { activity, pci } = own.machine.devices.find(DUT);
    const go = activity.hold();
    let resets = 0;
    activity.onReset(() => {
      resets++;
      go();
    });
    pci?.pci.writeConfig(CONFIG.INTERRUPT_LINE, 1, 7);
    await own.run('system_reset');
    t.strictSame([resets, activity.stopped, activity.latch.latched], [1, false, 0]);
    if (pci !== undefined) t.equal(pci.pci.readConfig(CONFIG.INTERRUPT_LINE, 1), 0);
  });

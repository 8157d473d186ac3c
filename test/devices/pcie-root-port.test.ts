import t from 'tap';
import { pcieRootPort } from '../../devices/pcie-root-port/index.js';
import type { PciDevice } from '../../devices/pci/function.js';
import { FakeEndpoint, TestBoard } from '../support/test-board.js';

const NATIVE = { 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support': 'off' };
const PORT = 0x10;
/** Slot control in the low half, slot status in the high half. */
const SLOT = 0x6c;
const STATUS = 0x6e;

const nativePort = (
  values: Record<string, unknown> = {},
  child?: FakeEndpoint,
): { board: TestBoard; port: PciDevice } => {
  const board = new TestBoard('q35', { globals: NATIVE });
  const port = board.plug(board.create(pcieRootPort, 'rp', { chassis: 1, slot: 1, ...values }), {
    addr: PORT,
  });
  if (child !== undefined) board.plug(child, { bus: port.secondaryBus! });
  board.start();
  board.setConfig(PORT, 0x18, 0x01_0100);
  return { board, port };
};
const unplug = ({ pci }: PciDevice, name: string): void =>
  pci.bus?.hotplug?.unplugRequest(pci, name);

t.test('a populated slot starts with power and presence (vector 12)', async (t) => {
  const { board } = nativePort({}, new FakeEndpoint('iv1'));
  t.equal(board.config(PORT, 0x34, 1), 0x54, 'PCI Express is first in the list');
  t.equal(board.config(PORT, 0x68), 0x000a_007b);
  t.equal(board.config(PORT, SLOT), 0x0040_03c0);
  t.equal(board.config(PORT, 0x66, 2), 0x2204, 'link active at 16 GT/s and 32 lanes');
  t.equal(board.config(0x100, 0), 0x11e8_1234);
});

t.test('unplug waits until the guest switches the slot off (vector 13)', async (t) => {
  const iv1 = new FakeEndpoint('iv1');
  const { board } = nativePort({}, iv1);
  board.setConfig(PORT, SLOT, 0x01e9, 2);
  unplug(iv1, 'iv1');
  t.equal(board.config(PORT, STATUS, 2) & 1, 1, 'attention button');
  t.throws(() => unplug(iv1, 'iv1'), {
    message: 'Device iv1 is already in the process of unplug',
  });
  t.equal(board.config(0x100, 0), 0x11e8_1234);
  board.reset();
  t.strictSame(board.removed, [], 'a system reset does not take it away');
  board.setConfig(PORT, 0x18, 0x01_0100);
  board.setConfig(PORT, SLOT, 0x01e9, 2);
  board.setConfig(PORT, SLOT, 0x07e9, 2);
  t.strictSame(board.removed, ['iv1']);
  t.equal(board.config(PORT, STATUS, 2), 0x18, 'presence gone and changed, command completed');
  t.equal(board.config(0x100, 0), 0xffff_ffff);
});

t.test('a device in a slot without power comes and goes unseen (vector 14)', async (t) => {
  const { board, port } = nativePort();
  t.equal(board.config(PORT, SLOT), 0x07c0);
  const iv3 = board.plug(new FakeEndpoint('iv3'), { bus: port.secondaryBus! });
  t.equal(board.config(PORT, SLOT), 0x0049_07c0);
  t.equal(board.config(0x100, 0), 0xffff_ffff);
  unplug(iv3, 'iv3');
  t.strictSame(board.removed, ['iv3']);
  t.equal(board.config(PORT, SLOT), 0x0008_07c0);
});

t.test('the guest switches a new device on', async (t) => {
  const { board, port } = nativePort();
  board.plug(new FakeEndpoint('iv3'), { bus: port.secondaryBus! });
  board.setConfig(PORT, SLOT, 0x01e9, 2);
  t.equal(board.config(0x100, 0), 0x11e8_1234);
  board.setConfig(PORT, SLOT, 0x06e9, 2);
  t.equal(board.config(0x100, 0), 0xffff_ffff, 'and off again');
  t.strictSame(board.removed, [], 'while the indicator says that it stays');
});

t.test('a blinking power indicator refuses unplug (vector 15)', async (t) => {
  const iv1 = new FakeEndpoint('iv1');
  const { board } = nativePort({}, iv1);
  board.setConfig(PORT, SLOT, 0x02e9, 2);
  t.throws(() => unplug(iv1, 'iv1'), {
    message: 'Hot-unplug failed: guest is busy (power indicator blinking)',
  });
});

t.test('a request expires after five seconds of virtual time (vector 29)', async (t) => {
  const iv1 = new FakeEndpoint('iv1');
  const { board } = nativePort({}, iv1);
  unplug(iv1, 'iv1');
  board.clock.step(4_999_000_000n);
  t.throws(() => unplug(iv1, 'iv1'), { message: /already in the process/ });
  board.clock.step(2_000_000n);
  unplug(iv1, 'iv1');
  t.throws(() => unplug(iv1, 'iv1'), { message: /already in the process/ }, 'pending anew');
});

t.test('a 1 for an event that is not there clears no event', async (t) => {
  const iv1 = new FakeEndpoint('iv1');
  const { board } = nativePort({}, iv1);
  unplug(iv1, 'iv1');
  board.setConfig(PORT, STATUS, 0x09, 2);
  t.equal(board.config(PORT, STATUS, 2), 0x41);
  board.setConfig(PORT, STATUS, 0x01, 2);
  t.equal(board.config(PORT, STATUS, 2), 0x40);
});

t.test('the interlock toggles and its control bit reads 0', async (t) => {
  const { board } = nativePort({}, new FakeEndpoint('a'));
  board.setConfig(PORT, SLOT, 0x09c0, 2);
  t.equal(board.config(PORT, SLOT), 0x00d0_01c0);
});

t.test('functions of one slot leave together, in ascending order', async (t) => {
  const { board, port } = nativePort();
  const bus = port.secondaryBus!;
  board.plug(new FakeEndpoint('f1'), { bus, addr: 1, multifunction: true });
  t.equal(board.config(PORT, STATUS, 2), 0, 'nothing to see before function 0');
  board.plug(new FakeEndpoint('f0'), { bus, addr: 0, multifunction: true });
  board.setConfig(PORT, SLOT, 0x01e9, 2);
  board.setConfig(PORT, SLOT, 0x07e9, 2);
  t.strictSame(board.removed, ['f0', 'f1']);
});

t.test('a function that waits for function 0 leaves at once', async (t) => {
  const { board, port } = nativePort();
  board.setConfig(PORT, SLOT, 0x01e9, 2);
  const f1 = board.plug(new FakeEndpoint('f1'), { bus: port.secondaryBus!, addr: 1 });
  unplug(f1, 'f1');
  t.strictSame(board.removed, ['f1']);
});

t.test('a guest eject switches power and indicator off', async (t) => {
  const iv1 = new FakeEndpoint('iv1');
  const { board, port } = nativePort({}, iv1);
  t.throws(() => board.platform.guestEject(iv1.pci), { message: /No unplug .* pending/ });
  unplug(iv1, 'iv1');
  board.platform.guestEject(iv1.pci);
  t.strictSame(board.removed, ['iv1']);
  const off = board.plug(new FakeEndpoint('off'), { bus: port.secondaryBus! });
  board.platform.guestEject(off.pci, false);
  t.strictSame(board.removed, ['iv1', 'off'], 'also from a slot that was off');
});

t.test('a pulled-out device leaves its traces in the slot', async (t) => {
  const iv1 = new FakeEndpoint('iv1');
  const { board, port } = nativePort({}, iv1);
  board.remove(iv1.pci);
  port.secondaryBus?.hotplug?.yanked(iv1.pci);
  t.equal(board.config(PORT, STATUS, 2), 0x08, 'presence gone and changed');
  t.equal(board.config(PORT, 0x66, 2) & 0x2000, 0, 'link down');
  t.equal(board.config(PORT, SLOT, 2), 0x03c0, 'power as before');
});

t.test("hotplug=off refuses with the port's name", async (t) => {
  const child = new FakeEndpoint('a');
  const board = new TestBoard('q35', { globals: NATIVE });
  const port = board.plug(board.create(pcieRootPort, 'rp', { hotplug: false }));
  t.throws(() => board.plug(child, { bus: port.secondaryBus! }), {
    message: "Hot-plug failed: unsupported by the port device 'rp'",
  });
  t.throws(() => port.secondaryBus?.hotplug?.unplugRequest(child.pci, 'a'), {
    message: "Hot-unplug failed: unsupported by the port device 'rp'",
  });
});

t.test('slot events interrupt, once per change of the condition', async (t) => {
  const iv1 = new FakeEndpoint('iv1');
  const { board } = nativePort({}, iv1);
  const levels: [number, boolean][] = [];
  board.platform.interrupts.onChange((input, level) => levels.push([input, level]));
  board.setConfig(PORT, SLOT, 0x01e9, 2);
  t.strictSame(levels, [], 'command completed is not enabled');
  unplug(iv1, 'iv1');
  const input = 16 + 4 + 2;
  t.strictSame(levels, [[input, true]]);
  board.setConfig(PORT, STATUS, 0x11, 2);
  t.strictSame(levels, [
    [input, true],
    [input, false],
  ]);
});

t.test('chassis and slot together are unique', async (t) => {
  const board = new TestBoard('q35');
  const make = (chassis: number, slot: number) =>
    board.create(pcieRootPort, undefined, { chassis, slot });
  const first = board.plug(make(0, 0));
  board.plug(make(0, 1));
  board.plug(make(1, 0));
  t.throws(() => board.plug(make(0, 0)), {
    class: 'GenericError',
    message: "Can't add chassis slot, error -16",
  });
  board.remove(first.pci);
  board.plug(make(0, 0));
});

t.test('buses are named after the id, or counted', async (t) => {
  const board = new TestBoard('q35');
  const names = ['a', undefined, undefined].map(
    (id) => board.create(pcieRootPort, id).secondaryBus?.name,
  );
  t.strictSame(names, ['a', 'pcie.0', 'pcie.1']);
});

t.test('a loaded slot goes on where the saved one was', async (t) => {
  const { board, port } = nativePort({}, new FakeEndpoint('a'));
  board.setConfig(PORT, SLOT, 0x05e9, 2);
  t.equal(board.config(0x100, 0), 0xffff_ffff);
  const other = nativePort({}, new FakeEndpoint('a'));
  other.port.load(port.save());
  t.equal(other.board.config(PORT, SLOT), board.config(PORT, SLOT));
  t.equal(other.board.config(0x100, 0), 0xffff_ffff, 'without power');
  other.board.setConfig(PORT, SLOT, 0x01e9, 2);
  t.equal(other.board.config(0x100, 0), 0x11e8_1234);
});

t.test('an unplug that waits for the guest goes along in a saved port', async (t) => {
  const child = new FakeEndpoint('a');
  const { board, port } = nativePort({}, child);
  board.clock.step(1_000_000_000n);
  unplug(child, 'a');
  board.clock.step(2_000_000_000n);
  const there = new FakeEndpoint('a');
  const other = nativePort({}, there);
  other.board.clock.step(50_000_000_000n);
  other.port.load(port.save());
  t.ok(there.pci.bus?.hotplug?.isPending(there.pci));
  t.strictSame(other.port.save(), port.save());
  other.board.clock.step(2_000_000_000n);
  t.throws(() => unplug(there, 'a'), { message: 'Device a is already in the process of unplug' });
  other.board.clock.step(1_000_000_000n);
  unplug(there, 'a');
  const empty = nativePort();
  const before = empty.port.save();
  t.throws(() => empty.port.load(port.save()), {
    message: 'saved slot has slot 0.0, which is empty',
  });
  t.strictSame(empty.port.save(), before);
});

import t from 'tap';
import { pciBridge } from '../../../devices/pci-bridge/index.js';
import { pciePciBridge } from '../../../devices/pcie-pci-bridge/index.js';
import { pcieRootPort } from '../../../devices/pcie-root-port/index.js';
import { FakeEndpoint, TestBoard } from '../../support/test-board.js';

const MS = 1_000_000n;
const PC = 0xae00;
const Q35 = 0x0cc0;
const busy = (id: string) => ({
  class: 'GenericError',
  message: `Device ${id} is already in the process of unplug`,
});

t.test('pc: plug, unplug request and eject through the register block (vector 17)', async (t) => {
  const board = new TestBoard('pc').start();
  const iv1 = board.plug(new FakeEndpoint('iv1'), { addr: 0x30 });
  t.strictSame([board.inl(PC), board.inl(PC)], [0x40, 0], 'reading "up" clears it');
  board.root.hotplug?.unplugRequest(iv1.pci, 'iv1');
  t.equal(board.inl(PC + 4), 0x40);
  t.equal(board.config(0x30, 0), 0x11e8_1234, 'still there');
  t.throws(() => board.root.hotplug?.unplugRequest(iv1.pci, 'iv1'), busy('iv1'));
  board.outl(PC + 8, 0x40);
  t.strictSame(board.removed, ['iv1']);
  t.strictSame([board.inl(PC + 4), board.config(0x30, 0)], [0, 0xffff_ffff]);
});

t.test('only the lowest slot of an eject goes, with all its functions', async (t) => {
  const board = new TestBoard('pc').start();
  board.plug(new FakeEndpoint('five'), { addr: 0x28 });
  board.plug(new FakeEndpoint('four.1'), { addr: 0x21, multifunction: true });
  board.plug(new FakeEndpoint('four.0'), { addr: 0x20, multifunction: true });
  board.outl(PC + 8, 0x30);
  t.strictSame(board.removed, ['four.0', 'four.1']);
  board.outl(PC + 8, 0x30);
  t.equal(board.removed.length, 2, 'the lowest bit of the mask, not of what is there');
});

t.test('a request may be repeated once the clock has moved', async (t) => {
  const board = new TestBoard('pc').start();
  const { pci } = board.plug(new FakeEndpoint('a'), { addr: 0x30 });
  board.root.hotplug?.unplugRequest(pci, 'a');
  board.clock.step(MS - 1n);
  t.throws(() => board.root.hotplug?.unplugRequest(pci, '/machine/a'), busy('/machine/a'));
  board.clock.step(1n);
  board.root.hotplug?.unplugRequest(pci, 'a');
  t.equal(board.root.hotplug?.isPending(pci), true);
});

t.test('the removable mask leaves out what belongs to the board', async (t) => {
  for (const [defaults, mask] of [
    [true, 0xffff_fff8],
    [false, 0xffff_fffc],
  ] as const) {
    const board = new TestBoard('pc', { defaults }).start();
    t.equal(board.inl(PC + 0xc), mask);
  }
  const board = new TestBoard('pc');
  board.plug(board.create(pciBridge, 'cb', { chassis_nr: 3 }), { addr: 0x28 });
  board.start();
  t.equal(board.inl(PC + 0xc), 0xffff_ffdc, 'nor bridges that were there at start');
  board.outl(PC + 8, 0x20);
  t.strictSame(board.removed, [], 'which no eject removes');
});

t.test('the register block takes 4-byte accesses and known buses only', async (t) => {
  const board = new TestBoard('pc').start();
  board.plug(new FakeEndpoint('a'), { addr: 0x30 });
  t.equal(board.platform.io.read(BigInt(PC), 1), 0n);
  board.outl(PC + 0x10, 5);
  t.strictSame(
    [0, 4, 8, 0xc, 0x10].map((at) => board.inl(PC + at)),
    [0, 0, 0, 0xffff_ffff, 5],
  );
  board.outl(PC + 8, 0x40);
  board.outl(PC + 0x10, 256);
  t.strictSame(
    [0, 0xc, 0x10].map((at) => board.inl(PC + at)),
    [0, 0, 0],
  );
  board.outl(PC + 8, 0x40);
  board.outl(PC + 0x10, 0);
  t.strictSame([board.inl(PC), board.removed], [0x40, []]);
});

t.test('q35: buses are numbered downwards, the newest bridge first', async (t) => {
  const board = new TestBoard('q35');
  const rp1 = board.plug(board.create(pcieRootPort, 'rp1', { chassis: 1, slot: 1 }));
  const rp2 = board.plug(board.create(pcieRootPort, 'rp2', { chassis: 1, slot: 2 }));
  const pb = board.plug(board.create(pciePciBridge, 'pb'));
  const cb = board.create(pciBridge, 'cb', { chassis_nr: 3 });
  board.plug(cb, { bus: pb.secondaryBus!, addr: 8 });
  board.start();
  const bsel = [pb, cb, rp2, rp1].map((bridge) => board.platform.bsel(bridge.secondaryBus!));
  t.strictSame(bsel, [0, 1, 2, 3]);
  t.equal(board.platform.bsel(board.root), undefined);
  t.equal(board.root.hotplug, undefined, 'pcie.0 takes nothing');
  t.equal(board.inl(Q35 + 0xc), 0xffff_fffd, 'slot 1 of pb holds a bridge');
});

t.test('q35: a device added to a cold-plugged port works at once', async (t) => {
  const board = new TestBoard('q35');
  const rp = board.plug(board.create(pcieRootPort, 'rp'), { addr: 0x10 });
  board.start();
  board.setConfig(0x10, 0x18, 0x01_0100);
  t.equal(board.config(0x10, 0x6c), 0x07c0, 'the empty slot is off');
  board.plug(new FakeEndpoint('e'), { bus: rp.secondaryBus! });
  t.equal(board.config(0x100, 0), 0x11e8_1234);
  t.equal(board.config(0x10, 0x6c), 0x03c0, 'powered, but without slot events');
  t.equal(board.inl(Q35), 1);
});

t.test('q35: system reset performs pending ejects, lowest bus first (vector 16)', async (t) => {
  const board = new TestBoard('q35');
  const ports = ['rp1', 'rp2'].map((id, slot) =>
    board.plug(board.create(pcieRootPort, id, { slot })),
  );
  const devices = ports.map((port, n) =>
    board.plug(new FakeEndpoint(`e${String(n + 1)}`), { bus: port.secondaryBus! }),
  );
  board.start();
  for (const { pci } of devices) pci.bus?.hotplug?.unplugRequest(pci, 'x');
  t.strictSame(board.removed, []);
  board.reset();
  t.strictSame(board.removed, ['e2', 'e1']);
});

t.test(
  'a bridge that was there at start survives its eject, and is still waited for',
  async (t) => {
    const board = new TestBoard('pc');
    const { pci } = board.plug(board.create(pciBridge, 'b1', { chassis_nr: 1 }), { addr: 0x30 });
    board.start();
    board.root.hotplug?.unplugRequest(pci, 'b1');
    board.reset();
    t.strictSame([board.removed, board.inl(PC + 4)], [[], 0]);
    t.throws(() => board.root.hotplug?.unplugRequest(pci, 'b1'), busy('b1'));
  },
);

t.test('a guest eject goes through the ports, and only when asked for', async (t) => {
  const board = new TestBoard('pc').start();
  const { pci } = board.plug(new FakeEndpoint('a'), { addr: 0x30 });
  t.throws(() => board.platform.guestEject(pci), { message: "No unplug of device 'a' is pending" });
  board.root.hotplug?.unplugRequest(pci, 'a');
  board.platform.guestEject(pci);
  t.strictSame(board.removed, ['a']);
  const b = board.plug(new FakeEndpoint('b'), { addr: 0x30 });
  board.platform.guestEject(b.pci, false);
  t.strictSame(board.removed, ['a', 'b'], 'a guest may also let go by itself');
});

t.test('a device that was pulled out leaves an empty slot without a word', async (t) => {
  const board = new TestBoard('pc').start();
  const { pci } = board.plug(new FakeEndpoint('a'), { addr: 0x30 });
  board.root.hotplug?.unplugRequest(pci, 'a');
  board.remove(pci);
  board.root.hotplug?.yanked(pci);
  t.strictSame([board.inl(PC), board.inl(PC + 4), board.config(0x30, 0)], [0, 0, 0xffff_ffff]);
});

t.test('acpi-index is checked for range and uniqueness, and told to firmware', async (t) => {
  const board = new TestBoard('pc').start();
  const indexed = (id: string, acpiIndex: number): FakeEndpoint => {
    const device = new FakeEndpoint(id);
    device.pci.acpiIndex = acpiIndex;
    return device;
  };
  board.plug(indexed('a', 16383), { addr: 0x30 });
  t.throws(() => board.plug(indexed('b', 16384)), {
    message: 'acpi-index should be less or equal to 16383',
  });
  t.throws(() => board.plug(indexed('b', 16383)), {
    message: 'a PCI device with acpi-index = 16383 already exist',
  });
  board.outl(PC + 0x14, 0x40);
  t.strictSame([board.inl(PC + 0x14), board.inl(PC + 0x14)], [16383, 0]);
});

t.test('globals switch ACPI off', async (t) => {
  for (const [kind, global, kept] of [
    ['q35', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support', undefined],
    ['pc', 'PIIX4_PM.acpi-root-pci-hotplug', undefined],
    ['pc', 'PIIX4_PM.acpi-pci-hotplug-with-bridge-support', 'acpi'],
  ] as const) {
    const board = new TestBoard(kind, { globals: { [global]: 'off' } });
    const bridge = board.plug(board.create(pciBridge, 'b', { chassis_nr: 1 }), { addr: 0x48 });
    board.start();
    t.equal(board.root.hotplug?.kind, kept, `${global}: root`);
    const acpi = global.includes('bridge') ? 'shpc' : 'acpi';
    t.equal(bridge.secondaryBus?.hotplug?.kind, acpi, `${global}: bridge`);
  }
});

t.test('bridges that come later are served by their own controller', async (t) => {
  const board = new TestBoard('pc').start();
  const hot = board.plug(board.create(pciBridge, 'hb', { chassis_nr: 4 }), { addr: 0x38 });
  t.equal(hot.secondaryBus?.hotplug?.kind, 'shpc');
  board.root.hotplug?.unplugRequest(hot.pci, 'hb');
  board.outl(PC + 8, 0x80);
  t.strictSame(board.removed, ['hb'], 'and can leave again');
});

t.test('a port with hotplug=off is never served', async (t) => {
  const board = new TestBoard('q35');
  const rp = board.plug(board.create(pcieRootPort, 'rp3', { hotplug: false }));
  board.start();
  t.equal(rp.secondaryBus?.hotplug, undefined);
});

t.test('a cold-plugged bus of 32 slots takes 32 devices (vector 20)', async (t) => {
  const board = new TestBoard('q35');
  const bus = board.plug(board.create(pciePciBridge, 'pb')).secondaryBus!;
  board.start();
  for (let n = 0; n < 32; n++) board.plug(new FakeEndpoint(`e${String(n)}`), { bus });
  t.throws(() => board.plug(new FakeEndpoint('e32'), { bus }), {
    message: 'PCI: no slot/function available for edu, all in use or reserved',
  });
});

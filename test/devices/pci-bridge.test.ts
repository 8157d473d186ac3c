import t from 'tap';
import { pciBridge } from '../../devices/pci-bridge/index.js';
import { pciePciBridge } from '../../devices/pcie-pci-bridge/index.js';
import { FakeEndpoint, TestBoard } from '../support/test-board.js';

const NATIVE = { 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support': 'off' };
const BRIDGE = 0x20;
/** SHPC capability: register select and data. */
const SELECT = 0x42;
const DATA = 0x44;
/** Working registers by their number in the capability. */
const COMMAND = 5;
const FIRST_SLOT = 9;

class Controller {
  readonly board = new TestBoard('q35', { globals: NATIVE });
  readonly bus;
  constructor(cold?: FakeEndpoint) {
    const bridge = this.board.plug(this.board.create(pciePciBridge, 'pb'), { addr: BRIDGE });
    this.bus = bridge.secondaryBus!;
    if (cold) this.board.plug(cold, { bus: this.bus, addr: 0x10 });
    this.board.start();
  }
  register(number: number): number {
    this.board.setConfig(BRIDGE, SELECT, number, 1);
    return this.board.config(BRIDGE, DATA);
  }
  slot(device: number): number {
    return this.register(FIRST_SLOT + device - 1);
  }
  command(device: number, code: number): void {
    this.board.setConfig(BRIDGE, SELECT, COMMAND, 1);
    this.board.setConfig(BRIDGE, DATA, device * 0x100 + code, 2);
  }
  hot(id: string, device: number): FakeEndpoint {
    return this.board.plug(new FakeEndpoint(id), { bus: this.bus, addr: device * 8 });
  }
}

t.test('the controller starts with 31 slots, on where a device was at start', async (t) => {
  const shpc = new Controller(new FakeEndpoint('ce'));
  t.strictSame(
    [1, 3, 4, 8].map((number) => shpc.register(number)),
    [0x1f, 0xe001_011f, 0x0100_0000, 0xf],
  );
  t.strictSame([shpc.slot(1), shpc.slot(2)], [0x7f00_0d0f, 0x7f00_0006]);
});

t.test('slot 0 is refused, chosen or asked for', async (t) => {
  const { board, bus } = new Controller();
  const refusal = {
    message:
      'Unsupported PCI slot 0 for standard hotplug controller. Valid slots are between 1 and 31.',
  };
  t.throws(() => board.plug(new FakeEndpoint('a'), { bus }), refusal);
  t.throws(() => board.plug(new FakeEndpoint('a'), { bus, addr: 0 }), refusal);
  t.equal(bus.functions.length, 0);
});

t.test('a new device is announced, and one in a slot that is off leaves at once', async (t) => {
  const shpc = new Controller();
  const { pci } = shpc.hot('a', 3);
  t.equal(shpc.slot(3), 0x7f0d_000f);
  t.equal(shpc.bus.hotplug?.kind, 'shpc');
  shpc.bus.hotplug?.unplugRequest(pci, 'a');
  t.strictSame(shpc.board.removed, ['a']);
  t.equal(shpc.slot(3), 0x7f0d_0d0f);
});

t.test('an enabled slot waits for the guest to disable it', async (t) => {
  const ce = new FakeEndpoint('ce');
  const shpc = new Controller(ce);
  shpc.bus.hotplug?.unplugRequest(ce.pci, 'ce');
  t.equal(shpc.slot(2), 0x7f04_0006, 'attention button');
  shpc.command(2, 0x0e);
  t.equal(shpc.slot(2), 0x7f04_000e, 'power indicator off, still enabled');
  t.strictSame(shpc.board.removed, []);
  shpc.command(2, 0x0f);
  t.strictSame(shpc.board.removed, ['ce']);
  t.equal(shpc.slot(2), 0x7f0d_0d0f);
});

t.test('commands for unknown slots and unknown commands are reported', async (t) => {
  const shpc = new Controller();
  for (const [device, code, status] of [
    [0, 0x0f, 4],
    [32, 0x0f, 4],
    [1, 0x40, 2],
    [31, 0x06, 0],
  ] as const) {
    shpc.command(device, code);
    t.equal(shpc.register(COMMAND) >> 16, status);
  }
  t.equal(shpc.slot(31) & 0xf, 6);
});

t.test('the working registers are in BAR 0 as well', async (t) => {
  const ce = new FakeEndpoint('ce');
  const { board } = new Controller(ce);
  board.setConfig(BRIDGE, 0x10, 0xe000_0000);
  board.setConfig(BRIDGE, 4, 2, 2);
  t.equal(board.readl(0xe000_000c), 0xe001_011f);
  board.platform.memory.write(0xe000_0014n, 2, 0x020fn);
  t.strictSame(board.removed, ['ce']);
});

t.test('a guest eject enables and disables the slot', async (t) => {
  const ce = new FakeEndpoint('ce');
  const shpc = new Controller(ce);
  t.throws(() => shpc.board.platform.guestEject(ce.pci), { message: /No unplug .* pending/ });
  shpc.bus.hotplug?.unplugRequest(ce.pci, 'ce');
  shpc.board.platform.guestEject(ce.pci);
  const hot = shpc.hot('hot', 4);
  shpc.board.platform.guestEject(hot.pci, false);
  t.strictSame(shpc.board.removed, ['ce', 'hot']);
});

t.test('a pulled-out device opens its slot', async (t) => {
  const ce = new FakeEndpoint('ce');
  const shpc = new Controller(ce);
  shpc.board.remove(ce.pci);
  shpc.bus.hotplug?.yanked(ce.pci);
  t.equal(shpc.slot(2), 0x7f09_0d07);
});

t.test('removing a bridge removes what is behind it first', async (t) => {
  const board = new TestBoard('pc').start();
  const bridge = board.plug(board.create(pciBridge, 'hb', { chassis_nr: 1 }), { addr: 0x30 });
  const bus = bridge.secondaryBus!;
  board.plug(new FakeEndpoint('a'), { bus, addr: 8 });
  board.plug(new FakeEndpoint('b'), { bus, addr: 16 });
  board.root.hotplug?.unplugRequest(bridge.pci, 'hb');
  board.outl(0xae08, 0x40);
  t.strictSame(board.removed, ['b', 'a', 'hb']);
});

t.test('pci-bridge wants a chassis number, and offers its slots by one', async (t) => {
  const board = new TestBoard('q35');
  t.throws(() => board.plug(board.create(pciBridge, 'b')), {
    message:
      'Bridge chassis not specified. Each bridge is required to be assigned a unique chassis id > 0.',
  });
  board.plug(board.create(pciBridge, 'b', { chassis_nr: 2, shpc: false }), { addr: BRIDGE });
  board.start();
  t.equal(board.config(BRIDGE, 0x40), 0x0220_0004);
  t.equal(board.config(BRIDGE, 0x3c), 0, 'without the controller no interrupt');
});

t.test('contradicting reservations are refused', async (t) => {
  const board = new TestBoard('q35');
  const make = (values: object) => board.create(pciBridge, 'b', { chassis_nr: 2, ...values });
  const MiB = 0x10_0000n;
  t.throws(() => board.plug(make({ 'pref32-reserve': MiB, 'pref64-reserve': MiB })), {
    message: 'PCI resource reserve cap: PREF32 and PREF64 conflict',
  });
  board.plug(make({ 'bus-reserve': 1, 'pref32-reserve': 2n * MiB }), { addr: BRIDGE });
  t.equal(board.config(BRIDGE, 0x34, 1), 0x64);
  t.strictSame([board.config(BRIDGE, 0x68), board.config(BRIDGE, 0x78)], [1, 0x20_0000]);
});

t.test('a loaded controller goes on where the saved one was', async (t) => {
  const saved = new Controller(new FakeEndpoint('ce'));
  saved.command(2, 0x05);
  const loaded = new Controller(new FakeEndpoint('ce'));
  const bridge = (of: Controller) => of.board.deviceOf(of.bus.bridge!);
  bridge(loaded).load(bridge(saved).save());
  t.equal(loaded.slot(2), 0x7f00_0005);
});

t.test('a button that was pressed goes along in a saved controller', async (t) => {
  const bridge = (of: Controller) => of.board.deviceOf(of.bus.bridge!);
  const pressed = (of: Controller, { pci }: FakeEndpoint) => of.bus.hotplug?.isPending(pci);
  const [here, there] = [new FakeEndpoint('ce'), new FakeEndpoint('ce')];
  const [saved, loaded] = [new Controller(here), new Controller(there)];
  saved.bus.hotplug?.unplugRequest(here.pci, 'ce');
  bridge(loaded).load(bridge(saved).save());
  t.strictSame([pressed(saved, here), pressed(loaded, there)], [true, true]);
  t.throws(() => bridge(new Controller()).load(bridge(saved).save()), {
    message: 'saved hot-plug controller.pending has an empty slot',
  });
});

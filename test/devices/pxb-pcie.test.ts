import t from 'tap';
import { pcieRootPort } from '../../devices/pcie-root-port/index.js';
import { pxb, pxbPcie } from '../../devices/pxb-pcie/index.js';
import { FakeEndpoint, TestBoard } from '../support/test-board.js';

t.test('pxb-pcie brings a root bus of its own number, listed first', async (t) => {
  const board = new TestBoard('q35');
  board.plug(board.create(pxbPcie, 'px', { bus_nr: 16 }));
  const [root] = board.platform.roots;
  t.strictSame(
    [root?.name, root?.typeName, root?.number, root?.isRoot],
    ['px', 'pxb-pcie-bus', 16, true],
  );
  const port = board.plug(board.create(pcieRootPort, 'rp', { slot: 1 }), { bus: root! });
  board.plug(new FakeEndpoint('e', { express: true }), { bus: port.secondaryBus! });
  board.start();
  t.equal(board.config(0x1000, 0), 0x000c_1b36);
  board.setConfig(0x1000, 0x18, 0x11_1110);
  t.equal(board.config(0x1100, 0), 0x11e8_1234);
  board.setConfig(0, 0x60, 0xb000_0001);
  t.equal(board.readl(0xb110_0000), 0x11e8_1234, 'ECAM as well');
  t.equal(port.secondaryBus?.hotplug?.kind, 'native', 'its ports are not served by ACPI');
});

t.test('expanders refuse what QEMU refuses', async (t) => {
  const plug = (
    kind: 'pc' | 'q35',
    type: typeof pxb | typeof pxbPcie,
    values: Record<string, unknown> = {},
  ) => {
    const board = new TestBoard(kind);
    board.plug(board.create(kind === 'q35' ? pxbPcie : pxb, 'first', { bus_nr: 10 }));
    board.plug(board.create(type, 'px', { bus_nr: 16, ...values }));
  };
  for (const [run, message] of [
    [() => plug('q35', pxb), 'pxb devices cannot reside on a PCIe bus'],
    [() => plug('pc', pxbPcie), 'pxb-pcie devices cannot reside on a PCI bus'],
    [() => plug('q35', pxbPcie, { bus_nr: 10 }), 'Bus 10 is already in use'],
    [() => plug('q35', pxbPcie, { numa_node: 3 }), 'Illegal numa node 3'],
  ] as const)
    t.throws(run, { message });
});

t.test('only the first root bus takes an expander', async (t) => {
  const board = new TestBoard('q35');
  const { secondaryBus: bus } = board.plug(board.create(pcieRootPort, 'rp'));
  t.throws(() => board.plug(board.create(pxbPcie, 'px', { bus_nr: 16 }), { bus: bus! }), {
    message: 'PXB devices can be attached only to root bus',
  });
  t.equal(board.platform.roots.length, 1);
});

t.test('the bus of an expander takes bridges only', async (t) => {
  for (const [kind, type] of [
    ['q35', pxbPcie],
    ['pc', pxb],
  ] as const) {
    const board = new TestBoard(kind);
    board.plug(board.create(type, 'px', { bus_nr: 16 }));
    const bus = board.platform.roots[0]!;
    t.throws(() => board.plug(new FakeEndpoint('e'), { bus }), {
      message: `PCI: Only PCI/PCIe bridges can be plugged into ${type.name}`,
    });
    t.equal(bus.hotplug, undefined);
  }
});

t.test('pxb holds a bridge that carries its name', async (t) => {
  const board = new TestBoard('pc');
  const device = board.plug(board.create(pxb, 'px', { bus_nr: 16 }));
  const [root] = board.platform.roots;
  t.equal(root?.name, 'pxb-internal');
  const inner = root?.function(0)?.secondaryBus;
  t.strictSame([inner?.name, inner?.typeName, inner?.bridge?.id], ['px', 'PCI', 'px']);
  board.plug(new FakeEndpoint('e'), { bus: inner!, addr: 0 });
  board.start();
  t.equal(board.config(0x1000, 0), 0x0001_1b36);
  board.setConfig(0x1000, 0x18, 0x11_1110);
  t.equal(board.config(0x1100, 0), 0x11e8_1234);
  board.remove(device.pci);
  t.equal(board.platform.roots.length, 1, 'and leaves with it');
});

t.test('pxb without a bus number has no chassis for its bridge, and leaves nothing', async (t) => {
  const board = new TestBoard('pc');
  t.throws(() => board.plug(board.create(pxb, 'px')), { message: /Bridge chassis not specified/ });
  t.equal(board.platform.roots.length, 1);
});

t.test('interrupts behind an expander ignore its own slot', async (t) => {
  const board = new TestBoard('q35');
  board.plug(board.create(pxbPcie, 'px', { bus_nr: 16 }), { addr: 0x28 });
  const port = board.plug(board.create(pcieRootPort, 'rp'), {
    bus: board.platform.roots[0]!,
    addr: 0x10,
  });
  board.start();
  port.pci.setInterrupt(true);
  t.equal(board.platform.interrupts.level(20 + 2), true, 'slot 2 of the expander, INTA');
  port.pci.setInterrupt(false);
  t.equal(board.platform.interrupts.level(20 + 2), false);
});

import t from 'tap';
import { MemoryRegion } from '../../../devices/core/memory-region.js';
import { BridgeWindows } from '../../../devices/pci/bridge-windows.js';
import { PciBus } from '../../../devices/pci/bus.js';
import { queryPci } from '../../../devices/pci/info.js';
import { BRIDGE, COMMAND, CONFIG } from '../../../devices/pci/registers.js';
import { BRIDGE_IDENTITY, fakeFunction, fakeRoot } from '../../support/pci.js';

const region = (size: bigint): MemoryRegion => MemoryRegion.container('bar', size);

/** The hierarchy of reference/pci-and-memory-devices.md §2: a bridge rp1 at 2.0 with iv1 behind. */
const hierarchy = () => {
  const root = fakeRoot();
  const bridge = fakeFunction(BRIDGE_IDENTITY, { id: 'rp1' });
  bridge.registerBar(0, region(4096n), { type: 'memory' });
  const { memory, io } = new BridgeWindows(bridge, { express: true });
  const bus = new PciBus({ name: 'rp1', typeName: 'PCIE', express: true, memory, io, bridge });
  const shared = fakeFunction(
    { vendorId: 0x1af4, deviceId: 0x1110, interruptPin: 0, express: false },
    { id: 'iv1' },
  );
  shared.registerBar(0, region(256n), { type: 'memory' });
  shared.registerBar(2, region(1n << 20n), { type: 'memory', bits64: true, prefetch: true });
  root.bus.attach(bridge, 16);
  bus.attach(shared, 0);
  return { root, bridge, bus, shared };
};

const unprogrammedBridge = {
  bus: 0n,
  slot: 2n,
  function: 0n,
  class_info: { desc: 'PCI bridge', class: 1540n },
  id: { device: 12n, vendor: 6966n },
  irq_pin: 1n,
  irq: 0n,
  qdev_id: 'rp1',
  regions: [
    { bar: 0n, type: 'memory', address: -1n, size: 4096n, prefetch: false, mem_type_64: false },
  ],
  pci_bridge: {
    bus: {
      number: 0n,
      secondary: 0n,
      subordinate: 0n,
      io_range: { base: 61440n, limit: 4095n },
      memory_range: { base: 4293918720n, limit: 1048575n },
      prefetchable_range: { base: 4293918720n, limit: 1048575n },
    },
  },
};

t.test('an unprogrammed bridge hides what is behind it', async (t) => {
  const { root } = hierarchy();
  t.strictSame(queryPci([root.bus]), [{ bus: 0n, devices: [unprogrammedBridge] }]);
});

t.test('a numbered bridge shows what is behind it, mapped where it decodes', async (t) => {
  const { root, bridge, shared } = hierarchy();
  bridge.writeConfig(BRIDGE.SECONDARY_BUS, 2, 0x0101);
  shared.writeConfig(0x10, 4, 4267704320);
  shared.writeConfig(0x18, 4, 4271898624);
  shared.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  const [info] = queryPci([root.bus]);
  t.strictSame(info?.devices[0]?.pci_bridge?.devices, [
    {
      bus: 1n,
      slot: 0n,
      function: 0n,
      class_info: { desc: 'RAM controller', class: 1280n },
      id: { device: 4368n, vendor: 6900n, subsystem: 4352n, 'subsystem-vendor': 6900n },
      irq_pin: 0n,
      qdev_id: 'iv1',
      regions: [
        {
          bar: 0n,
          type: 'memory',
          address: 4267704320n,
          size: 256n,
          prefetch: false,
          mem_type_64: false,
        },
        {
          bar: 2n,
          type: 'memory',
          address: 4271898624n,
          size: 1048576n,
          prefetch: true,
          mem_type_64: true,
        },
      ],
    },
  ]);
});

t.test(
  'a numbered bridge without devices shows none, a device without power is still listed',
  async (t) => {
    const { root, bridge, bus, shared } = hierarchy();
    bridge.writeConfig(BRIDGE.SECONDARY_BUS, 2, 0x0101);
    const behind = () => queryPci([root.bus])[0]?.devices[0]?.pci_bridge?.devices;
    shared.setPowered(false);
    t.equal(behind()?.length, 1);
    bus.detach(shared);
    t.strictSame(behind(), []);
  },
);

t.test('a bridge numbered like the bus above it does not lead in circles', async (t) => {
  const { root, bridge } = hierarchy();
  const other = fakeRoot({ number: 12 });
  bridge.writeConfig(BRIDGE.SECONDARY_BUS, 2, 0x0c0c);
  root.bus.detach(bridge);
  other.bus.attach(bridge, 0);
  const [info] = queryPci([other.bus, root.bus]);
  t.equal(info?.bus, 12n);
  t.equal(info?.devices[0]?.pci_bridge?.devices, undefined);
});

t.test('port regions have no memory members, unknown classes no description', async (t) => {
  const { bus } = fakeRoot();
  const fn = fakeFunction({ classCode: 0x00ff });
  fn.registerBar(1, region(32n), { type: 'io' });
  fn.registerBar(6, region(0x10000n), { type: 'memory' });
  bus.attach(fn, 9);
  const [info] = queryPci([bus])[0]?.devices ?? [];
  t.strictSame(info?.class_info, { class: 255n });
  t.strictSame([info?.slot, info?.function, info?.qdev_id], [1n, 1n, '']);
  t.strictSame(info?.regions, [
    { bar: 1n, type: 'io', address: -1n, size: 32n },
    { bar: 6n, type: 'memory', address: -1n, size: 0x10000n, prefetch: false, mem_type_64: false },
  ]);
});

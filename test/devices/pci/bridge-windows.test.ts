import t from 'tap';
import { MemoryRegion } from '../../../devices/core/memory-region.js';
import { BridgeWindows, decodeWindows } from '../../../devices/pci/bridge-windows.js';
import { PciBus } from '../../../devices/pci/bus.js';
import { PciFunction } from '../../../devices/pci/function.js';
import { BRIDGE, COMMAND, CONFIG } from '../../../devices/pci/registers.js';
import {
  ArrayMemory,
  BRIDGE_IDENTITY,
  ENDPOINT,
  fakeFunction,
  fakeLog,
  fakeRoot,
} from '../../support/pci.js';

/** Root, bridge at 1.0, and an endpoint with 4 KiB of memory and 32 ports behind it. */
const behindBridge = (express = true) => {
  const root = fakeRoot();
  const fn = fakeFunction(BRIDGE_IDENTITY);
  const windows = new BridgeWindows(fn, { express });
  const { memory, io } = windows;
  const bus = new PciBus({ name: 'b', typeName: 'PCIE', express, memory, io, bridge: fn });
  root.bus.attach(fn, 8);
  fn.reset();
  const resets: string[] = [];
  const child = new PciFunction({
    typeName: 'child',
    id: undefined,
    identity: ENDPOINT,
    log: fakeLog(),
    resetDevice: (type) => {
      resets.push(type);
      child.reset();
    },
  });
  const bytes = new ArrayMemory(0x1000);
  bytes.bytes.fill(0x5a);
  child.registerBar(0, MemoryRegion.ram('memory', { memory: bytes }), { type: 'memory' });
  child.registerBar(
    1,
    MemoryRegion.mmio('ports', 32n, { read: () => 0x33n, write: () => undefined }),
    { type: 'io' },
  );
  bus.attach(child, 0);
  child.writeConfig(0x10, 4, 0xe0100000);
  child.writeConfig(0x14, 4, 0xc000);
  child.writeConfig(CONFIG.COMMAND, 2, COMMAND.IO | COMMAND.MEMORY);
  return { ...root, fn, bus, child, resets, windows };
};

t.test('reset values of a type 1 header mean closed windows (§1.4)', async (t) => {
  const { fn } = behindBridge();
  t.strictSame(
    [0x18, 0x1c, 0x20, 0x24, 0x28, 0x2c, 0x30, 0x3c].map((at) => fn.readConfig(at, 4)),
    [0, 0x000000f0, 0x0000fff0, 0x0001fff1, 0, 0, 0, 0x00000100],
  );
  t.equal(fn.readConfig(CONFIG.HEADER_TYPE, 1), 1);
  const { io, memory, prefetch } = decodeWindows(fn.config);
  t.strictSame(
    [io, memory, prefetch],
    [
      { base: 61440n, limit: 4095n },
      { base: 4293918720n, limit: 1048575n },
      { base: 4293918720n, limit: 1048575n },
    ],
  );
});

t.test('the writable bits depend on the bus behind', async (t) => {
  for (const [express, latency, control] of [
    [true, 0, 0x005f],
    [false, 0xff, 0x0bff],
  ] as const) {
    const { fn } = behindBridge(express);
    for (let at = 0x18; at < 0x40; at += 4) fn.writeConfig(at, 4, 0xffffffff);
    t.strictSame(
      [0x18, 0x1c, 0x20, 0x24, 0x28, 0x2c, 0x30].map((at) => fn.readConfig(at, 4)),
      [latency * 2 ** 24 + 0xffffff, 0xf0f0, 0xfff0fff0, 0xfff1fff1, 0xffffffff, 0xffffffff, 0],
    );
    t.equal(fn.readConfig(BRIDGE.CONTROL, 2), control);
  }
});

t.test('memory is forwarded inside an open window only', async (t) => {
  const { fn, systemMemory, child } = behindBridge();
  const seen = () => systemMemory.read(0xe0100000n, 1);
  fn.writeConfig(BRIDGE.MEMORY_BASE, 4, 0xe010e010);
  t.equal(seen(), 0n, 'MEM of the bridge is clear');
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  t.equal(seen(), 0x5an);
  fn.writeConfig(BRIDGE.MEMORY_BASE, 4, 0xe000e010);
  t.equal(seen(), 0n, 'limit below base');
  fn.writeConfig(BRIDGE.MEMORY_LIMIT, 2, 0xe200);
  t.equal(seen(), 0x5an);
  fn.writeConfig(CONFIG.COMMAND, 2, 0);
  t.equal(seen(), 0n);
  t.equal(child.bars[0]?.address, 0xe0100000n, 'the child still decodes');
});

t.test('the prefetchable window takes 64-bit addresses, the I/O window ports', async (t) => {
  const { fn, child, systemMemory, ports } = behindBridge();
  child.writeConfig(0x10, 4, 0xf0000000);
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY | COMMAND.IO);
  fn.writeConfig(BRIDGE.PREFETCH_BASE, 4, 0xfff10001);
  t.equal(systemMemory.read(0xf0000000n, 1), 0x5an);
  fn.writeConfig(BRIDGE.PREFETCH_BASE_UPPER, 4, 1);
  fn.writeConfig(BRIDGE.PREFETCH_LIMIT_UPPER, 4, 1);
  t.equal(systemMemory.read(0xf0000000n, 1), 0n);
  t.equal(decodeWindows(fn.config).prefetch.base, 1n << 32n);
  t.equal(ports.read(0xc000n, 1), 0xffn);
  fn.writeConfig(BRIDGE.IO_BASE, 2, 0xc0c0);
  t.equal(ports.read(0xc000n, 1), 0x33n);
});

t.test('a bus reset resets what is behind, once, when it begins', async (t) => {
  const { fn, bus, resets, child } = behindBridge();
  fn.writeConfig(BRIDGE.SECONDARY_BUS, 2, 0x0101);
  fn.writeConfig(BRIDGE.CONTROL, 2, 0x40);
  fn.writeConfig(BRIDGE.CONTROL, 2, 0x41);
  t.strictSame(resets, ['cold']);
  t.equal(child.config.get(CONFIG.COMMAND, 2), 0);
  fn.writeConfig(BRIDGE.CONTROL, 2, 0);
  fn.writeConfig(BRIDGE.CONTROL, 2, 0x40);
  t.strictSame(resets, ['cold', 'cold']);
  t.equal(bus.number, 1);
});

t.test('windows close when the bridge loses power, is reset, leaves or ends', async (t) => {
  const steps = {
    power: ({ fn }) => fn.setPowered(false),
    reset: ({ fn }) => fn.reset(),
    leaves: (all) => all.fn.bus?.detach(all.fn),
    ends: ({ fn }) => fn.close(),
  } satisfies Record<string, (all: ReturnType<typeof behindBridge>) => void>;
  for (const [name, step] of Object.entries(steps)) {
    const all = behindBridge();
    all.fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
    all.fn.writeConfig(BRIDGE.MEMORY_BASE, 4, 0xe010e010);
    t.equal(all.systemMemory.read(0xe0100000n, 1), 0x5an);
    step(all);
    t.equal(all.systemMemory.read(0xe0100000n, 1), 0n, name);
  }
});

t.test('a loaded bridge forwards as the saved one did', async (t) => {
  const from = behindBridge();
  from.fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  from.fn.writeConfig(BRIDGE.MEMORY_BASE, 4, 0xe010e010);
  const to = behindBridge();
  to.fn.load(from.fn.save());
  t.equal(to.systemMemory.read(0xe0100000n, 1), 0x5an);
  t.strictSame(to.resets, []);
});

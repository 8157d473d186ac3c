import t from 'tap';
import { BridgeWindows } from '../../../devices/pci/bridge-windows.js';
import { PciBus } from '../../../devices/pci/bus.js';
import { addPcieCapability } from '../../../devices/pci/capabilities.js';
import type { PciFunction } from '../../../devices/pci/function.js';
import { BRIDGE, PORT_TYPE } from '../../../devices/pci/registers.js';
import { BRIDGE_IDENTITY, fakeFunction, fakeLog, fakeRoot } from '../../support/pci.js';

/** A bridge with a bus behind it, put at `devfn` of `parent`. */
const bridge = (parent: PciBus, devfn: number, options: { port?: boolean; id?: string } = {}) => {
  const fn = fakeFunction(BRIDGE_IDENTITY, { typeName: 'bridge', id: options.id ?? 'b' });
  if (options.port === true) addPcieCapability(fn, { type: PORT_TYPE.ROOT_PORT });
  const windows = new BridgeWindows(fn, { express: true });
  const bus = new PciBus({
    name: options.id ?? 'b',
    typeName: 'PCIE',
    express: true,
    memory: windows.memory,
    io: windows.io,
    bridge: fn,
  });
  parent.attach(fn, devfn);
  return { fn, bus, windows };
};
const number = (fn: PciFunction, primary: number, secondary: number, subordinate: number): void => {
  fn.writeConfig(BRIDGE.PRIMARY_BUS, 1, primary);
  fn.writeConfig(BRIDGE.SECONDARY_BUS, 1, secondary);
  fn.writeConfig(BRIDGE.SUBORDINATE_BUS, 1, subordinate);
};

const cold = { addr: -1, multifunction: false, hotplugged: false };

t.test('a function without an address gets the lowest free slot', async (t) => {
  const { bus } = fakeRoot();
  bus.reserveSlot(1);
  bus.attach(fakeFunction(), 0);
  bus.attach(fakeFunction(), 2 * 8 + 3);
  const request = { ...cold, multifunction: true };
  t.equal(bus.chooseAddress(fakeFunction(), request), 2 * 8, 'slot 1 is reserved, 2.0 is free');
  t.throws(() => bus.chooseAddress(fakeFunction(), cold), {
    class: 'GenericError',
    message: 'PCI: 2.0 indicates single function, but 2.3 is already populated.',
  });
});

t.test('addresses that are not to be had are refused (§3.4)', async (t) => {
  const { bus } = fakeRoot();
  bus.reserveSlot(1);
  bus.attach(fakeFunction({}, { typeName: 'edu', id: 'e0' }), 2 * 8);
  bus.attach(fakeFunction({}, { typeName: 'edu' }), 3 * 8 + 1);
  bus.attach(fakeFunction({}, { typeName: 'edu' }), 18 * 8);
  for (const [name, request, text] of [
    ['reserved', { addr: 8 }, 'PCI: slot 1 function 0 not available for testdev, reserved'],
    [
      'in use',
      { addr: 16 },
      'PCI: slot 2 function 0 not available for testdev, in use by edu,id=e0',
    ],
    [
      'anonymous',
      { addr: 25 },
      'PCI: slot 3 function 1 not available for testdev, in use by edu,id=(null)',
    ],
    [
      'function 0 is alone',
      { addr: 18 * 8 + 5 },
      "PCI: single function device can't be populated in function 12.5",
    ],
    [
      'function 1 is there',
      { addr: 24 },
      'PCI: 3.0 indicates single function, but 3.1 is already populated.',
    ],
    [
      'hot-added beside function 0',
      { addr: 17, hotplugged: true },
      'PCI: slot 2 function 0 already occupied by edu, new func testdev cannot be exposed to guest.',
    ],
  ] as const)
    t.throws(
      () => bus.chooseAddress(fakeFunction(), { ...cold, ...request }),
      {
        class: 'GenericError',
        message: text,
      },
      name,
    );
  t.equal(bus.chooseAddress(fakeFunction(), { ...cold, addr: 24, multifunction: true }), 24);
});

t.test('a full bus has no address left', async (t) => {
  const { bus } = fakeRoot();
  for (let slot = 0; slot < 31; slot++) bus.attach(fakeFunction(), slot * 8);
  t.equal(bus.isFull, false);
  bus.attach(fakeFunction(), bus.chooseAddress(fakeFunction(), cold));
  t.equal(bus.isFull, true);
  t.throws(() => bus.chooseAddress(fakeFunction(), cold), {
    class: 'GenericError',
    message: 'PCI: no slot/function available for testdev, all in use or reserved',
  });
});

t.test('multifunction is bit 7 of the header type and lets functions in', async (t) => {
  const { bus } = fakeRoot();
  const zero = fakeFunction();
  zero.multifunction = true;
  bus.attach(zero, 8);
  t.equal(zero.readConfig(0x0e, 1), 0x80);
  t.equal(bus.chooseAddress(fakeFunction(), { ...cold, addr: 9 }), 9);
  t.strictSame(
    bus.functions.map(({ devfn }) => devfn),
    [8],
  );
});

t.test('device 0 is function 0 of everything below a port', async (t) => {
  const warnings: string[] = [];
  const { bus: port } = bridge(fakeRoot().bus, 8, { port: true });
  port.attach(fakeFunction({}, { typeName: 'edu' }), 0);
  t.throws(() => port.chooseAddress(fakeFunction(), { ...cold, hotplugged: true }), {
    class: 'GenericError',
    message: /slot 0 function 0 already occupied by edu/,
  });
  const late = fakeFunction({}, { log: fakeLog(warnings) });
  port.attach(late, 8);
  t.match(warnings, [/only allows plugging into slot 0/]);
});

t.test('configuration accesses descend through bridges that cover the bus', async (t) => {
  const root = fakeRoot();
  const one = bridge(root.bus, 8);
  const two = bridge(one.bus, 0);
  const end = fakeFunction();
  two.bus.attach(end, 0);
  t.equal(root.bus.findFunction(2, 0), undefined, 'not numbered');
  number(one.fn, 0, 1, 2);
  number(two.fn, 1, 2, 2);
  t.equal(root.bus.findFunction(0, 8), one.fn);
  t.equal(root.bus.findFunction(1, 0), two.fn);
  t.equal(root.bus.findFunction(2, 0), end);
  t.equal(root.bus.findFunction(2, 8), undefined);
  t.equal(root.bus.findFunction(3, 0), undefined);
  one.fn.writeConfig(BRIDGE.SUBORDINATE_BUS, 1, 1);
  t.equal(root.bus.findFunction(2, 0), undefined, 'beyond the subordinate bus');
  number(one.fn, 0, 1, 2);
  one.fn.writeConfig(BRIDGE.CONTROL, 2, 0x40);
  t.equal(root.bus.findFunction(1, 0), undefined, 'in reset');
});

t.test('the newest bridge is asked first', async (t) => {
  const root = fakeRoot();
  const [old, young] = [bridge(root.bus, 8), bridge(root.bus, 16)];
  t.strictSame(root.bus.childBuses(), [young.bus, old.bus]);
  number(old.fn, 0, 1, 1);
  number(young.fn, 0, 1, 1);
  young.bus.attach(fakeFunction(), 0);
  t.equal(root.bus.findBus(1), young.bus);
});

t.test(
  'interrupts are swizzled by every bridge on the way and OR-ed at the root (§1.10)',
  async (t) => {
    const root = fakeRoot();
    const one = bridge(root.bus, 3 * 8);
    const two = bridge(one.bus, 2 * 8);
    const [a, b] = [fakeFunction(), fakeFunction({ interruptPin: 2 })];
    two.bus.attach(a, 1 * 8);
    two.bus.attach(b, 0);
    a.setInterrupt(true); // pin 0 + slot 1 -> 1, + slot 2 -> 3
    b.setInterrupt(true); // pin 1 + slot 0 -> 1, + slot 2 -> 3
    a.setInterrupt(false);
    two.bus.detach(b);
    t.strictSame(root.interrupts, ['3:3:up', '3:3:down']);
  },
);

t.test('a function that leaves takes its BARs and its bus along', async (t) => {
  const { bus } = fakeRoot();
  const fn = fakeFunction();
  bus.attach(fn, 8);
  t.throws(() => bus.attach(fakeFunction(), 8), RangeError);
  bus.detach(fn);
  bus.detach(fn);
  t.strictSame([fn.bus, bus.functions, bus.function(8)], [undefined, [], undefined]);
  t.throws(
    () =>
      new PciBus({ name: 'x', typeName: 'PCI', express: false, memory: bus.memory, io: bus.io }),
    RangeError,
  );
});

import t from 'tap';
import * as capabilities from '../../../devices/pci/capabilities.js';
import { MsiX } from '../../../devices/pci/msix.js';
import { PciFunction } from '../../../devices/pci/function.js';
import { PORT_TYPE } from '../../../devices/pci/registers.js';
import { BRIDGE_IDENTITY, ENDPOINT, fakeFunction, fakeLog, fakeRoot } from '../../support/pci.js';

const { addAcs, addAer, addPcieCapability, addSsvid } = capabilities;

/** The capabilities of a pcie-root-port with slot=1; reference §1.8. */
const rootPort = (): PciFunction => {
  const fn = fakeFunction(BRIDGE_IDENTITY);
  addSsvid(fn, 0x1b36, 0);
  new MsiX(fn, { vectors: 1, bar: 0 });
  addPcieCapability(fn, {
    type: PORT_TYPE.ROOT_PORT,
    slot: { number: 1, hotplug: true, powerController: true },
    link: { speed: 4, width: 32 },
  });
  addAer(fn);
  addAcs(fn);
  return fn;
};

/** Dwords of `fn` from `from` to `to` that are not 0. */
const dwords = (fn: PciFunction, from: number, to: number): Record<string, number> => {
  const found: Record<string, number> = {};
  for (let at = from; at < to; at += 4)
    if (fn.config.get(at, 4) !== 0) found[at.toString(16)] = fn.config.get(at, 4);
  return found;
};

t.test('the layout of a root port is the one of pcie-root-port', async (t) => {
  const fn = rootPort();
  t.equal(fn.config.get(0x34, 1), 0x54);
  t.strictSame(dwords(fn, 0x40, 0x1000), {
    '40': 0x0000000d,
    '44': 0x00001b36,
    '48': 0x00004011,
    '50': 0x00000800,
    '54': 0x01424810,
    '58': 0x00008020,
    '60': 0x00300604,
    '64': 0x02040000,
    '68': 0x000a007b,
    '6c': 0x000003c0,
    '78': 0x00300020,
    '80': 0x0000001e,
    '84': 0x00000004,
    '100': 0x14820001,
    '108': 0x02400000,
    '10c': 0x00462030,
    '114': 0x0000e000,
    '118': 0x000002a0,
    '148': 0x0001000d,
    '14c': 0x0000005f,
  });
});

t.test('its writable bits are those of the registers', async (t) => {
  const fn = rootPort();
  fakeRoot().bus.attach(fn, 8);
  const written = [0x5c, 0x60, 0x64, 0x68, 0x70, 0x7c, 0x10c, 0x114, 0x118, 0x12c, 0x14c];
  for (const at of written) fn.writeConfig(at, 4, 0xffffffff);
  t.strictSame(
    written.map((at) => fn.readConfig(at, 4)),
    [0xf, 0x00300604, 0x02040000, 0x000a007b, 7, 0x8020, 0x03fff030, 0xf1c1, 0x7e0, 7, 0x005f005f],
  );
});

t.test('reset clears what software enabled in the express capability', async (t) => {
  const fn = rootPort();
  fakeRoot().bus.attach(fn, 8);
  for (const at of [0x5c, 0x70, 0x7c]) fn.writeConfig(at, 2, 0xffff);
  fn.reset();
  t.strictSame(
    [0x5c, 0x70, 0x7c].map((at) => fn.readConfig(at, 2)),
    [0, 0, 0],
  );
});

t.test('an endpoint says whether it is part of the root complex', async (t) => {
  const { bus } = fakeRoot();
  const conventional = fakeRoot({ express: false, typeName: 'PCI' });
  for (const [on, type] of [
    [bus, PORT_TYPE.ROOT_COMPLEX_ENDPOINT],
    [conventional.bus, PORT_TYPE.ENDPOINT],
  ] as const) {
    const fn = fakeFunction();
    on.attach(fn, 8);
    t.equal(capabilities.endpointType(fn), type);
    const at = addPcieCapability(fn, { type: capabilities.endpointType(fn) });
    t.equal(fn.config.get(at + 2, 2), 2 | (type << 4));
    t.equal(fn.portType, type);
  }
});

t.test('an endpoint has a 2.5 GT/s lane, no slot, and an empty extended list', async (t) => {
  const fn = fakeFunction();
  fakeRoot().bus.attach(fn, 8);
  addPcieCapability(fn, { type: PORT_TYPE.ENDPOINT, at: 0x80, extendedTag: false });
  t.strictSame(dwords(fn, 0x80, 0xbc), {
    '80': 0x00020010,
    '84': 0x00008000,
    '8c': 0x00000411,
    '90': 0x00110000,
    a4: 0x00300000,
  });
  fn.writeConfig(0x100, 4, 0xffffffff);
  t.equal(fn.readConfig(0x100, 4), 0);
});

t.test('function level reset resets the device and its trigger reads 0', async (t) => {
  const resets: string[] = [];
  const fn = new PciFunction({
    typeName: 'x',
    id: undefined,
    identity: ENDPOINT,
    log: fakeLog(),
    resetDevice: (type) => resets.push(type),
  });
  fakeRoot().bus.attach(fn, 8);
  const at = addPcieCapability(fn, { type: PORT_TYPE.ENDPOINT, functionReset: true });
  t.equal(fn.config.get(at + 4, 4), 0x10008020);
  fn.writeConfig(at + 8, 2, 0x8001);
  t.strictSame(resets, ['warm']);
  t.equal(fn.readConfig(at + 8, 2), 1);
});

t.test('the other capabilities lie as their layouts say', async (t) => {
  const fn = fakeFunction();
  capabilities.addPowerManagement(fn, { d2: true });
  capabilities.addVendorCapability(fn, Uint8Array.of(0xaa, 0xbb));
  t.strictSame(dwords(fn, 0x40, 0x100), {
    '40': 0x04030001,
    '44': 8,
    '48': 0xaa054009,
    '4c': 0xbb,
  });
  capabilities.addDvsec(fn, {
    vendor: 0x1e98,
    id: 8,
    revision: 3,
    body: new Uint8Array(26).fill(1),
  });
  capabilities.addSerialNumber(fn, 0x1122334455667788n);
  t.strictSame(
    [0x100, 0x104, 0x108, 0x120, 0x124, 0x128, 0x12c].map((at) => fn.config.get(at, 4)),
    [0x12410023, 0x02431e98, 0x01010008, 0x01010101, 0x00010003, 0x55667788, 0x11223344],
  );
});

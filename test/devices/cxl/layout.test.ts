import t from 'tap';
import { cxlType3 } from '../../../devices/cxl-type3/index.js';
import type { ConfigSpace } from '../../../devices/pci/config-space.js';
import type { PciDevice } from '../../../devices/pci/function.js';
import { busOf, CxlBoard, UNIT } from '../../support/cxl.js';
import { SparseBackend } from '../../support/sparse-memory.js';

// Places of capabilities and DVSECs: reference/cxl.md §2.1 and §2.2.

/** `OFFSET: what`, capabilities in list order, DVSECs as id/length/revision. */
const layout = ({ pci: { config } }: PciDevice): string[] => {
  const found: string[] = [];
  for (let at = config.get(0x34, 1); at !== 0; at = config.get(at + 1, 1))
    found.push(`${at.toString(16)}: ${config.get(at, 1).toString(16)}`);
  for (const at of config.extendedCapabilities())
    found.push(`${at.toString(16)}: ${name(config, at)}`);
  return found;
};
const name = (config: ConfigSpace, at: number): string => {
  if (config.get(at, 2) !== 0x23) return `ext ${config.get(at, 2).toString(16)}`;
  const [id, length] = [config.get(at + 8, 2), config.get(at + 6, 2) >> 4];
  return `${String(id)}/${length.toString(16)}/${String(config.get(at + 6, 1) & 0xf)}`;
};
/** Ends of extended capabilities: nothing overlaps. */
const overlaps = ({ pci: { config } }: PciDevice): string[] => {
  const sizes: Readonly<Record<number, number>> = { 1: 0x48, 3: 12, 0xd: 8, 0x2e: 0x18 };
  const places = config.extendedCapabilities().sort((a, b) => a - b);
  return places.flatMap((at, i) => {
    const id = config.get(at, 2);
    const size = id === 0x23 ? config.get(at + 6, 2) >> 4 : (sizes[id] ?? 0);
    const next = places[i + 1];
    return next !== undefined && at + size > next ? [name(config, at)] : [];
  });
};

const type3 = (properties: Record<string, unknown>): PciDevice => {
  const board = new CxlBoard([]);
  const port = board.rootPort(board.hostBridge('cx0', 52), 'rp0');
  const backends = { 'volatile-memdev': new SparseBackend('m', UNIT) };
  const device = board.create(cxlType3, 'd0', { ...backends, ...properties });
  board.plug(device, { bus: busOf(port) });
  return device;
};

t.test('ports', async (t) => {
  const board = new CxlBoard([]);
  const bus = board.hostBridge('cx0', 52);
  const port = board.rootPort(bus, 'rp0');
  const plain = board.rootPort(bus, 'rp1', 1, { 'disable-acs': true });
  const upstream = board.upstream(port, 'us0', { sn: 1n });
  const downstream = board.downstream(upstream, 'ds0', 3);
  const dvsecs = ['150: 3/28/0', '178: 4/10/0', '188: 7/20/2', '1a8: 8/24/0'];
  const standard = ['74: 10', '60: 5', '40: d', '100: ext 1'];
  t.strictSame(layout(port), [...standard, '148: ext d', ...dvsecs]);
  t.strictSame(layout(plain), [...standard, ...dvsecs]);
  t.strictSame(layout(upstream), [
    ...['90: 10', '70: 5', '100: ext 1', '148: ext 3'],
    ...['154: 3/28/0', '17c: 7/20/2', '19c: 8/24/0', '1c0: ext 2e'],
  ]);
  t.strictSame(layout(board.upstream(plain, 'us1')).slice(-5), [
    ...['100: ext 1', '154: 3/28/0', '17c: 7/20/2', '19c: 8/24/0', '1c0: ext 2e'],
  ]);
  t.strictSame(layout(downstream), [
    ...['90: 10', '70: 5', '100: ext 1'],
    ...['148: 3/28/0', '170: 7/20/2', '190: 4/10/0', '1a0: 8/24/0'],
  ]);
  for (const one of [port, plain, upstream, downstream]) t.strictSame(overlaps(one), []);
});

t.test('memory devices, with and without a serial number', async (t) => {
  const plain = type3({});
  t.strictSame(layout(plain), [
    ...['80: 10', '40: 11', '100: 0/3c/3', '13c: 8/24/0', '160: 5/10/0', '170: 7/20/2'],
    ...['190: ext 2e', '200: ext 1'],
  ]);
  const serial = type3({ sn: 0x1122334455667788n });
  t.strictSame(layout(serial), [
    ...['80: 10', '40: 11', '100: ext 3', '10c: 0/3c/3', '148: 8/24/0', '16c: 5/10/0'],
    ...['17c: 7/20/2', '1a0: ext 2e', '200: ext 1'],
  ]);
  t.equal(serial.pci.config.get64(0x104), 0x1122334455667788n);
  for (const one of [plain, serial]) t.strictSame(overlaps(one), []);
});

t.test('what a device announces to hosts without decoders', async (t) => {
  const ranges = (properties: Record<string, unknown>): string[] => {
    const { config } = type3(properties).pci;
    return [0x118, 0x11c, 0x128, 0x12c].map((at) => config.get(at, 4).toString(16));
  };
  const backend = (size: bigint): SparseBackend => new SparseBackend('b', size);
  const lsa = new SparseBackend('l', 0x1000n);
  t.strictSame(ranges({}), ['0', '1000004b', '0', '0'], 'volatile');
  t.strictSame(
    ranges({ 'persistent-memdev': backend(20n * UNIT), lsa }),
    ['0', '1000004b', '1', '4000004b'],
    'and persistent, above 4 GiB',
  );
  const dynamic = { 'volatile-memdev': undefined, 'num-dc-regions': 1 };
  t.strictSame(
    ranges({ ...dynamic, 'volatile-dc-memdev': backend(UNIT) }),
    ['0', '4b', '0', '0'],
    'dynamic capacity is not told',
  );
});

t.test('register locators lead to the BARs', async (t) => {
  const { config } = type3({}).pci;
  t.strictSame(
    [0xc, 0x10, 0x14, 0x18, 0x1c].map((at) => config.get(0x13c + at, 4)),
    [0x100, 0, 0x302, 0, 0],
  );
});

t.test('links and slots as the properties say', async (t) => {
  const board = new CxlBoard([]);
  const bus = board.hostBridge('cx0', 52);
  const registers = (id: string, properties: Record<string, unknown>): string[] => {
    const { config } = board.rootPort(bus, id, 7, properties).pci;
    // Link capabilities, link capabilities 2, link control 2, slot capabilities without the number.
    const values = [config.get(0x80, 4), config.get(0xa0, 4), config.get(0xa4, 2)];
    return [...values, config.get(0x88, 4) & 0x7_ffff].map((value) => value.toString(16));
  };
  const speeds = { fast: {}, slow: { 'x-speed': '2_5', 'x-width': '1' }, '5': { 'x-speed': '5' } };
  t.strictSame(registers('a', speeds.fast), ['7300606', '7e', '6', '2007b'], '64 GT/s, 32 lanes');
  t.strictSame(registers('b', speeds.slow), ['7000411', '0', '0', '2007b']);
  t.strictSame(registers('c', speeds['5']), ['7300602', '0', '2', '2007b']);
  const hidden = { 'x-do-not-expose-native-hotplug-cap': true };
  t.equal(registers('d', hidden)[3], '2003b', 'not announced');
  t.equal(registers('e', { hotplug: false })[3], '2001b');
  t.equal(registers('f', { power_controller_present: false })[3], '20079');
});

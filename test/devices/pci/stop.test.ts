import t from 'tap';
import { MemoryRegion } from '../../../devices/core/memory-region.js';
import { AddressSpace } from '../../../devices/core/address-space.js';
import { CONFIG, COMMAND } from '../../../devices/pci/registers.js';
import { ArrayMemory, fakeFunction, fakeRoot } from '../../support/pci.js';

const BAR_ADDRESS = 0xe000_0000;

/** A function whose BAR has registers in its first half and memory in the second. */
const setUp = () => {
  const root = fakeRoot();
  const fn = fakeFunction();
  const writes: string[] = [];
  const bar = MemoryRegion.container('bar', 0x2000n);
  const ops = {
    read: (offset: number) => BigInt(offset + 1),
    write: (offset: number, size: number, value: bigint) =>
      void writes.push(`${String(offset)}/${String(size)}=${value.toString(16)}`),
  };
  const rules = { valid: { min: 1, max: 8 }, impl: { min: 1, max: 8 } } as const;
  bar.add(MemoryRegion.mmio('registers', 0x1000n, ops, rules), 0n);
  const memory = new ArrayMemory(0x1000);
  bar.add(MemoryRegion.ram('memory', { memory }), 0x1000n);
  fn.registerBar(0, bar, { type: 'memory' });
  root.bus.attach(fn, 8);
  fn.writeConfig(CONFIG.BAR0, 4, BAR_ADDRESS);
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY | COMMAND.MASTER);
  const at = (offset: number): bigint => BigInt(BAR_ADDRESS + offset);
  return { ...root, fn, writes, memory, at };
};

t.test('registers of a stopped function are read; writes wait and come in order', (t) => {
  const { fn, writes, systemMemory, at } = setUp();
  const go = fn.activity.hold();
  t.equal(systemMemory.read(at(4), 4), 5n);
  systemMemory.write(at(8), 8, 0x1122_3344_5566_7788n);
  fn.writeBar(0, 3, 1, 0xabn);
  fn.writeConfig(CONFIG.INTERRUPT_LINE, 1, 9);
  fn.writeBarBytes(0, 16, Uint8Array.of(1, 2, 3, 4, 5));
  t.strictSame(writes, []);
  t.equal(fn.readConfig(CONFIG.INTERRUPT_LINE, 1), 0);
  t.equal(fn.activity.latch.latched, 5);
  go();
  t.strictSame(writes, ['8/8=1122334455667788', '3/1=ab', '16/4=4030201', '20/1=5']);
  t.equal(fn.readConfig(CONFIG.INTERRUPT_LINE, 1), 9);
  systemMemory.write(at(0), 4, 1n);
  t.equal(writes.length, 5, 'from then on they take effect at once');
  t.end();
});

t.test('memory of a stopped function is read; writes are dropped', (t) => {
  const { fn, memory, writes, systemMemory, at } = setUp();
  memory.bytes[0] = 7;
  const go = fn.activity.hold();
  systemMemory.write(at(0x1000), 4, 0xffffn);
  fn.writeBarBytes(0, 0xffe, Uint8Array.of(1, 2, 3, 4));
  t.equal(systemMemory.read(at(0x1000), 4), 7n);
  t.strictSame([...fn.readBarBytes(0, 0x0fff, 2)].slice(1), [7]);
  t.equal(fn.activity.latch.latched, 1, 'of a write over both the part of the registers waits');
  go();
  t.strictSame(writes, ['4094/2=201']);
  t.strictSame([...memory.bytes.subarray(0, 4)], [7, 0, 0, 0]);
  systemMemory.write(at(0x1000), 4, 0xffffn);
  t.equal(memory.bytes[0], 0xff);
  t.end();
});

t.test('a stopped function does no DMA', (t) => {
  const { fn, ram } = setUp();
  const go = fn.activity.hold();
  t.equal(fn.dma.write(0x100n, Uint8Array.of(1)), false);
  const into = Uint8Array.of(9);
  t.equal(fn.dma.read(0x100n, into), false);
  t.strictSame([into[0], ram.bytes[0x100]], [0, 0]);
  go();
  t.equal(fn.dma.write(0x100n, Uint8Array.of(1)), true);
  t.equal(ram.bytes[0x100], 1);
  t.end();
});

t.test('a BAR keeps its place while the function is stopped, and moves afterwards', (t) => {
  const { fn, systemMemory, bus, at } = setUp();
  const over = fakeFunction();
  const region = MemoryRegion.mmio('over', 0x1000n, { read: () => 0x77n, write: () => undefined });
  over.registerBar(0, region, { type: 'memory' });
  bus.attach(over, 16);
  over.writeConfig(CONFIG.BAR0, 4, BAR_ADDRESS);
  over.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  const go = fn.activity.hold();
  t.equal(systemMemory.read(at(0), 4), 0x77n, 'what lay over it still does');
  over.writeConfig(CONFIG.COMMAND, 2, 0);
  fn.writeConfig(CONFIG.BAR0, 4, 0xd000_0000);
  t.equal(systemMemory.read(at(0), 4), 1n);
  t.equal(fn.bars[0]?.address, BigInt(BAR_ADDRESS));
  go();
  t.equal(systemMemory.read(at(0), 4), 0n);
  t.equal(systemMemory.read(0xd000_0000n, 4), 1n);
  t.end();
});

t.test('reset, removal and a loaded state drop what was latched', (t) => {
  const { fn, writes, bus } = setUp();
  const { activity } = fn;
  let go = activity.hold();
  fn.writeBar(0, 0, 4, 1n);
  fn.resetDevice('warm');
  t.equal(activity.latch.latched, 0);
  go();
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  const saved = fn.save();
  go = activity.hold();
  fn.writeBar(0, 0, 4, 1n);
  fn.load(saved);
  t.equal(activity.latch.latched, 0);
  fn.writeBar(0, 0, 4, 1n);
  bus.detach(fn);
  fn.close();
  t.equal(activity.latch.latched, 0);
  go();
  t.strictSame(writes, []);
  t.end();
});

t.test('a power cut resets a stopped function', (t) => {
  const { fn } = setUp();
  let resets = 0;
  const go = fn.activity.hold();
  fn.activity.onReset(() => {
    resets++;
    go();
  });
  fn.setPowered(false);
  t.strictSame([resets, fn.activity.stopped], [1, false]);
  t.end();
});

t.test('reads of configuration space leave no trace while the function is stopped', (t) => {
  const { fn } = setUp();
  fn.onConfigRead(() => fn.config.set(0xf0, 4, fn.config.get(0xf0, 4) + 1));
  t.equal(fn.readConfig(0xf0, 4), 1);
  const go = fn.activity.hold();
  t.equal(fn.readConfig(0xf0, 4), 2);
  t.equal(fn.readConfig(0xf0, 4), 2);
  go();
  t.equal(fn.readConfig(0xf0, 4), 2);
  t.end();
});

t.test('DMA that reaches memory of the system is told, other DMA is not', (t) => {
  const { fn, at } = setUp();
  const told: string[] = [];
  const forget = fn.onDmaWrite((address, length) =>
    told.push(`${address.toString(16)}+${String(length)}`),
  );
  fn.dma.write(0x1000n, new Uint8Array(5));
  fn.dma.write(0xfffen, new Uint8Array(8));
  fn.dma.write(at(0), new Uint8Array(4));
  fn.dma.write(0xfee0_0000n, new Uint8Array(4));
  fn.dma.read(0x1000n, new Uint8Array(4));
  t.strictSame(told, ['1000+5', 'fffe+2']);
  forget();
  fn.dma.write(0x1000n, new Uint8Array(5));
  t.equal(told.length, 2);
  t.end();
});

t.test('ports of a stopped function read ones where nothing is', (t) => {
  const { bus, ports } = fakeRoot();
  const fn = fakeFunction();
  fn.registerBar(0, MemoryRegion.container('ports', 16n), { type: 'io' });
  bus.attach(fn, 8);
  fn.writeConfig(CONFIG.BAR0, 4, 0x1000);
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.IO);
  const before = ports.read(0x1000n, 2);
  fn.activity.hold();
  t.equal(ports.read(0x1000n, 2), before);
  t.equal(before, 0xffffn);
  t.end();
});

t.test('the regions that stand for one another are told of changes', (t) => {
  const place = MemoryRegion.container('place', 0x100n);
  const constant = (name: string, value: bigint): MemoryRegion =>
    MemoryRegion.mmio(name, 0x10n, { read: () => value, write: () => undefined });
  const [a, b, c] = [constant('a', 1n), constant('b', 2n), constant('c', 3n)];
  place.add(a, 0n);
  place.add(c, 0x20n);
  const space = new AddressSpace(place, 'zeros');
  t.equal(space.read(0n, 4), 1n);
  place.replace(a, b);
  t.equal(space.read(0n, 4), 2n);
  b.enabled = false;
  t.equal(space.read(0n, 4), 0n);
  place.replace(a, c);
  t.strictSame(
    place.subregions.map(({ region }) => region.name),
    ['c', 'b'],
  );
  t.end();
});

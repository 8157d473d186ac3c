import fc from 'fast-check';
import t from 'tap';
import { MemoryRegion } from '../../../devices/core/memory-region.js';
import { UNMAPPED } from '../../../devices/pci/bars.js';
import { addPowerManagement } from '../../../devices/pci/capabilities.js';
import type { BarKind, PciFunction } from '../../../devices/pci/function.js';
import { COMMAND, CONFIG } from '../../../devices/pci/registers.js';
import { ArrayMemory, fakeFunction, fakeRoot } from '../../support/pci.js';

const ram = (size: number): { memory: ArrayMemory; region: MemoryRegion } => {
  const memory = new ArrayMemory(size);
  return { memory, region: MemoryRegion.ram('ram', { memory }) };
};
const plugged = (fn: PciFunction, devfn = 8) => {
  const root = fakeRoot();
  root.bus.attach(fn, devfn);
  return root;
};

t.test('the header reads as a type 0 header after reset', async (t) => {
  const fn = fakeFunction({ progIf: 0x10, revision: 2 });
  plugged(fn);
  fn.reset();
  t.equal(fn.readConfig(0x00, 4), 0x11101b00);
  t.equal(fn.readConfig(0x04, 4), 0);
  t.equal(fn.readConfig(0x08, 4), 0x05001002);
  t.equal(fn.readConfig(0x2c, 4), 0x11001af4);
  t.equal(fn.readConfig(0x3c, 4), 0x00000100);
});

t.test('only the writable bits of the header can be written', async (t) => {
  const fn = fakeFunction({ express: false, interruptPin: 0 });
  fn.registerBar(0, MemoryRegion.container('registers', 256n), { type: 'memory' });
  fn.registerBar(2, MemoryRegion.container('memory', 1n << 20n), {
    type: 'memory',
    bits64: true,
    prefetch: true,
  });
  fn.registerBar(4, MemoryRegion.container('ports', 32n), { type: 'io' });
  fn.registerBar(6, MemoryRegion.container('rom', 0x10000n), { type: 'memory' });
  plugged(fn);
  const after = (value: number): number[] => {
    for (let at = 0; at < 0x40; at += 4) fn.writeConfig(at, 4, value);
    return [0x04, 0x0c, 0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x28, 0x30, 0x3c].map((at) =>
      fn.readConfig(at, 4),
    );
  };
  // reference/pci-and-memory-devices.md §1.3, §1.5, §11 vector 4
  t.strictSame(
    after(0xffffffff),
    [
      0x00000507, 0x000000ff, 0xffffff00, 0, 0xfff0000c, 0xffffffff, 0xffffffe1, 0, 0, 0xffff0001,
      0xff,
    ],
  );
  t.strictSame(after(0), [0, 0, 0, 0, 0xc, 0, 1, 0, 0, 0, 0]);
});

t.test('a BAR is mapped where it points, in the parent bus, while it decodes', async (t) => {
  const fn = fakeFunction();
  const { memory, region } = ram(0x1000);
  fn.registerBar(0, region, { type: 'memory' });
  const { systemMemory } = plugged(fn);
  memory.bytes[5] = 0x77;
  const address = () => fn.bars[0]?.address;
  fn.writeConfig(0x10, 4, 0xe0000123);
  t.equal(address(), UNMAPPED, 'MEM is clear');
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  t.equal(address(), 0xe0000000n);
  t.equal(systemMemory.read(0xe0000005n, 1), 0x77n);
  fn.writeConfig(0x13, 1, 0xe1);
  t.equal(systemMemory.read(0xe0000005n, 1), 0n, 'moved away');
  t.equal(systemMemory.read(0xe1000005n, 1), 0x77n);
  fn.writeConfig(0x10, 4, 0);
  t.equal(address(), UNMAPPED, 'address 0');
  fn.writeConfig(0x10, 4, 0xffffffff);
  t.equal(address(), UNMAPPED, 'the last byte would be 0xffffffff');
  fn.writeConfig(0x10, 4, 0xffffe000);
  t.equal(address(), 0xffffe000n);
  fn.reset();
  t.equal(address(), UNMAPPED, 'reset');
});

t.test('mapping follows the rules of §1.5 for every kind of BAR', async () => {
  const kinds: readonly BarKind[] = [
    { type: 'memory' },
    { type: 'memory', bits64: true, prefetch: true },
    { type: 'io' },
  ];
  const word = fc.oneof(
    fc.integer({ min: 0, max: 0xffff_ffff }),
    fc.constantFrom(0, 0xffff_ffff, 0xffff_0000, 0x8000_0000, 0x1000),
  );
  const command = fc.integer({ min: 0, max: 7 });
  fc.assert(
    fc.property(
      fc.constantFrom(...kinds),
      fc.integer({ min: 4, max: 31 }),
      word,
      word,
      command,
      (kind, log2, low, high, bits) => {
        const size = 1n << BigInt(log2);
        const fn = fakeFunction();
        fn.registerBar(0, MemoryRegion.container('bar', size), kind);
        plugged(fn);
        fn.writeConfig(0x10, 4, low);
        fn.writeConfig(0x14, 4, high);
        fn.writeConfig(CONFIG.COMMAND, 2, bits);
        const raw = BigInt(low) | (kind.bits64 ? BigInt(high) << 32n : 0n);
        const base = (raw / size) * size;
        const limit = kind.bits64 ? (1n << 64n) - 1n : 0xffff_ffffn;
        const enabled = (bits & (kind.type === 'io' ? 1 : 2)) !== 0;
        const mapped = enabled && base !== 0n && base + size - 1n < limit;
        return fn.bars[0]?.address === (mapped ? base : UNMAPPED);
      },
    ),
  );
});

t.test('of two BARs at one address the one mapped last wins (vector 10)', async (t) => {
  const root = fakeRoot();
  const [a, b] = [0xaa, 0xbb].map((fill, i) => {
    const fn = fakeFunction();
    const { memory, region } = ram(0x1000);
    memory.bytes.fill(fill);
    fn.registerBar(0, region, { type: 'memory' });
    root.bus.attach(fn, 8 * (i + 1));
    fn.writeConfig(0x10, 4, 0xe0100000);
    fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
    return fn;
  });
  t.equal(root.systemMemory.read(0xe0100000n, 1), 0xbbn);
  a?.writeConfig(CONFIG.COMMAND, 2, 0);
  a?.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  t.equal(root.systemMemory.read(0xe0100000n, 1), 0xaan);
  b?.writeConfig(CONFIG.INTERRUPT_LINE, 1, 9);
  t.equal(root.systemMemory.read(0xe0100000n, 1), 0xaan, 'other writes move nothing');
});

t.test('the ROM needs its own enable bit as well', async (t) => {
  const fn = fakeFunction();
  fn.registerBar(6, ram(0x1000).region, { type: 'memory' });
  plugged(fn);
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  fn.writeConfig(CONFIG.ROM, 4, 0xe0000000);
  t.equal(fn.bars[0]?.address, UNMAPPED);
  fn.writeConfig(CONFIG.ROM, 4, 0xe0000001);
  t.equal(fn.bars[0]?.address, 0xe0000000n);
});

t.test('a size that no BAR can have is refused', async (t) => {
  for (const [size, kind] of [
    [3n << 20n, { type: 'memory', bits64: true }],
    [8n, { type: 'memory' }],
    [2n, { type: 'io' }],
    [1n << 32n, { type: 'memory' }],
  ] as const) {
    const fn = fakeFunction();
    const region = MemoryRegion.container('bar', size);
    t.throws(() => fn.registerBar(2, region, kind), {
      class: 'GenericError',
      message: /power of two/,
    });
    t.strictSame(fn.bars, []);
  }
  t.throws(
    () => fakeFunction().registerBar(5, ram(16).region, { type: 'memory', bits64: true }),
    RangeError,
  );
});

t.test('without power the function is not there and forgets', async (t) => {
  const fn = fakeFunction();
  fn.registerBar(0, ram(0x1000).region, { type: 'memory' });
  plugged(fn);
  fn.writeConfig(0x10, 4, 0xe0000000);
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  fn.setPowered(false);
  t.equal(fn.bars[0]?.address, UNMAPPED);
  t.equal(fn.readConfig(0, 4), 0xffffffff);
  fn.writeConfig(CONFIG.INTERRUPT_LINE, 1, 9);
  fn.setPowered(true);
  t.equal(fn.readConfig(CONFIG.INTERRUPT_LINE, 1), 0);
  t.equal(fn.readConfig(0x10, 4), 0);
});

t.test('outside D0 nothing is mapped, and states that it lacks are not reached', async (t) => {
  const fn = fakeFunction();
  const at = addPowerManagement(fn, { d1: true });
  fn.registerBar(0, ram(0x1000).region, { type: 'memory' });
  plugged(fn);
  fn.writeConfig(0x10, 4, 0xe0000000);
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  const state = (wanted: number): [number, boolean] => {
    fn.writeConfig(at + 4, 2, wanted);
    return [fn.readConfig(at + 4, 2) & 3, fn.bars[0]?.address !== UNMAPPED];
  };
  t.strictSame([1, 2, 3, 1, 0].map(state), [
    [1, false],
    [1, false],
    [3, false],
    [3, false],
    [0, true],
  ]);
  state(3);
  fn.reset();
  t.equal(fn.readConfig(at + 4, 2), 8);
});

t.test('extended configuration space ends where the buses do', async (t) => {
  for (const [name, device, bus, end] of [
    ['express device, express bus', true, true, 0x1000],
    ['express device, conventional bus', true, false, 0x100],
    ['conventional device, express bus', false, true, 0x100],
  ] as const) {
    const fn = fakeFunction({ express: device });
    fakeRoot({ express: bus }).bus.attach(fn, 8);
    const reads = [0xfc, 0x100, 0xffc].map((at) => fn.readConfig(at, 4) !== 0xffffffff);
    t.strictSame(reads, [0xfc < end, 0x100 < end, 0xffc < end], name);
  }
  t.equal(fakeFunction().readConfig(0, 2), 0xffff, 'on no bus at all');
});

t.test('a hot-added function above 0 waits for function 0', async (t) => {
  const { bus } = fakeRoot();
  const [zero, one] = [fakeFunction(), fakeFunction()];
  bus.attach(one, 9, { hotplugged: true });
  t.equal(one.readConfig(0, 2), 0xffff);
  bus.attach(zero, 8, { hotplugged: true });
  t.equal(one.readConfig(0, 2), 0x1b00);
  const cold = fakeFunction();
  bus.attach(cold, 17);
  t.equal(cold.readConfig(0, 2), 0x1b00, 'cold-plugged ones do not');
});

t.test('DMA and bus-wide side effects obey the command register', async (t) => {
  const fn = fakeFunction();
  const { ram: system } = plugged(fn);
  system.bytes[0x100] = 9;
  const into = new Uint8Array([1, 1]);
  t.equal(fn.dma.read(0x100n, into), false);
  t.strictSame([...into], [0, 0]);
  t.equal(fn.dma.write(0x100n, new Uint8Array([5])), false);
  t.equal(system.bytes[0x100], 9);
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MASTER);
  t.equal(fn.dma.read(0x100n, into), true);
  t.strictSame([...into], [9, 0]);
  t.equal(fn.dma.write(0x100n, new Uint8Array([5])), true);
  t.equal(system.bytes[0x100], 5);
});

t.test('BARs are reached directly while power and command let them decode', async (t) => {
  const fn = fakeFunction();
  const { memory, region } = ram(0x1000);
  fn.registerBar(2, region, { type: 'memory', bits64: true });
  plugged(fn);
  fn.writeBar(2, 0, 4, 1n);
  t.equal(memory.bytes[0], 0);
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  fn.writeBar(2, 0, 4, 0x01020304n);
  t.equal(fn.readBar(2, 1, 2), 0x0203n);
  fn.writeBarBytes(2, 0x10, new Uint8Array([7, 8]));
  t.strictSame([...fn.readBarBytes(2, 0xf, 4)], [0, 7, 8, 0]);
  t.equal(fn.readBar(3, 0, 4), 0n, 'no such BAR');
  fn.setPowered(false);
  t.equal(fn.readBar(2, 0, 4), 0n);
});

t.test(
  'the interrupt line shows in the status, and INTX_DISABLE keeps it from the bus',
  async (t) => {
    const fn = fakeFunction();
    const { interrupts } = plugged(fn, 5 * 8);
    const status = (): number => fn.readConfig(CONFIG.STATUS, 2);
    fn.setInterrupt(true);
    fn.setInterrupt(true);
    t.equal(status(), 0x08);
    fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.INTX_DISABLE);
    t.equal(status(), 0x08);
    fn.writeConfig(CONFIG.COMMAND, 2, 0);
    fn.setInterrupt(false);
    t.equal(status(), 0);
    t.strictSame(interrupts, ['5:0:up', '5:0:down', '5:0:up', '5:0:down']);
    const silent = fakeFunction({ interruptPin: 0 });
    silent.setInterrupt(true);
    t.equal(silent.config.get(CONFIG.STATUS, 2), 0);
  },
);

t.test('write hooks come after the bytes and the BARs, and end with the function', async (t) => {
  const fn = fakeFunction();
  fn.registerBar(0, ram(0x1000).region, { type: 'memory' });
  plugged(fn);
  const seen: unknown[] = [];
  const unhook = fn.onConfigWrite((offset, size) => seen.push([offset, size, fn.bars[0]?.address]));
  fn.onConfigWrite(() => seen.push('second'));
  fn.writeConfig(0x10, 4, 0xe0000000);
  fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  t.strictSame(seen, [[0x10, 4, UNMAPPED], 'second', [4, 2, 0xe0000000n], 'second']);
  unhook();
  fn.close();
  fn.writeConfig(CONFIG.COMMAND, 2, 0);
  t.equal(seen.length, 4);
  t.strictSame(fn.bars, []);
});

t.test('a saved function goes on elsewhere', async (t) => {
  const make = () => {
    const fn = fakeFunction();
    fn.registerBar(0, ram(0x1000).region, { type: 'memory' });
    return { fn, ...plugged(fn) };
  };
  const [from, to] = [make(), make()];
  from.fn.writeConfig(0x10, 4, 0xe0000000);
  from.fn.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY);
  from.fn.setInterrupt(true);
  const state = from.fn.save();
  from.fn.setInterrupt(false);
  to.fn.load(state);
  t.equal(to.fn.bars[0]?.address, 0xe0000000n);
  t.strictSame(to.interrupts, ['1:0:up']);
  t.strictSame(to.fn.save(), state);
});

t.test('a state of another function is refused and changes nothing', async (t) => {
  const fn = fakeFunction();
  plugged(fn);
  const before = fn.save();
  const other = fakeFunction({ deviceId: 1 }).save();
  for (const state of [{}, other, { ...before, config: new Uint8Array(256) }])
    t.throws(() => fn.load(state), { class: 'GenericError', message: /^saved (function|config)/ });
  t.strictSame(fn.save(), before);
});

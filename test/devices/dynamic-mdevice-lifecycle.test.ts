import * as fs from 'node:fs';
import t from 'tap';
import type { Test } from 'tap';
import { COMMAND, EVENT } from '../../devices/dynamic-mdevice/registers.js';
import { MdeviceBench, backingFile, needsNative } from '../support/mdevice.js';

const { ATTACH, DETACH } = COMMAND;
const MiB = 1n << 20n;
const PAGE = 0x1000n;
const SMALL = { size: 16n * MiB, align: 4096 };

const bench = (t: Test, properties = {}, length = 0x10000): MdeviceBench =>
  MdeviceBench.started(t, { ...SMALL, 'mem-path': backingFile(t, length), ...properties });
const openFiles = (path: string): number =>
  fs
    .readdirSync('/proc/self/fd')
    .filter(
      (fd) =>
        fs.existsSync(`/proc/self/fd/${fd}`) && fs.readlinkSync(`/proc/self/fd/${fd}`) === path,
    ).length;
const mappings = (path: string): number =>
  fs
    .readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.endsWith(path)).length;

t.test(
  'the last of equal attachments goes first, and all go with size 0',
  needsNative,
  async (t) => {
    const b = bench(t);
    for (let i = 0; i < 3; i++) b.run(ATTACH, PAGE, 0n);
    b.fresh(DETACH, PAGE, 0n);
    t.equal(b.read('HW_OFFSET'), 0x2000n);
    t.equal(b.fresh(DETACH, 0n, 0x7000n), EVENT.DETACHED);
    t.equal(b.read('HW_OFFSET'), 0n);
    t.strictSame(b.device.attachments(), []);
    t.equal(b.emitted.length, 5);
  },
);

t.test(
  'room in the middle is used again, without overlap (defects 36, 37)',
  needsNative,
  async (t) => {
    const b = bench(t, { size: 0x4000n });
    for (const offset of [0n, 0x1000n, 0x2000n, 0x3000n]) b.run(ATTACH, PAGE, offset);
    b.run(DETACH, PAGE, 0x1000n);
    t.equal(b.read('HW_OFFSET'), 0x4000n);
    t.equal(b.fresh(ATTACH, 0x2000n, 0x8000n), EVENT.NO_MEMORY, 'the gap is too small');
    t.equal(b.fresh(ATTACH, PAGE, 0x8000n), EVENT.ATTACHED);
    t.equal(b.read('HW_OFFSET'), 0x2000n);
    t.strictSame(
      [0, 0x1000, 0x2000, 0x3000].map((at) => b.memory(at)),
      [1, 9, 3, 4],
    );
  },
);

t.test(
  'unmapped reads are 0, writes are dropped, both set bit 4 (defect 29)',
  needsNative,
  async (t) => {
    const b = bench(t);
    const { pci } = b.device;
    for (const access of [
      () => t.equal(pci.readBar(2, 0x5000, 8), 0n),
      () => pci.writeBar(2, 0x5001, 1, 1n),
      () => t.strictSame([...pci.readBarBytes(2, 0x5000, 3)], [0, 0, 0]),
    ]) {
      b.write('INT_STATUS', 0xffn);
      access();
      t.equal(b.read('INT_STATUS'), EVENT.UNMAPPED_ACCESS);
    }
  },
);

t.test(
  'a mask bit holds the message back until it is cleared (vector 34, defect 2)',
  needsNative,
  async (t) => {
    const b = bench(t);
    b.enableMsi();
    b.write('INT_MASK', 1n);
    b.run(ATTACH, PAGE, 0n);
    t.equal(b.message(), false);
    b.write('INT_MASK', 0n);
    t.equal(b.message(), true);
    b.write('INT_MASK', 0n);
    t.equal(b.message(), false);
    b.run(ATTACH, PAGE, PAGE);
    t.equal(b.message(), false, 'the bit was set already');
    b.fresh(ATTACH, PAGE, PAGE);
    t.equal(b.message(), true);
  },
);

t.test(
  'no message leaves while MSI is disabled or MASTER is clear (vector 34, defect 3)',
  needsNative,
  async (t) => {
    const b = bench(t);
    const before = b.root.ram.bytes.slice();
    b.run(ATTACH, PAGE, 0n);
    t.strictSame(b.root.ram.bytes, before, 'nothing is written at address 0');
    b.enableMsi();
    b.enable(2);
    b.fresh(ATTACH, PAGE, 0n);
    t.equal(b.message(), false);
  },
);

t.test(
  'a doorbell without enable does nothing, an unknown command sets bit 5 (vector 35, defect 28)',
  needsNative,
  async (t) => {
    const b = bench(t);
    b.write('MEM_SIZE', PAGE);
    b.write('DOOR_BELL', 1n);
    t.equal(b.read('INT_STATUS'), 0n);
    b.write('DOOR_BELL', 0x80000099n);
    t.equal(b.read('INT_STATUS'), EVENT.BAD_COMMAND);
    t.equal(b.read('DOOR_BELL'), 0n);
    t.equal(b.fresh(DETACH, PAGE, 0x3000n), EVENT.BAD_COMMAND, 'nothing to detach');
    b.write('INT_STATUS', 0xffffffffn);
    b.write('DOOR_BELL', 0xffff0001n);
    t.equal(b.read('INT_STATUS'), EVENT.ATTACHED, 'other bits are ignored');
  },
);

t.test(
  'reset clears everything without a message (vector 36, defect 19)',
  needsNative,
  async (t) => {
    const b = bench(t);
    b.enableMsi();
    b.run(ATTACH, PAGE, 0n);
    b.message();
    b.write('INT_MASK', 0x10n);
    b.device.reset('warm');
    t.equal(b.message(), false);
    b.enable();
    for (let at = 0; at < 0x28; at += 4)
      t.equal(b.device.pci.readBar(0, at, 4), at === 0x0c ? 0x1000n : 0n);
    t.strictSame(b.device.attachments(), []);
    t.equal(b.memory(0), 0);
    t.equal(b.emitted.at(-1)?.event, 'MEM_DETACHED');
  },
);

t.test(
  'removal leaves nothing open, mapped or rung (defects 17, 18, 20, 21)',
  needsNative,
  async (t) => {
    const path = backingFile(t, 0x10000);
    const b = new MdeviceBench({ ...SMALL, 'mem-path': path });
    b.device.realize();
    b.enable();
    b.enableMsi();
    b.run(ATTACH, PAGE, 0n);
    b.run(ATTACH, 0x2000n, 0n);
    t.equal(b.message(), true);
    t.equal(openFiles(path), 1);
    t.equal(mappings(path), 2);
    b.write('INT_STATUS', 0xffn);
    b.device.unrealize();
    t.equal(b.message(), false);
    t.equal(openFiles(path), 0);
    t.equal(mappings(path), 0);
    t.strictSame(b.device.pci.bars, []);
  },
);

t.test(
  'detaching and attaching a thousand times leaves one mapping (defect 18)',
  needsNative,
  async (t) => {
    const path = backingFile(t, 0x10000);
    const b = MdeviceBench.started(t, { ...SMALL, 'mem-path': path });
    for (let i = 0; i < 1000; i++) {
      b.run(DETACH, 0n, 0n);
      b.run(ATTACH, PAGE, 0n);
    }
    t.equal(mappings(path), 1);
    t.equal(b.device.pci.bars.find(({ index }) => index === 2)?.region.subregions.length, 2);
  },
);

t.test('guest actions write nothing to stdout or stderr (defect 30)', needsNative, async (t) => {
  const b = bench(t);
  let written = 0;
  const count = (): boolean => {
    written += 1;
    return true;
  };
  const { stdout, stderr } = process;
  const own = [stdout.write, stderr.write] as const;
  [stdout.write, stderr.write] = [count, count];
  b.run(ATTACH, PAGE, 0n);
  b.run(ATTACH, 3n, 0n);
  b.run(DETACH, 0n, 0n);
  b.device.reset('warm');
  [stdout.write, stderr.write] = own;
  t.equal(written, 0);
});

t.test(
  'state goes elsewhere and comes back with its attachments (defect 32)',
  needsNative,
  async (t) => {
    const path = backingFile(t, 0x10000);
    const from = MdeviceBench.started(t, { ...SMALL, 'mem-path': path });
    from.enableMsi();
    from.run(ATTACH, PAGE, 0x5000n);
    from.run(ATTACH, 0x2000n, 0x6000n);
    from.run(DETACH, PAGE, 0x5000n);
    from.write('INT_MASK', 3n);
    const state = from.device.save();
    const to = MdeviceBench.started(t, { ...SMALL, 'mem-path': path });
    to.run(ATTACH, PAGE, 0n);
    to.device.load(state);
    t.strictSame(to.device.attachments(), from.device.attachments());
    t.strictSame(to.device.save(), state);
    t.equal(to.memory(0x1000), 7);
    for (const bad of [
      { ...state, registers: {} },
      { ...state, attachments: [{ barOffset: 0n, offset: 1n << 40n, size: PAGE }] },
      { ...state, attachments: [{ barOffset: 16n * MiB, offset: 0n, size: PAGE }] },
      { ...state, attachments: 1n },
      { ...state, pci: { config: new Uint8Array(1) } },
    ]) {
      t.throws(() => to.device.load(bad), { name: 'QmpError' });
      t.strictSame(to.device.save(), state, 'nothing changed');
    }
  },
);

t.test('memory is real', needsNative, async (t) => {
  t.test('two devices on one file see bytes of each other at once', async (t) => {
    const path = backingFile(t, 0x10000);
    const [a, b] = [0, 1].map(() => MdeviceBench.started(t, { ...SMALL, 'mem-path': path }));
    a?.run(ATTACH, PAGE, 0x3000n);
    b?.run(ATTACH, 0x4000n, 0n);
    a?.device.pci.writeBar(2, 0x10, 8, 0x1122334455667788n);
    t.equal(b?.device.pci.readBar(2, 0x3010, 8), 0x1122334455667788n);
    t.equal(fs.readFileSync(path).readBigUInt64LE(0x3010), 0x1122334455667788n);
  });

  t.test('/dev/zero can be attached', async (t) => {
    const b = MdeviceBench.started(t, { ...SMALL, 'mem-path': '/dev/zero' });
    t.equal(b.run(ATTACH, MiB, 1n << 40n), EVENT.ATTACHED);
    b.device.pci.writeBar(2, 0x800, 4, 5n);
    t.equal(b.device.pci.readBar(2, 0x800, 4), 5n);
  });

  t.test('a file truncated while attached reads 0 and the device lives', async (t) => {
    const path = backingFile(t, 0x10000);
    const b = MdeviceBench.started(t, { ...SMALL, 'mem-path': path });
    b.run(ATTACH, 0x4000n, 0n);
    fs.truncateSync(path, 0x1000);
    t.equal(b.memory(0x2000), 0);
    b.device.pci.writeBar(2, 0x2000, 4, 5n);
    t.equal(b.memory(0), 1);
    t.equal(b.fresh(ATTACH, PAGE, PAGE), EVENT.NO_MEMORY);
    t.equal(b.fresh(DETACH, 0n, 0n), EVENT.DETACHED);
  });

  t.test('every piece shows its descriptor and offset', async (t) => {
    const b = bench(t);
    b.run(ATTACH, PAGE, 0x7000n);
    const piece = b.device.pci.bars.find(({ index }) => index === 2)?.region.subregions[0];
    t.equal(piece?.region.kind, 'ram');
    t.equal(piece?.region.host?.memory.descriptor?.offset, 0x7000n);
  });
});

t.test('on a conventional bus it has no PCI Express capability', needsNative, async (t) => {
  const properties = { ...SMALL, 'mem-path': backingFile(t, 4096) };
  const b = MdeviceBench.started(t, properties, { express: false, typeName: 'PCI' });
  t.equal(b.device.pci.findCapability(0x10), undefined);
  t.equal(b.run(ATTACH, PAGE, 0n), EVENT.ATTACHED);
});

t.test('what can be attached of a file is the own memory of the device', needsNative, async (t) => {
  const listed = (b: MdeviceBench) =>
    b.memories.list.map(({ name, memory }) => [name, memory.descriptor?.offset, memory.size]);
  t.strictSame(listed(bench(t)), [['window', 0n, 0x10000n]]);
  const limited = { 'window-offset': 0x2800n, 'window-size': 0x4000n };
  t.strictSame(listed(bench(t, limited)), [['window', 0x3000n, 0x3000n]]);
  const path = backingFile(t, 0x2000);
  fs.truncateSync(path, 0x1800);
  const started = (properties: object) => MdeviceBench.started(t, { ...SMALL, ...properties });
  t.strictSame(listed(started({ 'mem-path': path })), [['window', 0n, 0x1000n]]);
  t.strictSame(listed(started({ 'mem-path': path, 'window-offset': 0x1000n })), []);
  t.strictSame(listed(started({ 'mem-path': '/dev/zero', 'window-size': 0x1000n })), []);
});

t.test('own memory tells what was written through attachments', needsNative, async (t) => {
  const b = bench(t, { 'window-offset': 0x1000n });
  const written: [bigint, number][] = [];
  const [window] = b.memories.list;
  window?.memory.onWrite((offset, length) => void written.push([offset, length]));
  b.run(ATTACH, PAGE, 0x7000n);
  b.device.pci.writeBar(2, 0x10, 8, 0x1122n);
  t.strictSame(written, [[0x6010n, 8]]);
  t.equal(window?.memory.readInt(0x6010n, 8), 0x1122n);
});

t.test('a piece that the file has grown by is attached all the same', needsNative, async (t) => {
  const path = backingFile(t, 0x1000);
  const b = MdeviceBench.started(t, { ...SMALL, 'mem-path': path });
  t.equal(b.fresh(ATTACH, PAGE, 0x1000n), EVENT.NO_MEMORY);
  fs.truncateSync(path, 0x2000);
  t.equal(b.fresh(ATTACH, PAGE, 0x1000n), EVENT.ATTACHED);
  b.device.pci.writeBar(2, 0, 1, 0x5an);
  t.equal(fs.readFileSync(path)[0x1000], 0x5a);
  t.equal(b.memories.size, 0x1000n);
});

t.test('own memory of a window is read, written, cleared and searched', needsNative, async (t) => {
  const path = backingFile(t, 0x1_0000);
  const b = MdeviceBench.started(t, { ...SMALL, 'mem-path': path, 'window-offset': 0x1000n });
  const memory = b.memories.list[0]?.memory;
  if (memory === undefined) throw new Error('no window');
  const written: [bigint, number][] = [];
  memory.onWrite((offset, length) => void written.push([offset, length]));
  t.equal(memory.write(0x1ffen, Uint8Array.of(1, 2, 3, 4)), true);
  t.strictSame([...fs.readFileSync(path).subarray(0x2ffe, 0x3002)], [1, 2, 3, 4]);
  memory.writeInt(0x1ffen, 2, 0x1_0605n);
  t.equal(memory.readInt(0x1ffen, 4), 0x0403_0605n);
  t.strictSame(written, [
    [0x1ffen, 4],
    [0x1ffen, 2],
  ]);
  t.equal(memory.clear?.(0n, memory.size), true);
  t.equal(memory.readInt(0x1ffen, 4), 0n);
  t.equal(memory.stored?.(0n), undefined);
  memory.writeInt(0x8000n, 1, 1n);
  const found = memory.stored?.(0x2800n);
  if (found === undefined) throw new Error('storage that was just written is not found');
  t.ok(found.start >= 0x2800n && found.start <= 0x8000n && found.end > 0x8000n);
  t.equal(memory.stored?.(memory.size), undefined);
  t.throws(() => memory.read(memory.size, new Uint8Array(1)), RangeError);
  fs.truncateSync(path, 0x1000);
  const bytes = Uint8Array.of(9);
  t.strictSame([memory.read(0n, bytes), bytes[0]], [false, 0], 'the bytes are gone');
  t.equal(memory.write(0n, bytes), false);
  t.equal(mappings(path), 0, 'nothing stays mapped');
});

import * as fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { asAttachmentHolder, dynamicMdevice } from '../../devices/dynamic-mdevice/index.js';
import { COMMAND, EVENT, MAX_ATTACHMENTS } from '../../devices/dynamic-mdevice/registers.js';
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
t.test('it is what the reference says (defects 33, 34, 35)', needsNative, async (t) => {
  const b = new MdeviceBench({ ...SMALL, 'mem-path': backingFile(t, 4096) });
  b.device.realize();
  t.teardown(() => b.device.unrealize());
  const config = (at: number, size: 1 | 2 | 4): number => b.device.pci.readConfig(at, size);
  t.equal(config(0x00, 4), 0x11101b00);
  t.equal(config(0x08, 4), 0x05000001);
  t.equal(config(0x2c, 4), 0x11001af4);
  t.equal(config(0x3d, 1), 0, 'no interrupt pin: messages only');
  t.equal(config(0x04, 2), 0, 'no command bit preset');
  t.equal(config(0x18, 4), 0x0000000c);
  t.equal(config(0x40, 1), 0x05);
  t.equal(config(0x42, 2), 0x0080);
  t.equal(config(0x34, 1), 0x50, 'PCI Express first');
  t.equal(config(0x50, 1), 0x10);
  t.equal((config(0x52, 2) >> 4) & 0xf, 9, 'integrated into the root complex');
  t.strictSame(dynamicMdevice.aliases, ['dyanmic-mdevice']);
  t.equal(asAttachmentHolder(b.device) === undefined, false);
});

t.test('vendor and device id can be chosen (defect 35)', needsNative, async (t) => {
  const b = bench(t, { 'x-pci-vendor-id': 0x1234, 'x-pci-device-id': 0x5678 });
  t.equal(b.device.pci.readConfig(0, 4), 0x56781234);
});

t.test('sizes are read with suffixes (defect 26)', async (t) => {
  const { size, align } = dynamicMdevice.properties;
  t.equal(size.parseText('8G', 'size', 'dynamic-mdevice'), 1n << 33n);
  t.equal(align.parseText('2M', 'align', 'dynamic-mdevice'), 0x200000);
  t.equal(size.default, 0x40000000n);
  t.equal(align.default, 0x40000000);
});

t.test(
  'realize refuses what cannot work and leaves nothing (defects 8, 22, 24, 25, 31)',
  needsNative,
  async (t) => {
    const directory = t.testdir({ file: 'x', folder: {} });
    const path = join(directory, 'file');
    const good = { ...SMALL, 'mem-path': path };
    for (const [name, properties, message] of [
      ['no path', { 'mem-path': undefined }, 'mem-path property not set'],
      ['empty path', { 'mem-path': '' }, 'mem-path property not set'],
      [
        'missing file',
        { 'mem-path': '/nonexistent/x' },
        "can't open backing store /nonexistent/x for guest RAM: No such file or directory",
      ],
      [
        'folder',
        { 'mem-path': join(directory, 'folder') },
        `can't open backing store ${join(directory, 'folder')} for guest RAM: Is a directory`,
      ],
      [
        'device that cannot be mapped',
        { 'mem-path': '/dev/null' },
        'unable to map backing store /dev/null for guest RAM: No such device',
      ],
      ['size no power of two', { size: 3n * MiB }, 'size must be a power of two'],
      ['size 0', { size: 0n }, 'size must be a power of two'],
      ['size below a page', { size: 2048n }, 'size must be a power of two'],
      ['align 0', { align: 0 }, 'alignment 0x0 must be multiples of page size 0x1000'],
      ['align 3', { align: 3 }, 'alignment 0x3 must be multiples of page size 0x1000'],
      ['align 0x3000', { align: 0x3000 }, 'alignment 0x3000 must be a power of two'],
      [
        'align above size',
        { align: 0x2000000 },
        'alignment 0x2000000 must not be above size 0x1000000',
      ],
    ] as const) {
      t.test(name, async (t) => {
        const b = new MdeviceBench({ ...good, ...properties });
        t.throws(() => b.device.realize(), { name: 'QmpError', message });
        t.strictSame(b.device.pci.bars, []);
        t.equal(openFiles(path), 0);
      });
    }
  },
);

t.test(
  'attaching shows bytes of the file, and a status that reading keeps (vector 30, defect 1)',
  needsNative,
  async (t) => {
    const b = bench(t);
    t.equal(b.run(ATTACH, 0x2000n, PAGE), EVENT.ATTACHED);
    t.equal(b.read('INT_STATUS'), EVENT.ATTACHED, 'read twice');
    t.equal(b.read('HW_OFFSET'), 0x2000n);
    t.equal(b.memory(0), 2);
    t.equal(b.memory(0x1fff), 3);
    t.strictSame(b.device.attachments(), [{ 'bar-offset': 0n, size: 0x2000n, offset: PAGE }]);
    t.strictSame(b.emitted, [
      {
        event: 'MEM_ATTACHED',
        data: {
          device: 'md0',
          path: '/machine/peripheral/md0',
          ranges: [{ offset: PAGE, len: 0x2000n }],
        },
      },
    ]);
  },
);

t.test(
  'status bits clear where 1 is written, and rules are answered by their bit (vector 31, defects 1, 9, 10, 11, 13)',
  needsNative,
  async (t) => {
    const b = bench(t);
    b.run(ATTACH, 0x2000n, PAGE);
    b.write('INT_STATUS', 0n);
    t.equal(b.read('INT_STATUS'), 1n, 'writing 0 keeps');
    b.write('INT_STATUS', 1n);
    t.equal(b.read('INT_STATUS'), 0n);
    t.equal(b.run(ATTACH, 0x1800n, PAGE), 8n, 'size');
    t.equal(b.run(ATTACH, PAGE, 0x800n), 8n, 'offset');
    t.equal(b.run(ATTACH, PAGE, 0x10000n), 12n, 'past the end of the file');
    t.equal(b.fresh(ATTACH, 0n, 0n), 8n, 'size 0');
    t.equal(b.fresh(ATTACH, 0n, 0x800n), 8n);
  },
);

t.test(
  'what does not fit is refused with bit 2 (defects 11, 12, 13, 15)',
  needsNative,
  async (t) => {
    const b = bench(t, { size: 0x8000n });
    for (const [name, size, offset] of [
      ['beyond the BAR', 0x9000n, 0n],
      ['one page past the end of the file', 0x2000n, 0xf000n],
      ['offset + size beyond 2^64', PAGE, (1n << 64n) - PAGE],
      ['offset + size at 2^63', PAGE, (1n << 63n) - PAGE],
      ['size beyond 2^63', 1n << 63n, 0n],
    ] as const) {
      t.equal(b.fresh(ATTACH, size, offset), EVENT.NO_MEMORY, name);
      t.strictSame(b.device.attachments(), [], 'nothing attached');
      t.equal(b.read('HW_OFFSET'), 0n);
    }
    t.equal(b.fresh(ATTACH, 0x8000n, 0x8000n), EVENT.ATTACHED, 'all of it');
    t.equal(b.fresh(ATTACH, PAGE, 0n), EVENT.NO_MEMORY, 'BAR full');
  },
);

t.test('with both defaults one attachment fills the BAR (defect 27)', needsNative, async (t) => {
  const path = backingFile(t, 4096);
  fs.truncateSync(path, 2 ** 31);
  const { align } = dynamicMdevice.properties;
  const b = MdeviceBench.started(t, { 'mem-path': path });
  t.equal(b.run(ATTACH, 1n << 30n, 0n), EVENT.ATTACHED);
  t.equal(b.fresh(ATTACH, 1n << 30n, 1n << 30n), EVENT.NO_MEMORY);
  t.match(align.doc, /with both defaults one attachment fills BAR 2/);
});

t.test('there is a limit to the number of attachments (defect 15)', needsNative, async (t) => {
  const b = bench(t);
  for (let i = 0; i < MAX_ATTACHMENTS; i++) t.equal(b.fresh(ATTACH, PAGE, 0n), EVENT.ATTACHED);
  t.equal(b.fresh(ATTACH, PAGE, 0n), EVENT.NO_MEMORY);
  b.fresh(DETACH, PAGE, 0n);
  t.equal(b.fresh(ATTACH, PAGE, 0n), EVENT.ATTACHED);
});

t.test('a window limits the offsets that can be attached (defect 14)', needsNative, async (t) => {
  const b = bench(t, { 'window-offset': 0x2000n, 'window-size': 0x2000n });
  for (const [size, offset, status] of [
    [PAGE, PAGE, EVENT.NO_MEMORY],
    [PAGE, 0x4000n, EVENT.NO_MEMORY],
    [0x2000n, 0x3000n, EVENT.NO_MEMORY],
    [0x2000n, 0x2000n, EVENT.ATTACHED],
    [PAGE, 0x3000n, EVENT.ATTACHED],
  ] as const)
    t.equal(b.fresh(ATTACH, size, offset), status);
});

t.test(
  'half of a 64-bit register can be written alone, in any order (vector 32, defect 4)',
  needsNative,
  async (t) => {
    const b = bench(t);
    const { pci } = b.device;
    pci.writeBar(0, 0x1c, 4, 1n);
    pci.writeBar(0, 0x18, 4, 0x1000n);
    t.equal(b.read('MEM_SIZE'), 0x100001000n);
    pci.writeBar(0, 0x1c, 4, 2n);
    t.equal(b.read('MEM_SIZE'), 0x200001000n);
    t.equal(pci.readBar(0, 0x1c, 4), 2n);
  },
);

t.test('an access of 8 bytes reaches both registers (defect 5)', needsNative, async (t) => {
  const b = bench(t);
  b.run(ATTACH, PAGE, 0n);
  const { pci } = b.device;
  t.equal(pci.readBar(0, 0x00, 8), 0x1_0000_0000n);
  t.equal(pci.readBar(0, 0x08, 8), 0x1000_0000_0000n);
  pci.writeBar(0, 0x00, 8, 0x1_0000_0007n);
  t.equal(b.read('INT_MASK'), 7n);
  t.equal(b.read('INT_STATUS'), 0n);
  b.write('MEM_OFFSET', PAGE);
  pci.writeBar(0, 0x08, 8, 0xffffffff_80000001n);
  t.equal(b.read('INT_STATUS'), EVENT.ATTACHED);
  t.equal(b.read('MEM_ALIGN'), 0x1000n, 'read-only');
});

t.test('accesses of 1 and 2 bytes read 0 and write nothing (defect 6)', needsNative, async (t) => {
  const b = bench(t);
  const { pci } = b.device;
  b.write('MEM_SIZE', 0x11223344_55667788n);
  for (const size of [1, 2] as const) {
    for (let at = 0; at < 0x28; at += size) {
      t.equal(pci.readBar(0, at, size), 0n);
      pci.writeBar(0, at, size, 0xffffn);
    }
  }
  t.equal(b.read('MEM_SIZE'), 0x11223344_55667788n);
  t.equal(b.read('INT_MASK'), 0n);
  t.equal(pci.readBar(0, 0x28, 8), 0n, 'nothing behind the registers');
});

t.test('detaching one leaves the others (vector 33, defects 16, 29)', needsNative, async (t) => {
  const b = bench(t);
  b.run(ATTACH, PAGE, 0n);
  b.run(ATTACH, PAGE, PAGE);
  t.equal(b.fresh(DETACH, PAGE, 0n), EVENT.DETACHED);
  t.equal(b.memory(0), 0);
  t.equal(b.read('INT_STATUS'), EVENT.DETACHED | EVENT.UNMAPPED_ACCESS);
  t.equal(b.memory(0x1000), 2);
  t.equal(b.read('HW_OFFSET'), 0x2000n);
  t.strictSame(b.emitted.at(-1)?.data, {
    device: 'md0',
    path: '/machine/peripheral/md0',
    ranges: [{ offset: 0n, len: PAGE }],
  });
});

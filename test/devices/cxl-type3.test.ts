import * as fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { NativeHostMemory } from '../../server/os/host-memory.js';
import { NativeLoader } from '../../server/os/native.js';
import { needsNative } from '../support/mdevice.js';
import { SparseBackend } from '../support/sparse-memory.js';
import { MiB, Type3Bench, dynamicOnly } from '../support/type3.js';
import type { Type3Properties } from '../../devices/cxl/type3-properties.js';

const backend = (id: string, mebibytes: number): SparseBackend =>
  new SparseBackend(id, BigInt(mebibytes) * MiB);
const busy = (id: string): SparseBackend => {
  const taken = backend(id, 256);
  taken.claim('/somebody');
  return taken;
};

t.test('realize checks in order; nothing stays taken', async (t) => {
  const [lsa, vol] = [backend('lsa', 1), backend('vol', 256)];
  const cases: readonly (readonly [Partial<Type3Properties>, string])[] = [
    [{}, 'at least one memdev property must be set'],
    [{ 'volatile-dc-memdev': backend('dc', 256) }, 'at least one memdev property must be set'],
    [
      { memdev: backend('a', 256), 'persistent-memdev': backend('b', 256) },
      '[memdev] cannot be used with new [persistent-memdev] property',
    ],
    [{ memdev: backend('a', 256) }, 'lsa property must be set for persistent devices'],
    [{ 'persistent-memdev': backend('a', 256) }, 'lsa property must be set for persistent devices'],
    [
      { 'volatile-memdev': busy('v'), 'persistent-memdev': busy('p'), lsa },
      "memory backend v can't be used multiple times.",
    ],
    [
      { 'volatile-memdev': vol, 'persistent-memdev': busy('p'), lsa },
      "memory backend p can't be used multiple times.",
    ],
    [
      { 'volatile-memdev': vol, 'num-dc-regions': 1 },
      'dynamic capacity must have a backing device',
    ],
    [
      { 'volatile-memdev': vol, 'num-dc-regions': 1, 'volatile-dc-memdev': busy('d') },
      "memory backend d can't be used multiple times.",
    ],
    [dynamicOnly(300n * MiB, 2), 'backend size is not multiple of region len: 0x9600000'],
    [dynamicOnly(512n * MiB, 4), 'backend size is not multiple of region len: 0x8000000'],
    [dynamicOnly(2304n * MiB, 9), 'num-dc-regions must be 8 at most, not 9'],
    [
      { ...dynamicOnly(256n * MiB, 1), 'volatile-memdev': backend('odd', 128) },
      'DC region base not aligned to 0x10000000',
    ],
    [
      { 'volatile-memdev': vol, 'num-dc-regions': 1, 'volatile-dc-memdev': vol },
      "memory backend vol can't be used multiple times.",
    ],
  ];
  for (const [properties, message] of cases) {
    const b = new Type3Bench(properties);
    t.throws(() => b.device.realize(), { message });
  }
  t.strictSame([lsa.owner, vol.owner], [undefined, undefined]);
});

t.test('eight regions are the most', async (t) => {
  const b = Type3Bench.started(t, dynamicOnly(2048n * MiB, 8));
  t.equal(b.run(0x4800, '08 00').output[1], 8);
});

t.test('configuration space without and with a serial number', async (t) => {
  for (const [sn, moved] of [
    [undefined, 0],
    [0x1122334455667788n, 0x0c],
  ] as const) {
    const b = Type3Bench.started(t, {
      'volatile-memdev': backend('vol', 512),
      ...(sn === undefined ? {} : { sn }),
    });
    const { pci } = b.device;
    const dword = (at: number): number => pci.readConfig(at, 4);
    const capability = (at: number): number[] => {
      const header = dword(at);
      return [header & 0xffff, Math.floor(header / 2 ** 20)];
    };
    t.equal(dword(0x00), 0x0d938086);
    t.equal(dword(0x08), 0x05021001);
    t.equal(dword(0x2c), 0x11001af4);
    t.strictSame([dword(0x40) >>> 16, dword(0x44), dword(0x48)], [7, 4, 0x804]);
    t.equal(dword(0x80) & 0xff, 0x10);
    t.equal(dword(0x80 + 0x0c) & 0x3ff, (16 << 4) | 5, 'link capabilities');
    if (sn !== undefined) {
      t.strictSame(capability(0x100), [3, 0x10c]);
      t.strictSame([dword(0x104), dword(0x108)], [0x55667788, 0x11223344]);
    }
    const device = 0x100 + moved;
    t.strictSame(capability(device), [0x23, 0x13c + moved]);
    t.equal(dword(device + 4), 0x03c31e98);
    t.equal(dword(device + 8), 0x001e0000);
    t.strictSame([dword(device + 0x18), dword(device + 0x1c)], [0, 0x2000004b]);
    t.strictSame([dword(device + 0x28), dword(device + 0x2c)], [0, 0]);
    const locator = 0x13c + moved;
    t.strictSame(capability(locator), [0x23, 0x160 + moved]);
    t.strictSame([dword(locator + 0x0c), dword(locator + 0x14)], [0x100, 0x302]);
    t.strictSame(capability(0x160 + moved), [0x23, 0x170 + moved]);
    t.strictSame(capability(0x170 + moved), [0x23, moved === 0 ? 0x190 : 0x1a0]);
    t.strictSame(capability(moved === 0 ? 0x190 : 0x1a0), [0x2e, 0x200]);
    t.strictSame(capability(0x200), [1, 0]);
    t.strictSame(
      pci.bars.map(({ index, size }) => [index, size]),
      [
        [0, 0x10000n],
        [2, 0x1000n],
        [4, 0x1000n],
      ],
    );
  }
});

t.test('static ranges in the device DVSEC', async (t) => {
  const lsa = (): SparseBackend => backend('lsa', 1);
  const ranges = (properties: Partial<Type3Properties>): number[] => {
    const { pci } = Type3Bench.started(t, properties).device;
    return [0x11c, 0x12c].map((at) => pci.readConfig(at, 4));
  };
  const [vol, pmem] = ['volatile-memdev', 'persistent-memdev'] as const;
  t.strictSame(
    ranges({ [vol]: backend('v', 512), [pmem]: backend('p', 256), lsa: lsa() }),
    [0x2000004b, 0x1000004b],
  );
  t.strictSame(ranges({ [pmem]: backend('p', 256), lsa: lsa() }), [0x1000004b, 0]);
  t.strictSame(ranges({ memdev: backend('m', 256), lsa: lsa() }), [0x1000004b, 0]);
  t.strictSame(ranges(dynamicOnly(256n * MiB, 1)), [0x4b, 0]);
});

t.test('backends are free again when the device has gone', async (t) => {
  const all = {
    ...{ 'volatile-memdev': backend('v', 256), 'persistent-memdev': backend('p', 256) },
    ...{ lsa: backend('l', 1), 'num-dc-regions': 1, 'volatile-dc-memdev': backend('d', 256) },
  };
  for (let i = 0; i < 2; i++) {
    const b = new Type3Bench(all);
    b.device.realize();
    t.equal(all['volatile-dc-memdev'].owner, '/machine/peripheral/d0');
    b.device.unrealize();
    for (const one of Object.values(all))
      if (one instanceof SparseBackend) t.equal(one.owner, undefined);
  }
});

t.test('memory by device address: volatile, persistent, dynamic', async (t) => {
  const parts = { v: backend('v', 256), p: backend('p', 256), d: backend('d', 256) };
  const b = Type3Bench.started(t, {
    ...{ 'volatile-memdev': parts.v, 'persistent-memdev': parts.p, lsa: backend('l', 1) },
    ...{ 'num-dc-regions': 1, 'volatile-dc-memdev': parts.d },
  });
  const at = (mebibytes: number, more = 0): never =>
    (BigInt(mebibytes) * MiB + BigInt(more)) as never;
  const one = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  t.equal(b.device.writeDpa(at(256, -4), one), undefined, 'across two backends');
  t.equal(parts.v.memory.readInt(256n * MiB - 4n, 4), 0x04030201n);
  t.equal(parts.p.memory.readInt(0n, 4), 0x08070605n);
  t.equal(b.device.writeDpa(at(512), one), 'unbacked');
  t.equal(b.device.writeDpa(at(512, -4), one), 'unbacked');
  b.add([0, 2]);
  b.respond([512, 2]);
  t.equal(b.device.writeDpa(at(512), one), undefined);
  t.equal(parts.d.memory.readInt(0n, 1), 1n);
  t.equal(b.device.writeDpa(at(514, -4), one), 'unbacked', 'half of it was not accepted');
  t.equal(b.device.readDpa(at(768), new Uint8Array(1)), 'out-of-range');
  b.state.poison.add({ base: 64n, len: 64n, source: 2 }, 0n);
  t.equal(b.device.readDpa(60n as never, new Uint8Array(8)), 'poison');
});

t.test('CDAT from a file', needsNative, async (t) => {
  const path = join(t.testdir({ short: 'x' }), 'short');
  t.ok(fs.existsSync(path));
  const b = new Type3Bench(
    { 'volatile-memdev': backend('v', 256), cdat: path },
    undefined,
    new NativeHostMemory(new NativeLoader()),
  );
  t.throws(() => b.device.realize(), { message: 'CDAT: File too short' });
});

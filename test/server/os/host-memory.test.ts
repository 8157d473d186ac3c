import * as fs from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { HostError } from '../../../devices/core/host-memory.js';
import type { HostMapping } from '../../../devices/core/host-memory.js';
import { NativeHostMemory } from '../../../server/os/host-memory.js';
import { NativeLoader } from '../../../server/os/native.js';
import { closing, mapsOf, service } from '../../support/host-memory.js';
import { needsNative } from '../../support/mdevice.js';

const GiB = 1n << 30n;
const TiB = 1n << 40n;
const openDescriptors = (): number => fs.readdirSync('/proc/self/fd').length;
const bytesAt = (memory: HostMapping, offset: bigint, length: number): number[] => {
  const into = new Uint8Array(length);
  memory.read(offset, into);
  return [...into];
};

t.test('without the native layer every mapping is refused with what is missing', async (t) => {
  const none = new NativeHostMemory(new NativeLoader({ disabled: true }));
  const refusal = { code: 'ENOTSUP', message: /optional package koffi.*switched off/ };
  t.throws(() => none.anonymous({ size: 4096n, share: false, name: 'a' }), refusal);
  t.throws(() => none.open('/dev/zero'), refusal);
  t.throws(() => none.create('/nowhere'), refusal);
  t.throws(() => none.createUnnamed('/tmp'), refusal);
  t.equal(none.pageSize, 4096n);
});

t.test('anonymous memory', needsNative, async (t) => {
  for (const share of [false, true]) {
    for (const [name, size, offset] of [
      ['one byte below 4 GiB', TiB, 4n * GiB - 1n],
      ['at 4 GiB', TiB, 4n * GiB],
      ['one byte above 4 GiB', TiB, 4n * GiB + 1n],
      ['across a window', TiB, GiB - 3n],
      ['at the end of 1 TiB', TiB, TiB - 8n],
      ['in memory of 4 GiB less a byte', 4n * GiB - 1n, 4n * GiB - 9n],
      ['in memory of 4 GiB and a byte', 4n * GiB + 1n, 4n * GiB - 7n],
    ] as const) {
      t.test(`${share ? 'shared' : 'private'} ${name} keeps what is written`, async (t) => {
        const memory = closing(t, service.anonymous({ size, share, name: 'test' }));
        memory.writeInt(offset, 8, 0x1122334455667788n);
        t.equal(memory.readInt(offset, 8), 0x1122334455667788n);
        t.strictSame(bytesAt(memory, offset + 6n, 2), [0x22, 0x11]);
        t.equal(memory.write(offset, Uint8Array.of(1, 2, 3)), true);
        t.equal(memory.readInt(offset, 4), 0x55030201n);
        t.throws(() => memory.readInt(size - 7n, 8), RangeError);
        t.throws(() => memory.readInt(-1n, 1), RangeError);
      });
    }
  }

  t.test('is small until it is touched', async (t) => {
    const before = process.memoryUsage.rss();
    const memory = closing(t, service.anonymous({ size: TiB, share: true, name: 'test' }));
    memory.writeInt(TiB / 2n, 1, 1n);
    t.equal(process.memoryUsage.rss() - before < 64 << 20, true);
  });

  t.test('shared memory has a descriptor by which others see it, private has none', async (t) => {
    const shared = closing(t, service.anonymous({ size: 8192n, share: true, name: 'test' }));
    shared.writeInt(4096n, 4, 0xcafef00dn);
    const into = Buffer.alloc(4);
    fs.readSync(shared.descriptor?.fd ?? -1, into, 0, 4, 4096);
    t.equal(into.readUInt32LE(), 0xcafef00d);
    const own = closing(t, service.anonymous({ size: 8192n, share: false, name: 'test' }));
    t.equal(own.descriptor, undefined);
  });

  t.test('sealed memory cannot be shrunk; unsealed memory that was answers zeros', async (t) => {
    const sealed = closing(t, service.anonymous({ size: 8192n, share: true, name: 'test' }));
    t.throws(() => fs.ftruncateSync(sealed.descriptor?.fd ?? -1, 0), { code: 'EPERM' });
    const open = { size: 8192n, share: true, name: 'test', seal: false };
    const unsealed = closing(t, service.anonymous(open));
    unsealed.writeInt(4096n, 1, 7n);
    fs.ftruncateSync(unsealed.descriptor?.fd ?? -1, 4096);
    t.equal(unsealed.readInt(4096n, 1), 0n);
  });

  t.test('preallocation gives every page storage', async (t) => {
    for (const share of [false, true]) {
      const size = 1n << 20n;
      closing(t, service.anonymous({ size, share, name: 'test', prealloc: true }));
    }
    const shared = service.anonymous({
      size: 1n << 20n,
      share: true,
      name: 'test',
      prealloc: true,
    });
    t.equal(fs.fstatSync(closing(t, shared).descriptor?.fd ?? -1).blocks, 2048);
  });

  t.test('more than there is fails cleanly', async (t) => {
    const descriptors = openDescriptors();
    for (const options of [
      { size: 1n << 62n, share: false },
      { size: 1n << 63n, share: false },
      { size: (1n << 64n) - 1n, share: true },
      { size: TiB, share: false, prealloc: true },
      { size: TiB, share: true, prealloc: true },
      { size: TiB, share: true, seal: false, prealloc: true },
    ])
      t.throws(() => service.anonymous({ name: 'test', ...options }), HostError);
    t.equal(openDescriptors(), descriptors);
  });

  t.test('closing twice is safe and access after it is an error', async (t) => {
    const descriptors = openDescriptors();
    const memory = service.anonymous({ size: 8192n, share: true, name: 'after-close' });
    memory.writeInt(0n, 1, 1n);
    memory.close();
    memory.close();
    t.equal(openDescriptors(), descriptors);
    t.equal(mapsOf('after-close'), 0);
    for (const access of [
      () => memory.readInt(0n, 1),
      () => memory.writeInt(0n, 1, 1n),
      () => memory.read(0n, new Uint8Array(1)),
      () => memory.allocate(),
    ])
      t.throws(access, /host memory is closed/);
    await t.rejects(memory.flush(), /host memory is closed/);
  });

  t.test('an address may be mapped again', async (t) => {
    for (let i = 0; i < 200; i++) {
      const memory = service.anonymous({ size: 1n << 16n, share: i % 2 === 0, name: 'again' });
      t.equal(memory.readInt(0n, 8), 0n);
      memory.writeInt(0n, 8, ~0n);
      memory.close();
    }
  });

  t.test('hooks hear every write, with its range, until they unsubscribe', async (t) => {
    const memory = closing(t, service.anonymous({ size: 4096n, share: false, name: 'test' }));
    const heard: [bigint, number][] = [];
    const stop = memory.onWrite((offset, len) => heard.push([offset, len]));
    memory.write(8n, Uint8Array.of(1, 2));
    memory.writeInt(16n, 4, 1n);
    memory.readInt(16n, 4);
    stop();
    memory.writeInt(16n, 4, 1n);
    t.strictSame(heard, [
      [8n, 2],
      [16n, 4],
    ]);
  });
});

t.test('memory that is cleared', needsNative, async (t) => {
  const MiB = 1n << 20n;
  const directory = t.testdir();
  const file = closing(t, service.create(join(directory, 'f')));
  file.resize(4n * MiB);
  const cases: readonly (readonly [string, HostMapping, boolean])[] = [
    ['private', service.anonymous({ size: 4n * MiB, share: false, name: 'a' }), true],
    ['shared', service.anonymous({ size: 4n * MiB, share: true, name: 'a' }), true],
    ['file', file.map(0n, 4n * MiB), true],
    ['private file', file.map(0n, 4n * MiB, { share: false }), false],
  ];
  for (const [name, memory, able] of cases) {
    closing(t, memory);
    memory.write(0n, new Uint8Array(Number(4n * MiB)).fill(7));
    const heard: (readonly [bigint, number])[] = [];
    memory.onWrite((offset, len) => heard.push([offset, len]));
    t.equal(memory.clear?.(MiB, 2n * MiB), able, name);
    t.same(heard, able ? [[MiB, Number(2n * MiB)]] : [], 'hooks hear it');
    const inside = able ? 0 : 7;
    t.same(bytesAt(memory, MiB - 1n, 2), [7, inside], name);
    t.same(bytesAt(memory, 3n * MiB - 1n, 2), [inside, 7], name);
    t.equal(memory.clear?.(1n, MiB), false, 'part of a block');
    t.throws(() => memory.clear?.(4n * MiB, 4096n), RangeError);
  }
  const kept = closing(t, service.anonymous({ size: MiB, share: true, name: 'a' }));
  kept.allocate();
  t.equal(kept.clear?.(0n, MiB), false, 'storage that was asked for in advance stays');
});

t.test('views and copies agree with a plain array', needsNative, async (t) => {
  const size = 3 * 4096;
  const path = join(t.testdir(), 'file');
  fs.writeFileSync(path, Buffer.alloc(size));
  const file = closing(t, service.open(path));
  const memories = [
    closing(t, service.anonymous({ size: BigInt(size), share: false, name: 'test' })),
    closing(t, service.anonymous({ size: BigInt(size), share: true, name: 'test' })),
    closing(t, file.map(0n, BigInt(size))),
  ];
  const model = Buffer.alloc(size);
  const write = fc.record({
    at: fc.nat(size - 8),
    value: fc.bigInt(0n, (1n << 64n) - 1n),
    width: fc.constantFrom(1, 2, 4, 8),
  });
  fc.assert(
    fc.property(fc.array(write, { maxLength: 20 }), (writes) => {
      for (const { at, value, width } of writes) {
        const bytes = Buffer.alloc(8);
        bytes.writeBigUInt64LE(value);
        bytes.copy(model, at, 0, width);
        for (const memory of memories) memory.writeInt(BigInt(at), width as 1 | 2 | 4 | 8, value);
      }
      return memories.every((memory) => Buffer.from(bytesAt(memory, 0n, size)).equals(model));
    }),
    { numRuns: 50 },
  );
});

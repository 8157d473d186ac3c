import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import type { Test } from 'tap';
import { HostError } from '../../../devices/core/host-memory.js';
import type { HostMapping } from '../../../devices/core/host-memory.js';
import { Flushes } from '../../../server/os/flushes.js';
import { NativeHostMemory } from '../../../server/os/host-memory.js';
import { NativeLoader } from '../../../server/os/native.js';

const loader = new NativeLoader();
const native = loader.status().native === 'full';
const service = new NativeHostMemory(loader);
const needsNative = native ? {} : { skip: 'koffi is not installed' };

const GiB = 1n << 30n;
const TiB = 1n << 40n;
const openDescriptors = (): number => fs.readdirSync('/proc/self/fd').length;
const mapsOf = (text: string): number =>
  fs
    .readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes(text)).length;
const bytesAt = (memory: HostMapping, offset: bigint, length: number): number[] => {
  const into = new Uint8Array(length);
  memory.read(offset, into);
  return [...into];
};
const closing = <T extends { close(): void }>(t: Test, thing: T): T => {
  t.teardown(() => thing.close());
  return thing;
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

t.test('files', needsNative, async (t) => {
  const fileOf = (t: Test, length: number): string => {
    const path = join(t.testdir(), 'file');
    fs.writeFileSync(path, Buffer.alloc(length));
    return path;
  };

  t.test('a shared mapping and the file are the same bytes', async (t) => {
    const path = fileOf(t, 16384);
    const file = closing(t, service.open(path));
    t.equal(file.kind, 'regular');
    t.equal(file.length(), 16384n);
    const memory = closing(t, file.map(4096n, 8192n));
    t.strictSame(memory.descriptor, { fd: file.fd, offset: 4096n });
    memory.writeInt(5n, 2, 0xaabbn);
    await memory.flush();
    t.strictSame([...fs.readFileSync(path).subarray(4101, 4103)], [0xbb, 0xaa]);
    fs.writeFileSync(path, Buffer.alloc(16384, 9));
    t.equal(memory.readInt(8190n, 2), 0x0909n);
  });

  t.test('a mapping that is closed while it is flushed goes when that is done', async (t) => {
    const path = fileOf(t, 1 << 20);
    const file = closing(t, service.open(path));
    const memory = file.map(0n, 1n << 20n);
    memory.writeInt(0n, 1, 1n);
    const flushed = [memory.flush(), memory.flush(), memory.flush()];
    memory.close();
    t.equal(mapsOf(path), 1, 'its pages are still needed');
    await Promise.all(flushed);
    await new Promise(setImmediate);
    t.equal(mapsOf(path), 0);
  });

  t.test('a flush that the host refuses says why, and the next one is tried again', async (t) => {
    let calls = 0;
    const flushes = new Flushes(() =>
      ++calls === 1
        ? Promise.reject(new HostError('EIO', 'Input/output error'))
        : Promise.resolve(),
    );
    const [first, second, third] = [flushes.request(), flushes.request(), flushes.request()];
    await t.rejects(first, { code: 'EIO' });
    await Promise.all([second, third]);
    t.equal(calls, 2, 'who asks during a flush shares the next one');
    let idle = false;
    flushes.whenIdle(() => (idle = true));
    t.equal(idle, true);
  });

  t.test('a private mapping keeps its writes to itself', async (t) => {
    const path = fileOf(t, 4096);
    const file = closing(t, service.open(path, { readonly: true }));
    const memory = closing(t, file.map(0n, 4096n, { share: false, readonly: false }));
    memory.writeInt(0n, 1, 5n);
    t.equal(memory.readInt(0n, 1), 5n);
    t.equal(memory.descriptor, undefined);
    t.equal(fs.readFileSync(path)[0], 0);
  });

  t.test('a readonly mapping drops writes and tells no hook', async (t) => {
    const file = closing(t, service.open(fileOf(t, 4096), { readonly: true }));
    const memory = closing(t, file.map(0n, 4096n));
    memory.onWrite(() => t.equal(true, false, 'no hook is called'));
    t.equal(memory.readonly, true);
    t.equal(memory.write(0n, Uint8Array.of(1)), true);
    memory.writeInt(0n, 8, 1n);
    t.equal(memory.readInt(0n, 8), 0n);
    t.throws(() => file.map(0n, 4096n, { readonly: false }), { code: 'EACCES' });
  });

  t.test('long copies are those of the memory that others map', async (t) => {
    const path = join(t.testdir(), 'long');
    fs.writeFileSync(path, '');
    fs.truncateSync(path, 1 << 20);
    const file = closing(t, service.open(path));
    const [one, two] = [4096n, 0n].map((at) => closing(t, file.map(at, (1n << 20n) - at)));
    const bytes = Buffer.alloc(300_000, 'long copies');
    t.ok(one?.write(10n, bytes));
    const into = Buffer.alloc(bytes.length);
    t.ok(two?.read(4106n, into));
    t.ok(into.equals(bytes));
    t.ok(
      fs
        .readFileSync(path)
        .subarray(4106, 4106 + bytes.length)
        .equals(bytes),
    );
    const own = closing(t, file.map(0n, 1n << 20n, { share: false }));
    t.ok(own.write(0n, bytes));
    t.ok(two?.read(0n, into));
    t.notOk(into.equals(bytes), 'private memory does not reach the file');
    fs.truncateSync(path, 8192);
    t.notOk(one?.write(0n, bytes));
    t.equal(fs.statSync(path).size, 8192, 'a file that was cut does not grow again');
    t.notOk(two?.read(0n, into));
    file.close();
    fs.truncateSync(path, 1 << 20);
    t.ok(one?.write(10n, bytes), 'also when the descriptor is gone');
    t.ok(two?.read(4106n, into) && into.equals(bytes));
  });

  t.test('a file truncated by somebody else reads zeros and the process lives', async (t) => {
    const path = fileOf(t, 16384);
    const file = closing(t, service.open(path));
    const memory = closing(t, file.map(0n, 16384n));
    memory.writeInt(8192n, 8, 1n);
    fs.truncateSync(path, 4096);
    const into = Buffer.alloc(8, 0xff);
    t.equal(memory.read(8192n, into), false);
    t.strictSame(into, Buffer.alloc(8), 'zero-filled');
    t.equal(memory.write(8192n, into), false);
    t.equal(memory.readInt(8192n, 8), 0n);
    memory.writeInt(8192n, 8, 1n);
    t.equal(memory.read(4092n, into), false, 'partly gone is gone');
    t.equal(memory.write(0n, into), true);
    t.equal(file.length(), 4096n);
  });

  t.test('/dev/zero can be mapped and mappings of it are separate', async (t) => {
    const file = closing(t, service.open('/dev/zero'));
    t.equal(file.kind, 'character');
    t.equal(file.length(), undefined);
    const [a, b] = [closing(t, file.map(0n, 8192n)), closing(t, file.map(0n, 8192n))];
    a.writeInt(4096n, 8, 77n);
    t.equal(a.readInt(4096n, 8), 77n);
    t.equal(b.readInt(4096n, 8), 0n);
    t.equal(a.descriptor, undefined, 'nobody else can map it');
    const far = closing(t, file.map(1n << 40n, 8192n));
    t.equal(far.write(0n, Uint8Array.of(1)), true, 'at any offset');
  });

  t.test('what cannot be opened or mapped is told as strerror does', async (t) => {
    const gone = join(t.testdir({ d: {} }), 'gone');
    t.throws(() => service.open(gone), { code: 'ENOENT', message: 'No such file or directory' });
    t.throws(() => service.open(join(gone, '..', 'd')), {
      code: 'EISDIR',
      message: 'Is a directory',
    });
    for (const make of ['open', 'create', 'createUnnamed'] as const)
      t.throws(() => service[make]('/tmp/a\0b'), { name: 'HostError', code: 'ENOENT' }, make);
    const file = closing(t, service.open('/dev/null'));
    t.throws(() => file.map(0n, 4096n), { code: 'ENODEV', message: 'No such device' });
  });

  t.test('created files are new, of mode 0644, and can be removed', async (t) => {
    const path = join(t.testdir(), 'new');
    const file = closing(t, service.create(path));
    file.resize(8192n);
    t.equal(fs.statSync(path).size, 8192);
    t.equal(fs.statSync(path).mode & 0o777, 0o644 & ~process.umask());
    t.throws(() => service.create(path), { code: 'EEXIST' });
    file.unlink();
    t.equal(fs.existsSync(path), false);
  });

  t.test('an unnamed file leaves nothing in its directory', async (t) => {
    const directory = t.testdir();
    const file = closing(t, service.createUnnamed(directory));
    file.resize(4096n);
    closing(t, file.map(0n, 4096n)).writeInt(0n, 1, 1n);
    t.strictSame(fs.readdirSync(directory), []);
  });

  t.test('a hole punched gives storage back and reads zeros', async (t) => {
    const path = fileOf(t, 1 << 16);
    const file = closing(t, service.open(path));
    const memory = closing(t, file.map(0n, 1n << 16n));
    memory.allocate();
    memory.writeInt(4096n, 8, 5n);
    file.punchHole(0n, 1n << 16n);
    t.equal(memory.readInt(4096n, 8), 0n);
    t.equal(fs.statSync(path).size, 1 << 16);
  });
});

t.test('a full file system', needsNative, async (t) => {
  // Not t.testdir(): it is removed before the teardown that unmounts.
  const directory = fs.mkdtempSync(join(tmpdir(), 'qmemd-test-'));
  t.teardown(() => fs.rmdirSync(directory));
  try {
    const options = ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', directory];
    execFileSync('mount', options, { stdio: 'ignore' });
  } catch {
    t.comment('skipped: mounting a tmpfs needs root');
    return;
  }
  t.teardown(() => execFileSync('umount', ['-l', directory]));
  const path = join(directory, 'file');
  fs.writeFileSync(path, '');
  fs.truncateSync(path, 1 << 20);
  const file = closing(t, service.open(path));
  const memory = closing(t, file.map(0n, 1n << 20n));
  t.throws(() => memory.allocate(), { code: 'ENOSPC', message: 'No space left on device' });
  fs.writeFileSync(join(directory, 'ballast'), Buffer.alloc(64 << 10));
  t.equal(memory.write(1n << 19n, Uint8Array.of(1)), false, 'a write into a hole is refused');
  memory.writeInt(1n << 19n, 8, 1n);
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

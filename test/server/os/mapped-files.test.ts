import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { HostError } from '../../../devices/core/host-memory.js';
import { Flushes } from '../../../server/os/flushes.js';
import { closing, mapsOf, service } from '../../support/host-memory.js';
import { needsNative } from '../../support/mdevice.js';

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

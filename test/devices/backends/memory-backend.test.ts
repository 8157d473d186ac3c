import * as fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import type { BackendArguments } from '../../../devices/backends/arguments.js';
import { createBackend, prepareBackend } from '../../../devices/backends/memory-backend.js';
import type { BackendServices, MemoryBackend } from '../../../devices/backends/memory-backend.js';
import { NativeHostMemory } from '../../../server/os/host-memory.js';
import { NativeLoader } from '../../../server/os/native.js';
import { QmpError } from '../../../schema/error.js';

const loader = new NativeLoader();
const needsNative = loader.load() === undefined ? { skip: 'koffi is not installed' } : {};
const silent = (): void => undefined;
const log = { trace: silent, debug: silent, info: silent, warn: silent, error: silent };
const services: BackendServices = { hostMemory: new NativeHostMemory(loader), log };

type Extra = Partial<BackendArguments>;
const ram = (extra: Extra = {}): BackendArguments => ({
  'qom-type': 'memory-backend-ram',
  id: 'm1',
  size: 4096n,
  ...extra,
});
const file = (path: string, extra: Extra = {}): BackendArguments =>
  ram({ 'qom-type': 'memory-backend-file', 'mem-path': path, ...extra });
const memfd = (extra: Extra = {}): BackendArguments =>
  ram({ 'qom-type': 'memory-backend-memfd', ...extra });

const created = (t: Test, given: BackendArguments): MemoryBackend => {
  const backend = createBackend(given, services);
  t.teardown(() => backend.close());
  return backend;
};
const folder = (t: Test): string => {
  const directory = t.testdir({ file: '', short: '', full: '', sub: {} });
  fs.truncateSync(join(directory, 'short'), 4096);
  fs.truncateSync(join(directory, 'full'), 1 << 20);
  return directory;
};
const openDescriptors = (): number => fs.readdirSync('/proc/self/fd').length;

t.test('refusals name the thing and the rule, and leave nothing behind', needsNative, async (t) => {
  const directory = folder(t);
  const at = (name: string): string => join(directory, name);
  const gone = '/nonexistent/dir/x';
  const rows: [string, BackendArguments, string][] = [
    ['size 0', ram({ size: 0n }), "property 'size' of memory-backend-ram doesn't take value '0'"],
    [
      'prealloc-threads 0',
      ram({ 'prealloc-threads': 0 }),
      "property 'prealloc-threads' of memory-backend-ram doesn't take value '0'",
    ],
    ['unknown thread context', ram({ 'prealloc-context': 'zz' }), "Device 'zz' not found"],
    [
      'prealloc without reserve',
      ram({ prealloc: true, reserve: false }),
      "'prealloc=on' and 'reserve=off' are incompatible",
    ],
    ['host node 128', ram({ 'host-nodes': [0, 128] }), 'Invalid host-nodes value: 128'],
    ['policy without nodes', ram({ policy: 'bind' }), 'host-nodes must be set for policy bind'],
    [
      'nodes without policy',
      ram({ 'host-nodes': [0] }),
      'host-nodes must be empty for policy default, or you should explicitly specify a policy other than default',
    ],
    [
      'absent node',
      ram({ policy: 'bind', 'host-nodes': [127] }),
      'cannot bind memory to host NUMA nodes: Invalid argument',
    ],
    [
      'too much memory',
      ram({ size: 1n << 62n }),
      "cannot set up guest memory 'm1': Cannot allocate memory",
    ],
    [
      'a negative size, wrapped',
      ram({ size: (1n << 64n) - 1n }),
      "Parameter 'size' expects uint64",
    ],
    [
      'private shm',
      ram({ 'qom-type': 'memory-backend-shm', share: false }),
      "can't create shm backend with `share=off`",
    ],
    [
      'part of a page in a memfd',
      memfd({ size: 5000n }),
      "m1 backing store size 0x1388 is too small for 'size' option 0x2000 plus 'offset' option 0x0",
    ],
    [
      'part of a huge page',
      memfd({ size: 1n << 20n, hugetlb: true }),
      'failed to resize memfd to 1048576: Invalid argument',
    ],
    [
      'huge pages of no size',
      memfd({ hugetlb: true, hugetlbsize: 0n }),
      "Property 'memory-backend-memfd.hugetlbsize' doesn't take value '0'",
    ],
    [
      'huge pages of a size that the host does not have',
      memfd({ size: 1n << 22n, hugetlb: true, hugetlbsize: 1n << 22n }),
      'failed to create memfd with flags 0x58000007: No such device',
    ],
    ['a memfd of 2^63 bytes', memfd({ size: 1n << 63n }), "Parameter 'size' expects uint64"],
    [
      'a file in a missing folder',
      file(gone),
      `can't open backing store ${gone} for guest RAM: No such file or directory`,
    ],
    [
      'a missing file, readonly',
      file(at('new'), { readonly: true }),
      `can't open backing store ${at('new')} for guest RAM: No such file or directory`,
    ],
    [
      'a folder, readonly',
      file(at('sub'), { readonly: true }),
      `can't open backing store ${at('sub')} for guest RAM: Is a directory`,
    ],
    [
      'a short file',
      file(at('short'), { size: 1n << 20n }),
      "m1 backing store size 0x1000 is too small for 'size' option 0x100000 plus 'offset' option 0x0",
    ],
    [
      'a file one page too short for the offset',
      file(at('full'), { size: 1n << 20n, offset: 4096n }),
      "m1 backing store size 0x100000 is too small for 'size' option 0x100000 plus 'offset' option 0x1000",
    ],
    [
      'align 0x800',
      file(at('new'), { align: 0x800n }),
      'alignment 0x800 must be multiples of page size 0x1000',
    ],
    [
      'align 0x3000',
      file(at('new'), { align: 0x3000n }),
      'alignment 0x3000 must be a power of two',
    ],
    [
      'offset 100',
      file(at('new'), { offset: 100n }),
      'offset 0x64 must be multiples of page size 0x1000',
    ],
    [
      'part of a page in a file',
      file(at('new'), { size: 5000n }),
      "backend 'memory-backend-file' memory size must be multiple of 4 KiB",
    ],
    [
      'a device that cannot be mapped',
      file('/dev/null'),
      'unable to map backing store for guest RAM: No such device',
    ],
    [
      'rom off, readonly and shared',
      file(at('full'), { rom: 'off', readonly: true, share: true }),
      "property 'rom' = 'off' is incompatible with 'readonly' = 'on' and 'share' = 'on'",
    ],
    [
      'rom on, not readonly',
      file(at('full'), { rom: 'on' }),
      "property 'rom' = 'on' is not supported with 'readonly' = 'off'",
    ],
    [
      'a new file, then a bad policy',
      file(at('new'), { policy: 'interleave' }),
      'host-nodes must be set for policy interleave',
    ],
    [
      'an empty file, then a bad policy',
      file(at('file'), { policy: 'interleave' }),
      'host-nodes must be set for policy interleave',
    ],
  ];
  const descriptors = openDescriptors();
  for (const [name, given, message] of rows) {
    t.test(name, async (t) => {
      t.throws(() => createBackend(given, services), { name: 'QmpError', message });
      t.equal(fs.existsSync(at('new')), false, 'no file left');
      t.equal(fs.statSync(at('file')).size, 0, 'no file grown');
      t.equal(openDescriptors(), descriptors, 'nothing left open');
    });
  }
});

t.test('an unknown thread context is DeviceNotFound', async (t) => {
  t.throws(() => createBackend(ram({ 'prealloc-context': 'zz' }), services), {
    class: 'DeviceNotFound',
    message: "Device 'zz' not found",
  });
});

t.test('properties are refused before the memory exists, the rest when it is made', async (t) => {
  const none = { hostMemory: new NativeHostMemory(new NativeLoader({ disabled: true })), log };
  const prepared = prepareBackend(ram(), none);
  t.throws(() => prepared.complete(), {
    class: 'GenericError',
    message: /^cannot set up guest memory 'm1': memory mapping needs the optional package koffi/,
  });
  const deferred = createBackend(ram(), { ...none, deferred: true });
  t.equal(deferred.info().size, 4096n);
  t.throws(() => deferred.memory, QmpError);
  deferred.close();
});

t.test('files', needsNative, async (t) => {
  t.test('a missing file is created with its size and stays after removal', async (t) => {
    const path = join(folder(t), 'new');
    const backend = createBackend(
      file(path, { size: 8192n, offset: 4096n, share: true }),
      services,
    );
    backend.memory.writeInt(0n, 1, 7n);
    backend.close();
    backend.close();
    t.equal(fs.readFileSync(path).length, 12288);
    t.equal(fs.readFileSync(path)[4096], 7);
  });

  t.test('an empty file grows, a longer one is left as it is', async (t) => {
    const directory = folder(t);
    created(t, file(join(directory, 'file')));
    t.equal(fs.statSync(join(directory, 'file')).size, 4096);
    created(t, file(join(directory, 'full')));
    t.equal(fs.statSync(join(directory, 'full')).size, 1 << 20);
  });

  t.test('in a folder the file has no name', async (t) => {
    const directory = join(folder(t), 'sub');
    const backend = created(t, file(directory, { share: true }));
    backend.memory.writeInt(0n, 8, 1n);
    t.equal(backend.memory.readInt(0n, 8), 1n);
    t.strictSame(fs.readdirSync(directory), []);
  });

  for (const [name, extra, mine, theirs] of [
    ['shared: the file has what is written', { share: true }, 9n, 9],
    ['private: the file does not change', { share: false }, 9n, 0],
    ['readonly: nothing changes', { share: true, readonly: true }, 0n, 0],
    ['readonly with rom off: only the memory changes', { readonly: true, rom: 'off' }, 9n, 0],
  ] as const) {
    t.test(name, async (t) => {
      const path = join(folder(t), 'full');
      const backend = created(t, file(path, extra));
      backend.memory.writeInt(0n, 1, 9n);
      t.equal(backend.memory.readInt(0n, 1), mine);
      t.equal(fs.readFileSync(path)[0], theirs);
    });
  }

  t.test('discard-data empties the range and nothing else', async (t) => {
    const path = join(folder(t), 'full');
    fs.writeFileSync(path, Buffer.alloc(1 << 20, 5));
    const extra = { share: true, 'discard-data': true, offset: 8192n, size: 4096n };
    createBackend(file(path, extra), services).close();
    const bytes = fs.readFileSync(path);
    t.strictSame(
      [8191, 8192, 12287, 12288].map((at) => bytes[at]),
      [5, 0, 0, 5],
    );
  });

  t.test('/dev/zero serves as memory', async (t) => {
    const backend = created(t, file('/dev/zero', { share: true, size: 1n << 20n }));
    backend.memory.writeInt(4096n, 4, 1n);
    t.equal(backend.memory.readInt(4096n, 4), 1n);
  });
});

t.test('memory of every type', needsNative, async (t) => {
  for (const [name, given, share] of [
    ['ram', ram({ size: 5000n }), false],
    ['shared ram', ram({ share: true }), true],
    ['1 TiB of ram', ram({ size: 1n << 40n }), false],
    ['memfd', memfd(), true],
    ['private memfd', memfd({ share: false }), false],
    ['unsealed memfd', memfd({ seal: false }), true],
    ['shm', ram({ 'qom-type': 'memory-backend-shm' }), true],
    ['preallocated ram', ram({ prealloc: true }), false],
  ] as const) {
    t.test(name, async (t) => {
      const backend = created(t, given);
      const { memory } = backend;
      memory.writeInt(memory.size - 8n, 8, 42n);
      t.equal(memory.readInt(memory.size - 8n, 8), 42n);
      t.equal(memory.descriptor !== undefined, share);
      t.strictSame(
        { ...backend.info() },
        {
          id: 'm1',
          size: given.size,
          merge: true,
          dump: true,
          prealloc: given.prealloc ?? false,
          share,
          reserve: true,
          'host-nodes': [],
          policy: 'default',
        },
      );
    });
  }
});

t.test('a backend serves one owner at a time', needsNative, async (t) => {
  const backend = created(t, ram());
  backend.claim('/machine/peripheral/a');
  t.equal(backend.inUse, true);
  t.throws(() => backend.claim('/machine/peripheral/b'), {
    message: "can't use already busy memdev: m1",
  });
  backend.release();
  backend.release();
  t.equal(backend.inUse, false);
});

t.test('properties after creation', needsNative, async (t) => {
  for (const [name, value, message] of [
    ['size', 4096n, 'cannot change property size of T '],
    ['size', 'x', 'cannot change property size of T '],
    ['share', true, 'cannot change property value'],
    ['reserve', true, 'cannot change property value'],
    ['share', 'on', "Invalid parameter type for 'share', expected: boolean"],
    ['mem-path', '/x', "cannot change property 'mem-path' of T"],
    ['align', 0n, "cannot change property 'align' of T"],
    ['offset', 0n, "cannot change property 'offset' of T"],
    ['readonly', true, "cannot change property 'readonly' of T."],
    ['pmem', true, "cannot change property 'pmem' of T."],
    ['rom', 'on', "cannot change property 'rom' of T."],
    ['prealloc-threads', 0n, "property 'prealloc-threads' of T doesn't take value '0'"],
    ['prealloc-context', 'zz', "Device 'zz' not found"],
    ['policy', 'xx', "Parameter 'policy' does not accept value 'xx'"],
    ['host-nodes', [200n], 'Invalid host-nodes value: 200'],
    ['host-nodes', 0n, "Invalid parameter type for 'host-nodes', expected: array"],
    ['nope', 1n, "Property 'T.nope' not found"],
    ['type', 'x', "Property 'T.type' is not writable"],
  ] as const) {
    t.test(`${name} does not become ${String(value)}`, async (t) => {
      const backend = created(t, file('/dev/zero'));
      const given = typeof value === 'object' ? [...value] : value;
      const text = message.replace('T', 'memory-backend-file');
      t.throws(() => backend.setProperty(name, given), { message: text });
    });
  }

  t.test('hugetlbsize of a memfd is fixed', async (t) => {
    const backend = created(t, memfd());
    t.throws(() => backend.setProperty('hugetlbsize', 0n), {
      message: 'cannot change property value',
    });
  });

  for (const [name, value] of [
    ['merge', false],
    ['dump', false],
    ['prealloc', true],
    ['prealloc-threads', 3n],
    ['policy', 'bind'],
    ['host-nodes', [0n, 5n]],
    ['discard-data', true],
  ] as const) {
    t.test(`${name} becomes ${String(value)}`, async (t) => {
      const backend = created(t, file('/dev/zero'));
      const given = () => (typeof value === 'object' ? [...value] : value);
      backend.setProperty(name, given());
      t.strictSame(backend.getProperty(name), given());
    });
  }

  t.test('prealloc is never taken back', async (t) => {
    const backend = created(t, ram({ prealloc: true }));
    backend.setProperty('prealloc', false);
    t.equal(backend.info().prealloc, true);
  });

  t.test('every listed property can be read', async (t) => {
    for (const given of [ram(), memfd(), file('/dev/zero')]) {
      const backend = created(t, given);
      for (const { name } of backend.listProperties())
        t.equal(backend.getProperty(name) === undefined, false, name);
      t.throws(() => backend.getProperty('nope'), {
        message: `Property '${given['qom-type']}.nope' not found`,
      });
    }
  });
});

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { createRequire } from 'node:module';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { raceForClaims } from '../../../scripts/claim-race.mjs';
import { Libc } from '../../../server/os/libc.js';
import type { Koffi } from '../../../server/os/libc.js';
import { bindMemory } from '../../../server/os/memory-calls.js';
import { NativeLoader, READABLE, WRITABLE } from '../../../server/os/native.js';
import type { Native } from '../../../server/os/native.js';

const { EAGAIN, EFAULT, EINVAL } = constants.errno;
const loaded = new NativeLoader().load();
const needsNative = loaded === undefined ? { skip: 'koffi is not installed' } : {};
const native = loaded as Native;

const openDescriptors = (): number => fs.readdirSync('/proc/self/fd').length;
const socketpair = (t: Test): [number, number] => {
  const pair = native.socketpair();
  t.teardown(() => pair.forEach((fd) => fs.closeSync(fd)));
  return pair;
};
const closeAll = (fds: number[]): void => fds.splice(0).forEach((fd) => fs.closeSync(fd));
const raise = (fd: number): void => {
  const one = Buffer.alloc(8);
  one.writeBigUInt64LE(1n);
  fs.writeSync(fd, one);
};
const takeCount = (fd: number): bigint => {
  const count = Buffer.alloc(8);
  fs.readSync(fd, count);
  return count.readBigUInt64LE();
};
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** 10 gives the counts of reference/native-os-access.md §6; `npm run soak` asks for them. */
const FULL = Number(process.env['QMEMD_SOAK_SCALE'] ?? 1);

t.test('the loader tries once and tells why there is no native layer', async (t) => {
  let tries = 0;
  const missing = new NativeLoader({
    load: () => {
      tries += 1;
      throw new Error("Cannot find module 'koffi'\nRequire stack: ...");
    },
  });
  t.equal(missing.load(), undefined);
  t.strictSame(missing.status(), { native: 'none', reason: "Cannot find module 'koffi'" });
  t.equal(tries, 1);
  const off = new NativeLoader({ disabled: true });
  t.strictSame(off.status(), { native: 'none', reason: 'switched off' });
});

t.test('two loaders in one process do not disturb each other', needsNative, async (t) => {
  t.strictSame(new NativeLoader().status(), { native: 'full' });
});

t.test('descriptors belong to the last message begun in a read', needsNative, async (t) => {
  for (const [size, reads] of [
    [
      65536,
      [
        [64, 2],
        [64, 2],
        [32, 0],
      ],
    ],
    [
      16,
      [
        [16, 0],
        [16, 0],
        [16, 2],
        [16, 0],
        [16, 0],
        [16, 0],
        [16, 2],
        [16, 0],
        [16, 0],
        [16, 0],
      ],
    ],
  ] as const) {
    const [left, right] = socketpair(t);
    for (let i = 1; i <= 5; i++)
      t.equal(native.sendmsg(left, Buffer.alloc(32, i), i % 2 === 0 ? [left, right] : []), 32);
    const into = Buffer.alloc(size);
    for (const [bytes, descriptors] of reads) {
      const fds: number[] = [];
      t.equal(native.recvmsg(right, into, fds), bytes);
      t.equal(fds.length, descriptors);
      closeAll(fds);
    }
    t.equal(native.recvmsg(right, into, []), -EAGAIN);
  }
});

t.test('253 descriptors arrive, 254 are refused, none leak', needsNative, async (t) => {
  const [left, right] = socketpair(t);
  const into = Buffer.alloc(16);
  const fds: number[] = [];
  t.equal(native.sendmsg(left, Buffer.alloc(1), Array<number>(254).fill(left)), -EINVAL);
  const before = openDescriptors();
  for (let round = 0; round < FULL * 100; round++) {
    native.sendmsg(left, Buffer.alloc(1), Array<number>(253).fill(left));
    native.recvmsg(right, into, fds);
    if (round === 0) t.equal(fds.length, 253);
    closeAll(fds);
  }
  t.equal(openDescriptors(), before);
});

t.test(
  'a big message to a slow reader goes in parts, its descriptor once',
  needsNative,
  async (t) => {
    const [left, right] = socketpair(t);
    const message = Buffer.alloc(1 << 20, 'qmemd');
    const first = native.sendmsg(left, message, [left]);
    let sent = first;
    for (let n = first; n > 0; sent += Math.max(n, 0))
      n = native.sendmsg(left, message.subarray(sent));
    t.equal(first > 0 && sent < message.length, true, 'partial');
    t.equal(native.sendmsg(left, message.subarray(sent)), -EAGAIN);
    const received: Buffer[] = [];
    const fds: number[] = [];
    await new Promise<void>((resolve) => {
      const writer = native.poll(left, WRITABLE, () => {
        sent += Math.max(0, native.sendmsg(left, message.subarray(sent)));
        if (sent === message.length) writer.close();
      });
      let total = 0;
      const reader = native.poll(right, READABLE, () => {
        const into = Buffer.alloc(65536);
        const n = native.recvmsg(right, into, fds);
        received.push(into.subarray(0, n));
        total += n;
        if (total < message.length) return;
        reader.close();
        resolve();
      });
    });
    t.equal(Buffer.concat(received).equals(message), true);
    t.equal(fds.length, 1);
    closeAll(fds);
  },
);

t.test(
  'three raises of an eventfd read as 3; a drained one calls once per raise',
  needsNative,
  async (t) => {
    const fd = native.eventfd();
    for (let i = 0; i < 3; i++) raise(fd);
    t.equal(takeCount(fd), 3n);
    t.throws(() => takeCount(fd), { code: 'EAGAIN' });
    let calls = 0;
    for (let i = 1; i <= 3; i++) {
      await new Promise<void>((resolve) => {
        const handle = native.poll(fd, READABLE, (status) => {
          t.equal(status, 0);
          calls += 1;
          takeCount(fd);
          handle.close();
          handle.close();
          resolve();
        });
        raise(fd);
      });
      await turn();
      t.equal(calls, i);
    }
    fs.closeSync(fd);
  },
);

t.test('a poll handle waits for nothing when told so', needsNative, async (t) => {
  const fd = native.eventfd();
  let calls = 0;
  const handle = native.poll(fd, 0, () => (calls += 1));
  raise(fd);
  await turn();
  await turn();
  t.equal(calls, 0);
  await new Promise<void>((resolve) => {
    const other = native.eventfd();
    raise(other);
    const second = native.poll(other, READABLE, () => {
      second.close();
      fs.closeSync(other);
      resolve();
    });
  });
  t.equal(calls, 0);
  handle.close();
  fs.closeSync(fd);
});

t.test('claims of several processes are never lost', needsNative, async (t) => {
  let c = true;
  try {
    execFileSync('gcc', ['--version'], { stdio: 'ignore' });
  } catch {
    c = false;
    t.comment('without the C program: gcc is not installed');
  }
  const directory = fs.existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  const url = new URL('../../../server/os/native.js', import.meta.url);
  const race = { native: url, claims: 20_000, increments: 1_000, directory, c };
  const { lostClaims, lostIncrements, wins } = await raceForClaims(race);
  t.equal(lostClaims, 0);
  t.equal(lostIncrements, 0);
  t.equal(
    wins.reduce((a, b) => a + b),
    race.claims,
  );
});

t.test('locks', needsNative, async (t) => {
  const openTwice = (t: Test): [number, number, string] => {
    const path = join(t.testdir({ file: '' }), 'file');
    const [a, b] = [fs.openSync(path, 'r+'), fs.openSync(path, 'r+')];
    t.teardown(() => closeAll([a, b]));
    return [a, b, path];
  };

  t.test('a second opener does not get the whole-file lock', async (t) => {
    const [a, b] = openTwice(t);
    t.equal(native.flock(a, 'write'), 0);
    t.equal(native.flock(b, 'write'), -EAGAIN);
    t.equal(native.flock(b, 'read'), -EAGAIN);
    t.equal(native.flock(a, 'unlock'), 0);
    t.equal(native.flock(b, 'write'), 0);
  });

  t.test('overlapping byte ranges conflict, disjoint ones do not', async (t) => {
    const [a, b] = openTwice(t);
    t.equal(native.lockRange(a, 'write', 0n, 8n), 0);
    t.equal(native.lockRange(b, 'write', 8n, 8n), 0);
    t.equal(native.lockRange(b, 'write', 7n, 1n), -EAGAIN);
    t.equal(native.lockRange(b, 'write', 1n << 40n, 0n), 0);
    t.equal(native.lockRange(a, 'unlock', 0n, 8n), 0);
    t.equal(native.lockRange(b, 'read', 0n, 8n), 0);
    t.equal(native.lockRange(a, 'read', 0n, 8n), 0);
  });

  t.test('a killed holder loses its lock', async (t) => {
    const [a, , path] = openTwice(t);
    const holder = spawn('flock', ['-F', path, 'sh', '-c', 'echo ready; exec sleep 60']);
    await once(holder.stdout, 'data');
    t.equal(native.flock(a, 'write'), -EAGAIN);
    holder.kill('SIGKILL');
    await once(holder, 'close');
    t.equal(native.flock(a, 'write'), 0);
  });
});

t.test('poll handles that come and go leave nothing behind', needsNative, async (t) => {
  const fd = native.eventfd();
  raise(fd);
  const before = openDescriptors();
  for (let i = 0; i < FULL * 2000; i++) {
    await new Promise<void>((resolve) => {
      const handle = native.poll(fd, READABLE, () => {
        handle.close();
        resolve();
      });
    });
    await turn();
  }
  t.equal(openDescriptors(), before);
  fs.closeSync(fd);
});

t.test('many poll handles can be open and closing at a time', needsNative, async (t) => {
  const fd = native.eventfd();
  raise(fd);
  let calls = 0;
  for (let i = 0; i < 10_000; i++) native.poll(fd, READABLE, () => (calls += 1)).close();
  const last = native.poll(fd, READABLE, () => (calls += 1));
  await turn();
  await turn();
  last.close();
  t.ok(calls > 0 && calls <= 2, 'only what is open is told');
  fs.closeSync(fd);
});

t.test(
  'an error thrown while a descriptor is ready is uncaught at once',
  needsNative,
  async (t) => {
    const script = `
    const { NativeLoader } = await import(process.argv[1]);
    const native = new NativeLoader().load();
    process.on('uncaughtException', (error) => { console.log(error.message); process.exit(3); });
    const fd = native.eventfd();
    native.poll(fd, 2, () => { setImmediate(() => setImmediate(() => process.exit(4))); throw new Error('boom'); });`;
    const url = new URL('../../../server/os/native.js', import.meta.url).href;
    const args = [...process.execArgv, '--input-type=module', '-e', script, url];
    const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    t.strictSame([status, stdout], [3, 'boom\n']);
  },
);

t.test('the peer of a socket is known', needsNative, async (t) => {
  const [left] = socketpair(t);
  const { pid, uid } = native.peerCredentials(left);
  t.strictSame([pid, uid], [process.pid, process.getuid?.()]);
});

t.test('memory that is not there is refused, not touched', needsNative, async (t) => {
  const request = { size: 4096n, fd: -1, offset: 0n, share: false, readonly: true };
  const address = native.mmap(request);
  t.equal(native.copyFrom(address, new Uint8Array(16)), true);
  t.equal(native.copyTo(address, new Uint8Array(16)), false, 'read-only');
  native.munmap(address, 4096n);
  t.equal(native.copyFrom(address, new Uint8Array(16)), false, 'not mapped');
});

t.test('mappings that process_vm_readv refuses are copied another way', needsNative, async (t) => {
  const refusing = new (class extends Libc {
    override call(name: string, args: readonly unknown[]): ReturnType<Libc['call']> {
      return name.startsWith('process_vm') ? () => -EFAULT : super.call(name, args);
    }
  })(createRequire(import.meta.url)('koffi') as Koffi);
  const calls = bindMemory(refusing);
  const size = 3n << 20n;
  const address = calls.mmap({ size, fd: -1, offset: 0n, share: false, readonly: false });
  const bytes = Buffer.alloc(Number(size), 'other way');
  t.equal(calls.copyTo(address, bytes), true);
  const back = Buffer.alloc(bytes.length);
  t.equal(calls.copyFrom(address, back), true);
  t.equal(back.equals(bytes), true);
  calls.munmap(address, size);
  t.equal(calls.copyFrom(address, back), false);
  t.equal(calls.copyTo(address, back), false);
});

import { closeSync, ftruncateSync, readSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isMainThread } from 'node:worker_threads';
import { bindIo } from './io.js';
import type { IoCalls } from './io.js';
import { Libc } from './libc.js';
import type { Koffi } from './libc.js';
import { bindMemory } from './memory-calls.js';
import type { MemoryCalls } from './memory-calls.js';
import { bindTerminal } from './terminal.js';
import type { TerminalCalls } from './terminal.js';

export { READABLE, WRITABLE } from './io.js';
export type { LockType, PeerCredentials, PollHandle } from './io.js';

/**
 * What Node alone cannot do. Calls that are expected to fail now and then answer a negative errno;
 * the others throw HostError.
 *
 * @see reference/native-os-access.md §5
 */
export interface Native extends IoCalls, MemoryCalls, TerminalCalls {}

/** How parts that can do without the native layer get it. */
export type LoadNative = () => Native | undefined;

export interface NativeStatus {
  readonly native: 'full' | 'none';
  /** Why there is none. */
  readonly reason?: string;
}
export interface NativeLoaderOptions {
  /** Behave as if the package were not installed. */
  readonly disabled?: boolean;
  /** Loads the package; throws when there is none. */
  readonly load?: () => Koffi;
}

const ARCHITECTURES: readonly string[] = ['x64', 'arm64', 'riscv64'];

/** Loads the native layer on first use, once; created by the daemon and injected as `load`. */
export class NativeLoader {
  readonly #options: NativeLoaderOptions;
  #native: Native | undefined;
  #reason: string | undefined;
  #tried = false;

  constructor(options: NativeLoaderOptions = {}) {
    this.#options = options;
  }

  /** The native layer, or undefined when the host has none. Never throws. */
  readonly load: LoadNative = () => {
    if (this.#tried) return this.#native;
    this.#tried = true;
    try {
      this.#native = this.#bind();
    } catch (error) {
      this.#reason = error instanceof Error ? firstLine(error.message) : String(error);
    }
    return this.#native;
  };

  /** Loads, and tells how that went. */
  status(): NativeStatus {
    if (this.load() !== undefined) return { native: 'full' };
    return { native: 'none', reason: this.#reason ?? 'unknown' };
  }

  #bind(): Native {
    const { disabled = false, load = requireKoffi } = this.#options;
    if (disabled) throw new Error('switched off');
    if (process.platform !== 'linux' || !ARCHITECTURES.includes(process.arch))
      throw new Error(`no layouts for ${process.platform} ${process.arch}`);
    // libuv's default loop belongs to the main thread.
    if (!isMainThread) throw new Error('not in the main thread');
    const libc = new Libc(load());
    const native = { ...bindIo(libc), ...bindMemory(libc), ...bindTerminal(libc) };
    selfTest(native);
    return native;
  }
}

const firstLine = (text: string): string => text.split('\n', 1)[0] ?? text;

const requireKoffi = (): Koffi => createRequire(import.meta.url)('koffi') as Koffi;

const expect = (condition: boolean, what: string): void => {
  if (!condition) throw new Error(`self-test of the native layer failed: ${what}`);
};

/** Sends an eventfd over a socket pair and raises it; maps a memfd, copies and compares. */
const selfTest = (native: Native): void => {
  const fds: number[] = [...native.socketpair()];
  try {
    testDescriptors(native, fds);
    testMemory(native, fds);
  } finally {
    for (const fd of fds) closeSync(fd);
  }
};

const testDescriptors = (native: Native, fds: number[]): void => {
  const [left = -1, right = -1] = fds;
  const event = native.eventfd();
  fds.push(event);
  expect(native.sendmsg(left, Buffer.from('x'), [event]) === 1, 'sendmsg');
  const received: number[] = [];
  const into = Buffer.alloc(4);
  expect(native.recvmsg(right, into, received) === 1 && into[0] === 0x78, 'recvmsg');
  fds.push(...received);
  expect(received.length === 1, 'one descriptor');
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64LE(3n);
  writeSync(event, counter);
  counter.fill(0);
  expect(readSync(received[0] ?? -1, counter) === 8, 'eventfd');
  expect(counter.readBigUInt64LE() === 3n, 'eventfd count');
};

const testMemory = (native: Native, fds: number[]): void => {
  const size = 4096;
  const memfd = native.memfd('qmemd-self-test', { sealable: true });
  fds.push(memfd);
  ftruncateSync(memfd, size);
  native.sealSize(memfd);
  const request = { size: BigInt(size), fd: memfd, offset: 0n, share: true, readonly: false };
  const address = native.mmap(request);
  try {
    // The view is local and gone before munmap.
    const words = new Int32Array(native.view(address, size));
    expect(Atomics.compareExchange(words, 1, 0, 0x12345678) === 0, 'compare and swap');
    const copy = Buffer.alloc(8);
    expect(native.copyFrom(address, copy), 'process_vm_readv');
    expect(copy.readInt32LE(4) === 0x12345678, 'view and copy agree');
    expect(native.copyTo(address, Buffer.from([7])), 'process_vm_writev');
    expect(words[0] === 7, 'copy and view agree');
  } finally {
    native.munmap(address, request.size);
  }
};

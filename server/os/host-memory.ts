import { closeSync, constants, fstatSync, openSync, unlinkSync } from 'node:fs';
import type { BigIntStats } from 'node:fs';
import { join } from 'node:path';
import { HostError } from '../../devices/core/host-memory.js';
import type {
  AnonymousOptions,
  HostFile,
  HostMapping,
  HostMemoryService,
} from '../../devices/core/host-memory.js';
import { nodeCall } from './libc.js';
import { Mapping } from './mapping.js';
import type { MemoryCalls } from './memory-calls.js';
import type { NativeLoader } from './native.js';

const DEFAULT_PAGE_SIZE = 4096n;
// O_TMPFILE, which node:fs does not name; it contains O_DIRECTORY.
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;
// A FIFO or a terminal must not make open wait.
const O_NO_WAIT = constants.O_NONBLOCK | constants.O_NOCTTY;

/** Host memory by the native layer; without it every mapping is refused with what is missing. */
export class NativeHostMemory implements HostMemoryService {
  readonly #loader: NativeLoader;

  constructor(loader: NativeLoader) {
    this.#loader = loader;
  }

  get pageSize(): bigint {
    const native = this.#loader.load();
    return native === undefined ? DEFAULT_PAGE_SIZE : BigInt(native.pageSize);
  }

  anonymous(options: AnonymousOptions): HostMapping {
    const calls = this.#calls();
    const mapping = options.share ? sharedMemory(calls, options) : privateMemory(calls, options);
    if (options.prealloc !== true) return mapping;
    return orClose(mapping, () => mapping.allocate());
  }

  open(path: string, { readonly = false }: { readonly?: boolean } = {}): HostFile {
    const calls = this.#calls();
    const mode = readonly ? constants.O_RDONLY : constants.O_RDWR;
    return new OpenFile(
      calls,
      path,
      nodeCall(() => openSync(path, mode | O_NO_WAIT)),
      readonly,
    );
  }

  create(path: string): HostFile {
    const calls = this.#calls();
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
    return new OpenFile(
      calls,
      path,
      nodeCall(() => openSync(path, flags, 0o644)),
      false,
    );
  }

  adopt(fd: number): HostFile {
    try {
      return new OpenFile(this.#calls(), `descriptor ${String(fd)}`, fd, false);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  createUnnamed(directory: string): HostFile {
    const calls = this.#calls();
    const fd = nodeCall(() => openUnnamed(directory));
    return new OpenFile(calls, directory, fd, false);
  }

  #calls(): MemoryCalls {
    const native = this.#loader.load();
    if (native !== undefined) return native;
    const reason = this.#loader.status().reason ?? 'unknown';
    throw new HostError(
      'ENOTSUP',
      `memory mapping needs the optional package koffi, which is not available (${reason})`,
    );
  }
}

/** File systems without O_TMPFILE get a name that is removed at once. */
const openUnnamed = (directory: string): number => {
  try {
    return openSync(directory, constants.O_RDWR | O_TMPFILE, 0o600);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code !== 'EOPNOTSUPP' && code !== 'ENOTSUP' && code !== 'EISDIR') throw error;
  }
  const path = join(directory, `qmemd.${String(process.pid)}.${String(process.hrtime.bigint())}`);
  const fd = openSync(path, 'wx+', 0o600);
  unlinkSync(path);
  return fd;
};

const orClose = <T extends HostMapping>(mapping: T, step: () => void): T => {
  try {
    step();
    return mapping;
  } catch (error) {
    mapping.close();
    throw error;
  }
};

const privateMemory = (calls: MemoryCalls, { size }: AnonymousOptions): Mapping =>
  new Mapping(calls, {
    size,
    fd: -1,
    offset: 0n,
    share: false,
    readonly: false,
    guarded: false,
  });

const sharedMemory = (calls: MemoryCalls, options: AnonymousOptions): Mapping => {
  const { size, name, hugePageSize, seal = true } = options;
  const fd = calls.memfd(name, {
    sealable: seal,
    ...(hugePageSize === undefined ? {} : { hugePageSize }),
  });
  try {
    calls.truncate(fd, size);
    if (seal) calls.sealSize(fd);
    return new Mapping(calls, {
      size,
      fd,
      offset: 0n,
      share: true,
      readonly: false,
      // Unsealed memory can be shrunk by who gets the descriptor; huge pages can run out.
      guarded: !seal || hugePageSize !== undefined,
      unlimited: hugePageSize === undefined,
      onClose: () => closeSync(fd),
    });
  } catch (error) {
    closeSync(fd);
    throw error;
  }
};

const kindOf = (stats: BigIntStats): HostFile['kind'] => {
  if (stats.isFile()) return 'regular';
  if (stats.isCharacterDevice()) return 'character';
  return stats.isDirectory() ? 'directory' : 'other';
};

/** Drivers may map what they then do not serve. @throws HostError */
const checkReadable = (mapping: HostMapping): void => {
  if (!mapping.read(0n, new Uint8Array(1))) throw new HostError('EIO', 'Input/output error');
};

// Device number of /dev/zero, as Linux has it.
const ZERO_DEVICE = 0x105n;

class OpenFile implements HostFile {
  readonly path: string;
  readonly fd: number;
  readonly kind: HostFile['kind'];
  readonly #calls: MemoryCalls;
  readonly #readonly: boolean;
  readonly #isZero: boolean;
  #open = true;

  constructor(calls: MemoryCalls, path: string, fd: number, readonly: boolean) {
    this.path = path;
    this.fd = fd;
    this.#calls = calls;
    this.#readonly = readonly;
    const stats = fstatSync(fd, { bigint: true });
    this.kind = kindOf(stats);
    this.#isZero = this.kind === 'character' && stats.rdev === ZERO_DEVICE;
  }

  length(): bigint | undefined {
    if (this.kind !== 'regular') return undefined;
    return nodeCall(() => fstatSync(this.#fd(), { bigint: true })).size;
  }

  map(
    offset: bigint,
    size: bigint,
    { share = true, readonly = this.#readonly }: { share?: boolean; readonly?: boolean } = {},
  ): HostMapping {
    const mapping = new Mapping(this.#calls, {
      size,
      fd: this.#fd(),
      // Each mapping of /dev/zero is new memory, which the kernel reaches at offset 0 only.
      offset: this.#isZero ? 0n : offset,
      own: this.#isZero,
      share,
      readonly,
      guarded: true,
      ...(this.kind === 'regular' ? { fileIsOpen: () => this.#open } : {}),
    });
    return this.kind === 'character' ? orClose(mapping, () => checkReadable(mapping)) : mapping;
  }

  resize(length: bigint): void {
    this.#calls.truncate(this.#fd(), length);
  }

  punchHole(offset: bigint, size: bigint): void {
    this.#calls.punchHole(this.#fd(), offset, size);
  }

  unlink(): void {
    nodeCall(() => unlinkSync(this.path));
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.fd);
  }

  #fd(): number {
    if (!this.#open) throw new Error(`${this.path} is closed`);
    return this.fd;
  }
}

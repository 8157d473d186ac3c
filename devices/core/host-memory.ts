/**
 * Memory of the host as devices see it. Implemented by `server/os`, injected through
 * `DeviceContext`; a device never holds a pointer or a view.
 */

/**
 * The one accessor (design §6.3): every guest access, DMA write and mailbox write to backend
 * memory passes `read` and `write`, so that a dirty hook sees all of them.
 */
export interface HostMemory {
  /** Length in bytes. */
  readonly size: bigint;
  /** True when writes are dropped. */
  readonly readonly: boolean;
  /** Descriptor and offset by which another process can map the same bytes, if there is one. */
  readonly descriptor: { readonly fd: number; readonly offset: bigint } | undefined;
  /** Of a private mapping of a file: where the bytes come from that nobody has written here. */
  readonly origin?: FilePlace;
  /**
   * Copies bytes at `offset` into `into`. False when the bytes are gone (file truncated by
   * somebody else); `into` is then zero-filled. Never faults.
   *
   * @throws RangeError when the range is outside `size` (our bug)
   */
  read(offset: bigint, into: Uint8Array): boolean;
  /** Writes `from` at `offset`; false when the bytes are gone. Dropped without error when readonly. */
  write(offset: bigint, from: Uint8Array): boolean;
  /** Little-endian integer of `size` bytes; 0n when the bytes are gone. */
  readInt(offset: bigint, size: AccessSize): bigint;
  writeInt(offset: bigint, size: AccessSize, value: bigint): void;
  /**
   * Makes a range read 0 by taking its storage away, in no time whatever its length; hooks see it as
   * a write. False, and nothing is changed, where that cannot be: the zeros have to be written.
   */
  clear?(offset: bigint, size: bigint): boolean;
  /**
   * The next piece at or after `from` that may hold anything but zeros; undefined when only zeros
   * follow. It may be empty: only zeros up to there. Absent where the host cannot tell.
   */
  stored?(from: bigint): StoredRange | undefined;
  /** Calls `hook` after every write; returns the unsubscribe. */
  onWrite(hook: (offset: bigint, len: number) => void): () => void;
}

/** A byte of a file of the host. */
export interface FilePlace {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly offset: bigint;
}

/** Bytes of memory that have storage; `end` is exclusive. */
export interface StoredRange {
  readonly start: bigint;
  readonly end: bigint;
}

export type NumaPolicy = 'default' | 'preferred' | 'bind' | 'interleave';

export type AccessSize = 1 | 2 | 4 | 8;

/** Host memory that its holder gives back. */
export interface HostMapping extends HostMemory {
  /**
   * Writes a shared mapping back to its file (msync) in the background; others are served
   * meanwhile. Resolves when all that was written before the call is there, at once for memory that
   * nobody shares. `close` may follow before that.
   *
   * @throws HostError
   */
  flush(): Promise<void>;
  /**
   * Gives every page storage now; the bytes keep their values.
   *
   * @throws HostError ENOSPC or ENOMEM when there is not enough
   */
  allocate(): void;
  /**
   * Binds the pages to NUMA nodes.
   *
   * @throws HostError
   */
  bindNodes(policy: NumaPolicy, nodes: readonly number[]): void;
  /** Lets equal pages be merged, and core dumps include the pages. Hosts may ignore both. */
  advise(advice: { merge?: boolean; dump?: boolean }): void;
  /** Unmaps and closes. Safe to call twice. */
  close(): void;
}

/** A file or character device opened for mapping. */
export interface HostFile {
  readonly path: string;
  readonly fd: number;
  readonly kind: 'regular' | 'character' | 'directory' | 'other';
  /** Current length in bytes of a regular file; undefined for anything else. */
  length(): bigint | undefined;
  /**
   * Maps `size` bytes at `offset`.
   *
   * @throws HostError when the host refuses
   */
  map(offset: bigint, size: bigint, options?: { share?: boolean; readonly?: boolean }): HostMapping;
  /** Sets the length of a regular file. @throws HostError */
  resize(length: bigint): void;
  /** Takes storage away; the bytes read 0 afterwards. @throws HostError */
  punchHole(offset: bigint, size: bigint): void;
  /** Removes the file's name. @throws HostError */
  unlink(): void;
  /** Safe to call twice. Mappings stay. */
  close(): void;
}

export interface AnonymousOptions {
  readonly size: bigint;
  /** Shared memory has a descriptor (a memfd); private memory has none. */
  readonly share: boolean;
  readonly name: string;
  readonly prealloc?: boolean;
  /** Huge pages of this size in bytes (memfd only). */
  readonly hugePageSize?: bigint;
  /** Seal a shared object against shrinking and growing. Default true. */
  readonly seal?: boolean;
}

export interface HostMemoryService {
  /** Page size of the host in bytes. */
  readonly pageSize: bigint;
  /** @throws HostError */
  anonymous(options: AnonymousOptions): HostMapping;
  /**
   * Opens an existing file or character device.
   *
   * @throws HostError with the system's reason
   */
  open(path: string, options?: { readonly?: boolean }): HostFile;
  /**
   * Creates a regular file that must not exist, with mode 0644 less the umask.
   *
   * @throws HostError EEXIST when it does
   */
  create(path: string): HostFile;
  /**
   * Takes over a descriptor that somebody else opened, for reading and writing.
   *
   * @throws HostError when it is no open file; it is closed then
   */
  adopt(fd: number): HostFile;
  /** Creates a file without a name in `directory`. @throws HostError */
  createUnnamed(directory: string): HostFile;
}

/** A refusal of the host: `code` as in errno names, message as strerror says it. */
export class HostError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'HostError';
    this.code = code;
  }
}

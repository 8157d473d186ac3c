/**
 * Named memory that several processes map at once and agree about by atomic operations and locks.
 * Implemented by `server/os`, injected through `DeviceContext`.
 */

/**
 * Bytes of a shared object; every operation on one byte is atomic against other processes. Ranges
 * are not atomic as a whole. Ranges outside the object are our bug (RangeError).
 */
export interface AtomicBytes {
  load(at: number): number;
  store(at: number, value: number): void;
  /** A copy of `length` bytes. */
  copy(at: number, length: number): Uint8Array;
  /**
   * Sets bytes that are 0 to `value`, in ascending order by compare-and-swap, and stops at the
   * first one that is not 0.
   *
   * @returns how many were set
   */
  claim(at: number, length: number, value: number): number;
  /** Sets the bits of `mask` in each byte. */
  setBits(at: number, length: number, mask: number): void;
  /** Clears the bits of `mask` in each byte. */
  clearBits(at: number, length: number, mask: number): void;
  /** Puts the bits of `to` in the place of those of `from`, in one step for each byte that has them. */
  exchangeBits(at: number, length: number, from: number, to: number): void;
  /** Place of the first byte that has a bit of `mask`, or -1. */
  findSet(at: number, length: number, mask: number): number;
  /** Place of the first byte that lacks a bit of `mask`, or -1. */
  findClear(at: number, length: number, mask: number): number;
}

/**
 * One open shared object. Locks are numbered, exclusive between open objects (of this process too),
 * and given up by the system when the process ends.
 */
export interface SharedObject {
  readonly name: string;
  /** Bytes that are mapped. */
  readonly size: number;
  readonly bytes: AtomicBytes;
  /** Whether the object still has all of its bytes; one that was cut must not be touched. */
  isWhole(): boolean;
  /** Whether the name still leads to this object. */
  isLinked(): boolean;
  /**
   * Takes a lock.
   *
   * @param timeoutMs how long to wait for it at most; the process stands still meanwhile
   * @returns false when somebody else kept it
   */
  lock(number: number, timeoutMs?: number): boolean;
  unlock(number: number): void;
  /** Whether another open object has the lock. */
  isLocked(number: number): boolean;
  /** Removes the name. Nothing happens when it is gone. */
  unlink(): void;
  /** Gives up mapping and locks. Safe to call twice. */
  close(): void;
}

/** The shared objects of the host: POSIX shared memory, `/dev/shm/NAME` on Linux. */
export interface SharedObjects {
  /**
   * Opens and maps an existing object with the size that it has.
   *
   * @throws HostError ENOENT when there is none, EINVAL when it is empty or no regular file
   */
  open(name: string): SharedObject;
  /**
   * Creates an object that holds `content`, with mode 0666 less the umask. Others see all of it or
   * nothing.
   *
   * @throws HostError EEXIST when the name is taken
   */
  create(name: string, content: Uint8Array): SharedObject;
}

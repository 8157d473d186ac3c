import type { AccessSize, HostMemory } from '../../devices/core/host-memory.js';
import type { MemdevBackend } from '../../devices/core/memdev.js';
import { bytesFromInt, intFromBytes } from '../../devices/core/memory-region.js';
import { refused } from '../../schema/error.js';

const PAGE = 65_536;

/** Host memory of any size that stores only what was written. */
export class SparseMemory implements HostMemory {
  readonly size: bigint;
  readonly readonly = false;
  readonly descriptor = undefined;
  readonly #pages = new Map<bigint, Uint8Array>();
  readonly #hooks = new Set<(offset: bigint, len: number) => void>();

  constructor(size: bigint) {
    this.size = size;
  }
  read(offset: bigint, into: Uint8Array): boolean {
    this.#visit(offset, into.length, (page, at, start, count) => {
      const bytes = this.#pages.get(page);
      if (bytes === undefined) into.fill(0, start, start + count);
      else into.set(bytes.subarray(at, at + count), start);
    });
    return true;
  }
  write(offset: bigint, from: Uint8Array): boolean {
    this.#visit(offset, from.length, (page, at, start, count) => {
      const bytes = this.#pages.get(page) ?? new Uint8Array(PAGE);
      this.#pages.set(page, bytes);
      bytes.set(from.subarray(start, start + count), at);
    });
    for (const hook of this.#hooks) hook(offset, from.length);
    return true;
  }
  readInt(offset: bigint, size: AccessSize): bigint {
    const bytes = new Uint8Array(size);
    this.read(offset, bytes);
    return intFromBytes(bytes);
  }
  writeInt(offset: bigint, size: AccessSize, value: bigint): void {
    const bytes = new Uint8Array(size);
    bytesFromInt(value, bytes);
    this.write(offset, bytes);
  }
  onWrite(hook: (offset: bigint, len: number) => void): () => void {
    this.#hooks.add(hook);
    return () => this.#hooks.delete(hook);
  }

  #visit(
    offset: bigint,
    length: number,
    piece: (page: bigint, at: number, start: number, count: number) => void,
  ): void {
    if (offset < 0n || offset + BigInt(length) > this.size) throw new RangeError('beyond the end');
    for (let done = 0; done < length;) {
      const address = offset + BigInt(done);
      const at = Number(address % BigInt(PAGE));
      const count = Math.min(PAGE - at, length - done);
      piece(address / BigInt(PAGE), at, done, count);
      done += count;
    }
  }
}

/** A memory backend over sparse memory. */
export class SparseBackend implements MemdevBackend {
  readonly id: string;
  readonly memory: SparseMemory;
  readonly isNamed = false;
  owner: string | undefined;
  constructor(id: string, size: bigint) {
    this.id = id;
    this.memory = new SparseMemory(size);
  }
  flush(): Promise<void> {
    return Promise.resolve();
  }
  get inUse(): boolean {
    return this.owner !== undefined;
  }
  claim(owner: string): void {
    if (this.owner !== undefined) throw refused(`can't use already busy memdev: ${this.id}`);
    this.owner = owner;
  }
  release(): void {
    this.owner = undefined;
  }
}

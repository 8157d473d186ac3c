import type { AccessSize, HostMemory } from '../../devices/core/host-memory.js';

interface Part {
  readonly memory: HostMemory;
  /** First byte of the part in the whole. */
  readonly base: bigint;
}
interface Piece {
  readonly memory: HostMemory;
  /** In the part. */
  readonly offset: bigint;
  /** In the access. */
  readonly from: number;
  readonly to: number;
}

/** Guest memory made of the backends of NUMA nodes, one after the other. */
export class NodeMemory implements HostMemory {
  readonly size: bigint;
  readonly readonly = false;
  /** There is not one descriptor for all. */
  readonly descriptor = undefined;
  readonly #parts: readonly Part[];

  constructor(memories: readonly HostMemory[]) {
    let base = 0n;
    this.#parts = memories.map((memory) => {
      const part = { memory, base };
      base += memory.size;
      return part;
    });
    this.size = base;
  }

  read(offset: bigint, into: Uint8Array): boolean {
    return this.#pieces(offset, into.length)
      .map(({ memory, offset: at, from, to }) => memory.read(at, into.subarray(from, to)))
      .every(Boolean);
  }
  write(offset: bigint, from: Uint8Array): boolean {
    return this.#pieces(offset, from.length)
      .map(({ memory, offset: at, from: start, to }) => memory.write(at, from.subarray(start, to)))
      .every(Boolean);
  }
  readInt(offset: bigint, size: AccessSize): bigint {
    const [only, ...more] = this.#pieces(offset, size);
    if (only !== undefined && more.length === 0) return only.memory.readInt(only.offset, size);
    const bytes = Buffer.alloc(8);
    this.read(offset, bytes.subarray(0, size));
    return bytes.readBigUInt64LE();
  }
  writeInt(offset: bigint, size: AccessSize, value: bigint): void {
    const [only, ...more] = this.#pieces(offset, size);
    if (only !== undefined && more.length === 0) {
      only.memory.writeInt(only.offset, size, value);
      return;
    }
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
    this.write(offset, bytes.subarray(0, size));
  }
  onWrite(hook: (offset: bigint, len: number) => void): () => void {
    const ends = this.#parts.map(({ memory, base }) =>
      memory.onWrite((offset, len) => hook(base + offset, len)),
    );
    return () => {
      for (const end of ends) end();
    };
  }

  /** An access split at the ends of the parts. @throws RangeError outside of all (our bug) */
  #pieces(offset: bigint, length: number): Piece[] {
    if (offset < 0n || offset + BigInt(length) > this.size)
      throw new RangeError(
        `${String(length)} bytes at ${String(offset)} are outside of the memory`,
      );
    const end = offset + BigInt(length);
    return this.#parts.flatMap(({ memory, base }) => {
      const first = offset > base ? offset : base;
      const last = end < base + memory.size ? end : base + memory.size;
      if (first >= last) return [];
      return [
        {
          memory,
          offset: first - base,
          from: Number(first - offset),
          to: Number(last - offset),
        },
      ];
    });
  }
}

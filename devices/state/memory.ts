import type { HostMemory } from '../core/host-memory.js';
import type { OwnMemories } from '../core/own-memory.js';

interface Part {
  readonly base: number;
  readonly end: number;
  readonly memory: HostMemory;
}

/**
 * The memories of a device end to end, in the order in which it added them; without those that cannot
 * be written.
 */
export class StateMemory {
  /** Length in bytes. */
  readonly size: bigint;
  readonly #parts: readonly Part[];

  constructor(memories: OwnMemories) {
    let base = 0;
    this.#parts = writable(memories).map((memory) => {
      const part = { base, end: base + Number(memory.size), memory };
      base = part.end;
      return part;
    });
    this.size = BigInt(base);
  }

  /** Whether the device still has the same memories. */
  isOf(memories: OwnMemories): boolean {
    const parts = this.#parts;
    const now = writable(memories);
    return now.length === parts.length && now.every((memory, i) => memory === parts[i]?.memory);
  }

  /** False when some of the bytes are gone; they read 0. */
  read(offset: number, into: Uint8Array): boolean {
    let whole = true;
    this.#each(offset, into, (memory, at, piece) => {
      whole = memory.read(at, piece) && whole;
    });
    return whole;
  }
  /** False when some of the bytes are gone. */
  write(offset: number, from: Uint8Array): boolean {
    let whole = true;
    this.#each(offset, from, (memory, at, piece) => {
      whole = memory.write(at, piece) && whole;
    });
    return whole;
  }
  /** Calls `hook` after every write, whoever wrote; returns the unsubscribe. */
  onWrite(hook: (offset: bigint, len: number) => void): () => void {
    const ends = this.#parts.map(({ base, memory }) =>
      memory.onWrite((offset, len) => hook(offset + BigInt(base), len)),
    );
    return () => {
      for (const end of ends) end();
    };
  }

  #each(
    offset: number,
    bytes: Uint8Array,
    run: (memory: HostMemory, at: bigint, piece: Uint8Array) => void,
  ): void {
    const last = offset + bytes.length;
    for (const { base, end, memory } of this.#parts) {
      const from = Math.max(offset, base);
      const to = Math.min(last, end);
      if (from < to) run(memory, BigInt(from - base), bytes.subarray(from - offset, to - offset));
    }
  }
}

const writable = ({ list }: OwnMemories): HostMemory[] =>
  list.map(({ memory }) => memory).filter(({ readonly }) => !readonly);

import type { AddressSpace } from '../core/address-space.js';

/** DMA of one function. False when it may not master the bus; a read then gives zeros. */
export interface Dma {
  read(address: bigint, into: Uint8Array): boolean;
  write(address: bigint, from: Uint8Array): boolean;
}

/** Accesses of one function to the memory of the system, and who wants to know of them. */
export class FunctionDma implements Dma {
  /** Undefined while the function may not master the bus. */
  readonly #memory: () => AddressSpace | undefined;
  readonly #hooks = new Set<(address: bigint, length: number) => void>();

  constructor(memory: () => AddressSpace | undefined) {
    this.#memory = memory;
  }

  read(address: bigint, into: Uint8Array): boolean {
    const memory = this.#memory();
    if (memory === undefined) into.fill(0);
    else memory.readInto(address, into);
    return memory !== undefined;
  }
  write(address: bigint, from: Uint8Array): boolean {
    const memory = this.#memory();
    memory?.writeBytes(address, from);
    if (memory !== undefined && this.#hooks.size > 0) this.#tell(memory, address, from.length);
    return memory !== undefined;
  }

  /** Calls `hook` for every piece of memory that was written; returns the unsubscribe. */
  onWrite(hook: (address: bigint, length: number) => void): () => void {
    this.#hooks.add(hook);
    return () => void this.#hooks.delete(hook);
  }
  /** Drops every hook. */
  close(): void {
    this.#hooks.clear();
  }

  #tell(memory: AddressSpace, address: bigint, length: number): void {
    memory.visit(address, length, ({ region }, start, end) => {
      if (region?.kind !== 'ram' || region.rom) return;
      for (const hook of [...this.#hooks]) hook(address + BigInt(start), end - start);
    });
  }
}

import type { HostMemory } from '../core/host-memory.js';
import { MemoryRegion } from '../core/memory-region.js';

/** The memory of a virtio-mem device: room for all of it, of which the first `size` bytes show. */
export class PluggedMemory {
  /** As large as the backend; what is not plugged is a hole. */
  readonly region: MemoryRegion;
  readonly #memory: HostMemory;
  readonly #name: string;
  #shown: MemoryRegion | undefined;

  constructor(memory: HostMemory, name: string) {
    this.#memory = memory;
    this.#name = name;
    this.region = MemoryRegion.container(name, memory.size);
  }

  /** Bytes that the guest has. */
  get size(): bigint {
    return this.#shown?.size ?? 0n;
  }

  /** Shows the first `size` bytes of the memory, which keep their values. */
  resize(size: bigint): void {
    if (this.#shown !== undefined) this.region.remove(this.#shown);
    this.#shown =
      size === 0n
        ? undefined
        : MemoryRegion.ram(`${this.#name} plugged`, { memory: this.#memory, size });
    if (this.#shown !== undefined) this.region.add(this.#shown, 0n);
  }
}

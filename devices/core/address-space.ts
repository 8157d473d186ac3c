import type { AccessSize } from './host-memory.js';
import { bytesFromInt, intFromBytes } from './memory-region.js';
import type { MemoryRegion, Section } from './memory-region.js';

/**
 * A tree of regions seen as one range of addresses: system memory, the I/O ports, or what a BAR
 * holds.
 *
 * @see reference/pci-and-memory-devices.md §6.1, §6.3
 */
export class AddressSpace {
  readonly root: MemoryRegion;
  readonly #hole: number;

  /** @param unassigned what a read of an address that nobody serves gives */
  constructor(root: MemoryRegion, unassigned: 'zeros' | 'ones') {
    this.root = root;
    this.#hole = unassigned === 'ones' ? 0xff : 0;
  }

  read(address: bigint, size: AccessSize): bigint {
    return intFromBytes(this.readBytes(address, size));
  }

  write(address: bigint, size: AccessSize, value: bigint): void {
    const bytes = new Uint8Array(size);
    bytesFromInt(value, bytes);
    this.writeBytes(address, bytes);
  }

  readBytes(address: bigint, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.readInto(address, bytes);
    return bytes;
  }

  /** Reads into memory of the caller. */
  readInto(address: bigint, into: Uint8Array): void {
    this.#visit(address, into.length, (section, start, end) => {
      const part = into.subarray(start, end);
      if (section.region === undefined) part.fill(this.#hole);
      else section.region.readLeaf(section.offset, part);
    });
  }

  writeBytes(address: bigint, bytes: Uint8Array): void {
    this.#visit(address, bytes.length, (section, start, end) => {
      section.region?.writeLeaf(section.offset, bytes.subarray(start, end));
    });
  }

  /** The leaf that serves `address`; undefined in a hole. */
  resolve(address: bigint): { region: MemoryRegion; offset: bigint } | undefined {
    const { region, offset } = this.#section(address, 1n);
    return region === undefined ? undefined : { region, offset };
  }

  #section(address: bigint, length: bigint): Section {
    if (!this.root.enabled || address < 0n || address >= this.root.size)
      return { region: undefined, offset: 0n, length };
    return this.root.section(address, length);
  }

  /**
   * Walks the pieces of one access. Registers decode by its address alone: an access that begins
   * in them is theirs as far as their widest access reaches, whatever lies beyond their end.
   */
  #visit(
    address: bigint,
    length: number,
    piece: (section: Section, start: number, end: number) => void,
  ): void {
    for (let done = 0; done < length;) {
      const at = address + BigInt(done);
      const section = this.#section(at, BigInt(length - done));
      let end = done + Number(section.length);
      if (section.region?.kind === 'mmio')
        end = done + section.region.accessLength(section.offset, length - done);
      piece(section, done, end);
      done = end;
    }
  }
}

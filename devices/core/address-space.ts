import type { AccessSize } from './host-memory.js';
import { bytesFromInt, intFromBytes } from './memory-region.js';
import type { MemoryRegion, Section } from './memory-region.js';

const sectionOf = (root: MemoryRegion, address: bigint, length: bigint): Section => {
  if (!root.enabled || address < 0n || address >= root.size)
    return { region: undefined, offset: 0n, length };
  return root.section(address, length);
};

/** Addresses from `base` to `end` are those of one leaf, whose offset 0 is at `origin`. */
interface KnownLeaf {
  readonly base: number;
  readonly end: number;
  readonly origin: number;
  readonly region: MemoryRegion;
}

const LEAVES = 8;

/** The leaves that were accessed last, as long as the tree stays as it is. */
class KnownLeaves {
  readonly #root: MemoryRegion;
  #leaves: KnownLeaf[] = [];
  /** The one that served last. */
  #last: KnownLeaf | undefined;
  #version = -1;

  constructor(root: MemoryRegion) {
    this.#root = root;
  }

  /** The leaf that serves all of an access; undefined when there is none, or when it is too far up. */
  find(at: number, size: number): KnownLeaf | undefined {
    // An alias as root is not told of changes.
    if (at > Number.MAX_SAFE_INTEGER || this.#root.kind === 'alias') return undefined;
    if (this.#version !== this.#root.version) {
      this.#leaves = [];
      this.#last = undefined;
      this.#version = this.#root.version;
    }
    const last = this.#last;
    if (last !== undefined && at >= last.base && at + size <= last.end) return last;
    const known = this.#leaves.find(({ base, end }) => at >= base && at + size <= end);
    this.#last = known ?? this.#learn(BigInt(at), size);
    return this.#last;
  }

  #learn(address: bigint, size: number): KnownLeaf | undefined {
    const { region, offset, length } = sectionOf(this.#root, address, BigInt(size));
    if (region === undefined || length < BigInt(size)) return undefined;
    const leaf =
      this.#whole(region, address, { offset, size }) ?? this.#rest(region, address, offset);
    if (leaf.end > Number.MAX_SAFE_INTEGER) return undefined;
    if (this.#leaves.length === LEAVES) this.#leaves.shift();
    this.#leaves.push(leaf);
    return leaf;
  }

  /** From the beginning of the region, if nothing lies over it before `address`. */
  #whole(
    region: MemoryRegion,
    address: bigint,
    { offset, size }: { offset: bigint; size: number },
  ): KnownLeaf | undefined {
    const start = address - offset;
    const section = sectionOf(this.#root, start, region.size);
    if (section.region !== region || section.offset !== 0n) return undefined;
    if (section.length < offset + BigInt(size)) return undefined;
    const base = Number(start);
    return { base, end: base + Number(section.length), origin: base, region };
  }

  #rest(region: MemoryRegion, address: bigint, offset: bigint): KnownLeaf {
    const { length } = sectionOf(this.#root, address, region.size - offset);
    const base = Number(address);
    return { base, end: base + Number(length), origin: base - Number(offset), region };
  }
}

/**
 * A tree of regions seen as one range of addresses: system memory, the I/O ports, or what a BAR
 * holds.
 *
 * @see reference/pci-and-memory-devices.md §6.1, §6.3
 */
export class AddressSpace {
  readonly root: MemoryRegion;
  readonly #hole: number;
  readonly #known: KnownLeaves;

  /** @param unassigned what a read of an address that nobody serves gives */
  constructor(root: MemoryRegion, unassigned: 'zeros' | 'ones') {
    this.root = root;
    this.#hole = unassigned === 'ones' ? 0xff : 0;
    this.#known = new KnownLeaves(root);
  }

  read(address: bigint, size: AccessSize): bigint {
    return this.#readKnown(Number(address), size) ?? this.#readPieces(address, size);
  }
  /** Reads at an address below 2^53: the same, sooner. */
  readAt(address: number, size: AccessSize): bigint {
    return this.#readKnown(address, size) ?? this.#readPieces(BigInt(address), size);
  }

  write(address: bigint, size: AccessSize, value: bigint): void {
    if (!this.#writeKnown(Number(address), size, value)) this.#writePieces(address, size, value);
  }
  /** Writes at an address below 2^53: the same, sooner. */
  writeAt(address: number, size: AccessSize, value: bigint): void {
    if (!this.#writeKnown(address, size, value)) this.#writePieces(BigInt(address), size, value);
  }

  #readKnown(address: number, size: AccessSize): bigint | undefined {
    const leaf = this.#known.find(address, size);
    return leaf?.region.readInt(address - leaf.origin, size);
  }
  #writeKnown(address: number, size: AccessSize, value: bigint): boolean {
    const leaf = this.#known.find(address, size);
    return leaf?.region.writeInt(address - leaf.origin, size, value) === true;
  }
  #readPieces(address: bigint, size: AccessSize): bigint {
    return intFromBytes(this.readBytes(address, size));
  }
  #writePieces(address: bigint, size: AccessSize, value: bigint): void {
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
    this.visit(address, into.length, (section, start, end) => {
      const part = into.subarray(start, end);
      if (section.region === undefined) part.fill(this.#hole);
      else section.region.readLeaf(section.offset, part);
    });
  }

  writeBytes(address: bigint, bytes: Uint8Array): void {
    this.visit(address, bytes.length, (section, start, end) => {
      section.region?.writeLeaf(section.offset, bytes.subarray(start, end));
    });
  }

  /** The leaf that serves `address`; undefined in a hole. */
  resolve(address: bigint): { region: MemoryRegion; offset: bigint } | undefined {
    const { region, offset } = this.#section(address, 1n);
    return region === undefined ? undefined : { region, offset };
  }

  #section(address: bigint, length: bigint): Section {
    return sectionOf(this.root, address, length);
  }

  /**
   * Walks the pieces of one access. Registers decode by its address alone: an access that begins
   * in them is theirs as far as their widest access reaches, whatever lies beyond their end.
   *
   * @param piece called with what serves the bytes from `start` to `end` of the access
   */
  visit(
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

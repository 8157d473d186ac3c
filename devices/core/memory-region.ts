import type { AccessSize, HostMemory } from './host-memory.js';

/** Callbacks of a register region; `offset` is relative to the region. */
export interface MmioOps {
  read(offset: number, size: AccessSize): bigint;
  write(offset: number, size: AccessSize, value: bigint): void;
}

/**
 * Callbacks of a region that takes accesses of any length; `offset` is relative to the region.
 * What cannot be read reads as zeros.
 */
export interface RoutedOps {
  read(offset: bigint, into: Uint8Array): void;
  write(offset: bigint, from: Uint8Array): void;
}

/** Widths and alignment; absent members mean the defaults of reference/pci-and-memory-devices.md §6.3. */
export interface AccessLimits {
  readonly min?: AccessSize;
  readonly max?: AccessSize;
  readonly unaligned?: boolean;
}
export interface AccessRules {
  /** What software may do; anything else reads 0 and writes nothing. */
  readonly valid?: AccessLimits;
  /** What the callbacks take; other accesses are split or widened. */
  readonly impl?: AccessLimits;
}

export type RegionKind = 'container' | 'mmio' | 'ram' | 'routed' | 'alias';

export interface Subregion {
  readonly region: MemoryRegion;
  readonly offset: bigint;
  readonly priority: number;
}

/** What lies behind one address, for `length` bytes; `region` undefined in a hole. */
export interface Section {
  readonly region: MemoryRegion | undefined;
  readonly offset: bigint;
  readonly length: bigint;
}

interface RamSource {
  readonly memory: HostMemory;
  readonly offset: bigint;
  readonly readonly: boolean;
}
interface Window {
  readonly target: MemoryRegion;
  readonly offset: bigint;
}
interface Content {
  readonly ops?: MmioOps;
  readonly rules?: AccessRules;
  readonly ram?: RamSource;
  readonly routed?: RoutedOps;
  readonly window?: Window;
}

const smaller = (a: bigint, b: bigint): bigint => (a < b ? a : b);

/** The little-endian integer that `bytes` (at most eight) hold. */
export const intFromBytes = (bytes: Uint8Array): bigint => {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] ?? 0);
  return value;
};

/** Fills `into` (at most eight bytes) with the little-endian integer `value`. */
export const bytesFromInt = (value: bigint, into: Uint8Array): void => {
  for (let i = 0; i < into.length; i++) into[i] = Number((value >> BigInt(8 * i)) & 0xffn);
};

/** The lower `size` bytes of a value; by constants, of which the host makes a few instructions. */
const truncated = (value: bigint, size: AccessSize): bigint => {
  switch (size) {
    case 1:
      return BigInt.asUintN(8, value);
    case 2:
      return BigInt.asUintN(16, value);
    case 4:
      return BigInt.asUintN(32, value);
    case 8:
      return BigInt.asUintN(64, value);
  }
};

/**
 * A piece of address space: registers, memory, a window onto another piece, or room for pieces.
 * Regions nest; sub-regions lie over their parent's own content.
 *
 * @see reference/pci-and-memory-devices.md §6.1
 */
export class MemoryRegion {
  readonly name: string;
  readonly size: bigint;
  readonly kind: RegionKind;
  readonly #content: Content;
  #subregions: Subregion[] = [];
  /** Regions that show this one: those that it was added to, and aliases of it in use. */
  readonly #shownBy = new Set<MemoryRegion>();
  #version = 0;
  #enabled = true;
  #serving = false;

  private constructor(name: string, size: bigint, kind: RegionKind, content: Content) {
    if (size < 0n) throw new RangeError(`size of memory region ${name} is negative`);
    this.name = name;
    this.size = size;
    this.kind = kind;
    this.#content = content;
  }

  /** Room for sub-regions; its holes show what lies below it. */
  static container(name: string, size: bigint): MemoryRegion {
    return new MemoryRegion(name, size, 'container', {});
  }
  static mmio(name: string, size: bigint, ops: MmioOps, rules: AccessRules = {}): MemoryRegion {
    return new MemoryRegion(name, size, 'mmio', { ops, rules });
  }
  /** Host memory; `size` defaults to all from `offset` on. Writes to a readonly one are dropped. */
  static ram(
    name: string,
    ram: { memory: HostMemory; offset?: bigint; size?: bigint; readonly?: boolean },
  ): MemoryRegion {
    const offset = ram.offset ?? 0n;
    const size = ram.size ?? ram.memory.size - offset;
    if (offset < 0n || offset + size > ram.memory.size)
      throw new RangeError(`memory region ${name} reaches beyond its memory`);
    const readonly = ram.readonly ?? ram.memory.readonly;
    return new MemoryRegion(name, size, 'ram', { ram: { memory: ram.memory, offset, readonly } });
  }
  /** Somebody else's memory, reached in runs of any length. */
  static routed(name: string, size: bigint, routed: RoutedOps): MemoryRegion {
    return new MemoryRegion(name, size, 'routed', { routed });
  }
  /** A window of `size` bytes onto `target`, from `offset` of it on. */
  static alias(name: string, target: MemoryRegion, offset: bigint, size: bigint): MemoryRegion {
    return new MemoryRegion(name, size, 'alias', { window: { target, offset } });
  }

  /** A disabled region, and all inside it, is as if it were not there. */
  get enabled(): boolean {
    return this.#enabled;
  }
  set enabled(enabled: boolean) {
    this.#enabled = enabled;
    this.#changed();
  }
  /** Another number after every change of what lies at and below this region. */
  get version(): number {
    return this.#version;
  }
  #changed(): void {
    this.#version++;
    for (const region of this.#shownBy) region.#changed();
  }
  #show(by: MemoryRegion): void {
    this.#shownBy.add(by);
    const { window } = this.#content;
    if (window !== undefined) window.target.#show(this);
  }
  #hide(by: MemoryRegion): void {
    this.#shownBy.delete(by);
    const { window } = this.#content;
    if (window !== undefined && this.#shownBy.size === 0) window.target.#hide(this);
  }

  /** Lays `child` over this region; of equal priorities the one added last is on top. */
  add(child: MemoryRegion, offset: bigint, priority = 0): void {
    if (this.#subregions.some(({ region }) => region === child))
      throw new RangeError(`memory region ${child.name} is already part of ${this.name}`);
    const before = this.#subregions.findIndex((other) => other.priority <= priority);
    const entry = { region: child, offset, priority };
    if (before < 0) this.#subregions.push(entry);
    else this.#subregions.splice(before, 0, entry);
    child.#show(this);
    this.#changed();
  }

  /** Takes `child` out; nothing happens when it is not inside. */
  remove(child: MemoryRegion): void {
    const rest = this.#subregions.filter(({ region }) => region !== child);
    if (rest.length === this.#subregions.length) return;
    this.#subregions = rest;
    child.#hide(this);
    this.#changed();
  }

  /** Puts `by` where `child` is; nothing happens when `child` is not inside. */
  replace(child: MemoryRegion, by: MemoryRegion): void {
    const at = this.#subregions.findIndex(({ region }) => region === child);
    const entry = this.#subregions[at];
    if (entry === undefined || child === by) return;
    this.#subregions = this.#subregions.with(at, { ...entry, region: by });
    child.#hide(this);
    by.#show(this);
    this.#changed();
  }

  /** Topmost first. */
  get subregions(): readonly Subregion[] {
    return this.#subregions;
  }

  /** What an alias shows; undefined for other kinds. */
  get aliased(): { readonly target: MemoryRegion; readonly offset: bigint } | undefined {
    return this.#content.window;
  }
  /** Whether this is memory that the guest side cannot write. */
  get rom(): boolean {
    return this.#content.ram?.readonly === true;
  }

  /** The host memory behind a RAM region; undefined for other kinds. */
  get host(): { readonly memory: HostMemory; readonly offset: bigint } | undefined {
    return this.#content.ram;
  }

  /**
   * What serves `offset`, and for how many of the next `length` bytes at least.
   *
   * @param offset inside this region
   */
  section(offset: bigint, length: bigint): Section {
    let span = smaller(length, this.size - offset);
    for (const sub of this.#subregions) {
      if (!sub.region.enabled) continue;
      const inner = offset - sub.offset;
      if (inner < 0n) {
        span = smaller(span, -inner);
      } else if (inner < sub.region.size) {
        const found = sub.region.section(inner, span);
        if (found.region !== undefined) return found;
        span = found.length;
      }
    }
    const { window } = this.#content;
    if (window !== undefined) return this.#through(window, offset, span);
    return { region: this.kind === 'container' ? undefined : this, offset, length: span };
  }

  #through({ target, offset: start }: Window, offset: bigint, length: bigint): Section {
    const inner = start + offset;
    if (!target.enabled || inner >= target.size) return { region: undefined, offset, length };
    return target.section(inner, length);
  }

  /**
   * How many of `length` bytes the next access of registers at `offset` takes; §6.3 rule 1. The end
   * of the region does not shorten it: only the address of an access selects registers.
   */
  accessLength(offset: bigint, length: number): AccessSize {
    const at = Number(offset);
    let size = 1;
    while (this.#isOneAccess(at, size * 2) && size * 2 <= length) size *= 2;
    return size as AccessSize;
  }
  /** Whether `size` bytes, a power of two, go to the registers in one access. */
  #isOneAccess(offset: number, size: number): boolean {
    const rules = this.#content.rules;
    if (size > (rules?.valid?.max ?? 4)) return false;
    return offset % size === 0 || rules?.impl?.unaligned === true;
  }

  /**
   * One access of a leaf itself, as an integer; undefined when it must be split.
   *
   * @param offset inside this region, as are the bytes that follow
   */
  readInt(offset: number, size: AccessSize): bigint | undefined {
    const { ram, ops } = this.#content;
    if (ram !== undefined) return ram.memory.readInt(ram.offset + BigInt(offset), size);
    if (ops === undefined) return undefined;
    return size === 1 || this.#isOneAccess(offset, size)
      ? this.#readRegister(offset, size)
      : undefined;
  }

  /** One write to a leaf itself; false when it must be split. */
  writeInt(offset: number, size: AccessSize, value: bigint): boolean {
    const { ram, ops } = this.#content;
    if (ram === undefined) {
      if (ops === undefined || (size > 1 && !this.#isOneAccess(offset, size))) return false;
      this.#writeRegister(offset, size, value);
    } else if (!ram.readonly) ram.memory.writeInt(ram.offset + BigInt(offset), size, value);
    return true;
  }

  /** Reads a leaf itself, without its sub-regions: RAM, routed memory, or one access of registers. */
  readLeaf(offset: bigint, into: Uint8Array): void {
    const { ram, routed } = this.#content;
    if (ram !== undefined) ram.memory.read(ram.offset + offset, into);
    else if (routed !== undefined) routed.read(offset, into);
    else if (this.kind === 'mmio')
      bytesFromInt(this.#readRegister(Number(offset), into.length as AccessSize), into);
  }

  /** Writes a leaf itself: RAM, routed memory, or one access of registers. */
  writeLeaf(offset: bigint, from: Uint8Array): void {
    const { ram, routed } = this.#content;
    if (routed !== undefined) routed.write(offset, from);
    else if (ram === undefined)
      this.#writeRegister(Number(offset), from.length as AccessSize, intFromBytes(from));
    else if (!ram.readonly) ram.memory.write(ram.offset + offset, from);
  }

  /** §6.3 rule 2. */
  #isValid(offset: number, size: AccessSize): boolean {
    const valid = this.#content.rules?.valid;
    // Sizes are powers of two.
    if (valid?.unaligned !== true && (offset & (size - 1)) !== 0) return false;
    return valid?.max === undefined || (size >= (valid.min ?? 1) && size <= valid.max);
  }

  /** §6.3 rule 3. */
  #width(size: AccessSize): AccessSize {
    const impl = this.#content.rules?.impl;
    const max = impl?.max ?? 4;
    const min = impl?.min ?? 1;
    if (size < min) return min;
    return size > max ? max : size;
  }

  #readRegister(offset: number, size: AccessSize): bigint {
    const { ops } = this.#content;
    if (ops === undefined || !this.#isServed(offset, size)) return 0n;
    const width = this.#width(size);
    this.#serving = true;
    try {
      let value = ops.read(offset, width);
      if (width >= size) return truncated(value, size);
      value = truncated(value, width);
      for (let i = width; i < size; i += width)
        value |= truncated(ops.read(offset + i, width), width) << BigInt(8 * i);
      return value;
    } finally {
      this.#serving = false;
    }
  }

  #writeRegister(offset: number, size: AccessSize, value: bigint): void {
    const { ops } = this.#content;
    if (ops === undefined || !this.#isServed(offset, size)) return;
    const width = this.#width(size);
    const bits = truncated(value, size);
    this.#serving = true;
    try {
      for (let i = 0; i < size; i += width)
        ops.write(offset + i, width, truncated(bits >> BigInt(8 * i), width));
    } finally {
      this.#serving = false;
    }
  }

  /** An access is valid, and none from within another one. */
  #isServed(offset: number, size: AccessSize): boolean {
    return !this.#serving && this.#isValid(offset, size);
  }
}

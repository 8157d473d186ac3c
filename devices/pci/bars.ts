import { refused } from '../../schema/error.js';
import type { Activity } from '../core/activity.js';
import { AddressSpace } from '../core/address-space.js';
import type { MemoryRegion } from '../core/memory-region.js';
import { stopFront } from '../core/stop-front.js';
import type { ConfigSpace } from './config-space.js';
import { BRIDGE, CONFIG } from './registers.js';

/** Index under which the option ROM is listed. */
export const ROM_INDEX = 6;

/** Address of a BAR that decodes nothing. */
export const UNMAPPED = -1n;

export interface BarKind {
  readonly type: 'memory' | 'io';
  readonly bits64?: boolean;
  readonly prefetch?: boolean;
}

export interface BarInfo {
  /** 0 to 5, or 6 for the option ROM. */
  readonly index: number;
  readonly size: bigint;
  readonly type: 'memory' | 'io';
  readonly prefetch: boolean;
  readonly bits64: boolean;
  /** Bus address, -1n while unmapped. */
  readonly address: bigint;
  readonly region: MemoryRegion;
  /** What software finds in it, wherever it is mapped. */
  readonly content: AddressSpace;
}

/** The spaces a BAR is mapped into, and what the function decodes at present. */
export interface Decoding {
  readonly io: boolean;
  readonly memory: boolean;
  readonly spaces: { readonly memory: MemoryRegion; readonly io: MemoryRegion } | undefined;
}

class Bar implements BarInfo {
  readonly index: number;
  readonly type: 'memory' | 'io';
  readonly prefetch: boolean;
  readonly bits64: boolean;
  readonly region: MemoryRegion;
  /** Offset of its register in configuration space. */
  readonly register: number;
  address = UNMAPPED;
  /** The space it is mapped into. */
  space: MemoryRegion | undefined;
  /** What is mapped: the region, or what stands in its place. */
  #shown: MemoryRegion;
  #content: AddressSpace | undefined;

  constructor(index: number, register: number, region: MemoryRegion, kind: BarKind) {
    this.index = index;
    this.register = register;
    this.region = region;
    this.#shown = region;
    this.type = kind.type;
    this.prefetch = kind.prefetch ?? false;
    this.bits64 = kind.bits64 ?? false;
  }
  get size(): bigint {
    return this.region.size;
  }
  get content(): AddressSpace {
    this.#content ??= new AddressSpace(this.#shown, this.unassigned);
    return this.#content;
  }
  /** What reads give where nothing is. */
  get unassigned(): 'zeros' | 'ones' {
    return this.type === 'io' ? 'ones' : 'zeros';
  }
  get shown(): MemoryRegion {
    return this.#shown;
  }
  set shown(region: MemoryRegion) {
    this.space?.replace(this.#shown, region);
    this.#shown = region;
    this.#content = undefined;
  }
  get typeBits(): number {
    if (this.index === ROM_INDEX) return 0;
    if (this.type === 'io') return 1;
    return (this.bits64 ? 4 : 0) | (this.prefetch ? 8 : 0);
  }
}

const LAST_32 = 0xffff_ffffn;
const LAST_64 = 0xffff_ffff_ffff_ffffn;

/**
 * The BARs of one function: registers in configuration space on one side, mapped regions on the
 * other.
 *
 * @see reference/pci-and-memory-devices.md §1.5
 */
export class Bars {
  readonly #config: ConfigSpace;
  readonly #isBridge: boolean;
  readonly #bars: Bar[] = [];

  constructor(config: ConfigSpace, isBridge: boolean) {
    this.#config = config;
    this.#isBridge = isBridge;
  }

  /** Ascending index. */
  get list(): readonly BarInfo[] {
    return this.#bars;
  }
  find(index: number): BarInfo | undefined {
    return this.#bars.find((bar) => bar.index === index);
  }

  /** @throws QmpError when the size is not a power of two or below the smallest BAR */
  register(index: number, region: MemoryRegion, kind: BarKind): void {
    const { size } = region;
    const smallest = kind.type === 'io' ? 4n : 16n;
    if (size < smallest || (size & (size - 1n)) !== 0n || (!kind.bits64 && size > 1n << 31n))
      throw refused(
        `size ${String(size)} of BAR ${String(index)} is not a power of two that the BAR can hold`,
      );
    const registers = this.#isBridge ? 2 : 6;
    if (index !== ROM_INDEX && index + (kind.bits64 ? 1 : 0) >= registers)
      throw new RangeError(`no BAR ${String(index)}`);
    if (this.find(index) !== undefined)
      throw new RangeError(`BAR ${String(index)} is registered already`);
    const bar = new Bar(index, this.#registerOf(index), region, kind);
    this.#bars.push(bar);
    this.#bars.sort((a, b) => a.index - b.index);
    this.#setRegister(bar);
  }

  /**
   * Puts a front in the place of every region while the function is stopped.
   *
   * @param decodes whether the function lets accesses of a kind through
   */
  setStopped(
    stopped: boolean,
    activity: Activity,
    decodes: (type: BarKind['type']) => boolean,
  ): void {
    for (const bar of this.#bars) {
      const { region, type, unassigned } = bar;
      const reached = (): boolean => decodes(type);
      bar.shown = stopped ? stopFront(region, { activity, unassigned, reached }) : region;
    }
  }

  #registerOf(index: number): number {
    if (index !== ROM_INDEX) return CONFIG.BAR0 + 4 * index;
    return this.#isBridge ? BRIDGE.ROM : CONFIG.ROM;
  }

  /** Takes a BAR out, its register included. */
  unregister(index: number): void {
    const at = this.#bars.findIndex((bar) => bar.index === index);
    const [bar] = at < 0 ? [] : this.#bars.splice(at, 1);
    if (bar === undefined) return;
    this.#move(bar, UNMAPPED, undefined);
    this.#config.set(bar.register, 4, 0);
    this.#config.setWritable(bar.register, 4, 0);
    if (!bar.bits64) return;
    this.#config.set(bar.register + 4, 4, 0);
    this.#config.setWritable(bar.register + 4, 4, 0);
  }

  #setRegister(bar: Bar): void {
    const mask = LAST_64 & ~(bar.size - 1n);
    if (bar.bits64) {
      this.#config.set64(bar.register, BigInt(bar.typeBits));
      this.#config.setWritable64(bar.register, mask);
      return;
    }
    const enable = bar.index === ROM_INDEX ? 1n : 0n;
    this.#config.set(bar.register, 4, bar.typeBits);
    this.#config.setWritable(bar.register, 4, Number((mask & LAST_32) | enable));
  }

  /** Writes the type bits back, so that every BAR holds address 0. */
  reset(): void {
    for (const bar of this.#bars) this.#setRegister(bar);
  }

  /** True when an access of configuration space may change a BAR. */
  touches(offset: number, size: number): boolean {
    const overlaps = (start: number, length: number): boolean =>
      offset < start + length && start < offset + size;
    return overlaps(CONFIG.BAR0, 24) || overlaps(CONFIG.ROM, 4) || overlaps(BRIDGE.ROM, 4);
  }

  /** Maps and unmaps until the address spaces show what the registers say. */
  update(decoding: Decoding): void {
    for (const bar of this.#bars) {
      const space = decoding.spaces?.[bar.type];
      this.#move(bar, space === undefined ? UNMAPPED : this.#decode(bar, decoding), space);
    }
  }

  #move(bar: Bar, address: bigint, space: MemoryRegion | undefined): void {
    if (bar.address === address && (bar.space === space || address === UNMAPPED)) return;
    bar.space?.remove(bar.shown);
    bar.address = address;
    bar.space = address === UNMAPPED ? undefined : space;
    bar.space?.add(bar.shown, address, 1);
  }

  #decode(bar: Bar, decoding: Decoding): bigint {
    if (!decoding[bar.type]) return UNMAPPED;
    const config = this.#config;
    const raw = bar.bits64 ? config.get64(bar.register) : BigInt(config.get(bar.register, 4));
    if (bar.index === ROM_INDEX && (raw & 1n) === 0n) return UNMAPPED;
    const address = raw & ~(bar.size - 1n);
    const last = address + bar.size - 1n;
    if (address === 0n || last >= (bar.bits64 ? LAST_64 : LAST_32)) return UNMAPPED;
    return address;
  }
}

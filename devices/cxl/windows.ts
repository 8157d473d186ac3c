import { MemoryRegion } from '../core/memory-region.js';
import { dpa, hpa, type Dpa } from './addresses.js';
import type { CxlMemoryTarget, MemoryFault } from './memory-target.js';
import { route, stillHolds, type CxlHostBridge, type Route } from './routing.js';
import { DEFAULT_GRANULARITY, type FixedWindowConfig } from './window-config.js';

/** Longest piece that a device is asked for at once. */
const PIECE = 4096n;
/** What one access of a processor takes, and what poison spoils. */
const ACCESS = 8;
const LINE = 64n;

/** Moves one piece between the caller and a device. */
type Move = (target: CxlMemoryTarget, address: Dpa, bytes: Uint8Array) => MemoryFault | undefined;

const read: Move = (target, address, bytes) => target.readDpa(address, bytes);
const write: Move = (target, address, bytes) => target.writeDpa(address, bytes);

/**
 * A range of host physical addresses that leads to CXL memory, interleaved over host bridges.
 *
 * @see reference/cxl.md §1.3, §3.3
 */
export class FixedWindow {
  readonly region: MemoryRegion;
  readonly base: bigint;
  readonly config: FixedWindowConfig;
  readonly #granularity: bigint;
  #bridges: readonly CxlHostBridge[] = [];
  #last: { readonly found: Route; readonly start: bigint; readonly end: bigint } | undefined;

  constructor(config: FixedWindowConfig, base: bigint) {
    this.config = config;
    this.base = base;
    this.#granularity = config.granularity ?? DEFAULT_GRANULARITY;
    this.region = MemoryRegion.routed('cxl-fixed-memory-region', config.size, {
      read: (offset, into) => {
        this.read(offset, into);
      },
      write: (offset, from) => {
        this.write(offset, from);
      },
    });
  }

  /** @param bridges one for each target, in the order of the targets */
  connect(bridges: readonly CxlHostBridge[]): void {
    this.#bridges = bridges;
    this.#last = undefined;
  }

  /**
   * Reads memory; what cannot be read is 0.
   *
   * @param offset bytes from the start of the window
   * @returns why something could not be read: the first reason
   */
  read(offset: bigint, into: Uint8Array): MemoryFault | undefined {
    return this.#visit(offset, into, read);
  }
  /** Writes memory. @returns why something could not be written: the first reason */
  write(offset: bigint, from: Uint8Array): MemoryFault | undefined {
    return this.#visit(offset, from, write);
  }

  /** An access of up to 8 bytes is one, wherever it lies; longer runs go in pieces. */
  #visit(offset: bigint, bytes: Uint8Array, move: Move): MemoryFault | undefined {
    const start = this.base + offset;
    if (bytes.length <= ACCESS) return this.#one(this.#route(start), bytes, move);
    let first: MemoryFault | undefined;
    for (let done = 0; done < bytes.length;) {
      const at = start + BigInt(done);
      const found = this.#route(at);
      const length = pieceLength(found, at, bytes.length - done);
      const fault = this.#piece(found, bytes.subarray(done, done + length), move);
      first ??= fault;
      done += length;
    }
    return first;
  }

  #piece(found: Route | MemoryFault, bytes: Uint8Array, move: Move): MemoryFault | undefined {
    const fault = this.#one(found, bytes, move);
    if (fault !== 'poison' || typeof found === 'string') return fault;
    for (let done = 0; done < bytes.length;) {
      const at = found.address + BigInt(done);
      const end = done + Number(LINE - (at % LINE));
      this.#one({ ...found, address: dpa(at) }, bytes.subarray(done, end), move);
      done = end;
    }
    return fault;
  }

  #one(found: Route | MemoryFault, bytes: Uint8Array, move: Move): MemoryFault | undefined {
    const fault = typeof found === 'string' ? found : move(found.target, found.address, bytes);
    if (move === read && fault !== undefined && fault !== 'media-disabled') bytes.fill(0);
    return fault;
  }

  /** The last route serves as long as it leads where the address lies, and nothing has changed. */
  #route(address: bigint): Route | MemoryFault {
    const known = this.#last;
    if (known !== undefined && address >= known.start && address < known.end) {
      const { found, start, end } = known;
      if (stillHolds(found.grounds))
        return { ...found, address: dpa(found.address + address - start), run: end - address };
    }
    const found = this.#find(address);
    this.#last =
      typeof found === 'string' ? undefined : { found, start: address, end: address + found.run };
    return found;
  }

  #find(address: bigint): Route | MemoryFault {
    const bridge = this.#bridges[this.#index(address)];
    if (bridge === undefined) return 'no-route';
    const found = route(bridge, hpa(address));
    if (typeof found === 'string' || this.#bridges.length === 1) return found;
    const left = this.#granularity - (address % this.#granularity);
    return left < found.run ? { ...found, run: left } : found;
  }

  #index(address: bigint): number {
    const count = this.#bridges.length;
    if (count <= 1) return 0;
    return Number((address / this.#granularity) % BigInt(count));
  }
}

/** Bytes until the interleave, the page or the access ends; without a route one granule. */
const pieceLength = (found: Route | MemoryFault, at: bigint, left: number): number => {
  const run =
    typeof found === 'string' ? DEFAULT_GRANULARITY - (at % DEFAULT_GRANULARITY) : found.run;
  const page = PIECE - (at % PIECE);
  const length = run < page ? run : page;
  return length < left ? Number(length) : left;
};

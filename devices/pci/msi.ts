import type { FunctionPart, PciFunction } from './function.js';
import { InterruptCounts } from './interrupt-counts.js';
import type { InterruptSource } from './interrupt-counts.js';
import { CAPABILITY } from './registers.js';

/** MSI capability; offsets from its start. PCI Local Bus 3.0 §6.8.1. */
const CONTROL = 2;
const ADDRESS = 4;
const ENABLE = 0x1;
const CAPABLE_SHIFT = 1;
const ENABLED_SHIFT = 4;
const ENABLED_FIELD = 0x70;
const BITS_64 = 0x80;
const MASKABLE = 0x100;
const ALL_BITS = 0xffff_ffff;

export interface MsiOptions {
  /** A power of two, 1 to 32. */
  readonly vectors: number;
  readonly bits64: boolean;
  /** Per-vector mask and pending bits. */
  readonly mask?: boolean;
  /** Offset in configuration space; the first free one by default. */
  readonly at?: number;
}

/**
 * Sends one message: a write of 4 bytes by DMA.
 *
 * @returns whether it got anywhere, which only a bus master's message does
 */
export const sendMessage = (fn: PciFunction, address: bigint, data: number): boolean => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, data, true);
  return fn.dma.write(address, bytes);
};

/**
 * The MSI capability of a function.
 *
 * @see reference/pci-and-memory-devices.md §1.6
 */
export class Msi implements FunctionPart {
  readonly #fn: PciFunction;
  readonly #at: number;
  readonly #size: number;
  readonly #data: number;
  readonly #mask: number | undefined;
  readonly #capable: number;
  readonly #counts = new InterruptCounts();
  readonly #unhook: () => void;

  constructor(fn: PciFunction, options: MsiOptions) {
    const { vectors, bits64, mask = false } = options;
    this.#capable = Math.log2(vectors);
    if (!Number.isInteger(this.#capable) || vectors > 32)
      throw new RangeError(`${String(vectors)} is no number of MSI vectors`);
    this.#fn = fn;
    this.#size = (mask ? 0x14 : 0x0a) + (bits64 ? 4 : 0);
    this.#at = fn.addCapability(CAPABILITY.MSI, this.#size, options.at);
    this.#data = this.#at + (bits64 ? 0x0c : 0x08);
    this.#mask = mask ? this.#data + 4 : undefined;
    this.#initMasks(options);
    this.#unhook = fn.onConfigWrite((offset, size) => this.#written(offset, size));
    fn.addPart('msi', this);
  }

  #initMasks({ vectors, bits64, mask = false }: MsiOptions): void {
    const { config } = this.#fn;
    const fixed = (this.#capable << CAPABLE_SHIFT) | (bits64 ? BITS_64 : 0);
    config.set(this.#at + CONTROL, 2, mask ? fixed | MASKABLE : fixed);
    config.setWritable(this.#at + CONTROL, 2, ENABLE | ENABLED_FIELD);
    config.setWritable(this.#at + ADDRESS, 4, ALL_BITS - 3);
    if (bits64) config.setWritable(this.#at + ADDRESS + 4, 4, ALL_BITS);
    config.setWritable(this.#data, 2, 0xffff);
    if (this.#mask !== undefined) config.setWritable(this.#mask, 4, 2 ** vectors - 1);
  }

  get #control(): number {
    return this.#fn.config.get(this.#at + CONTROL, 2);
  }
  /** log2 of the vectors that software enabled. */
  get #enabledLog2(): number {
    return (this.#control & ENABLED_FIELD) >> ENABLED_SHIFT;
  }

  /** Offset of the capability. */
  get offset(): number {
    return this.#at;
  }
  get enabled(): boolean {
    return (this.#control & ENABLE) !== 0;
  }
  /** Address and data as software programmed them; vector bits of the data are as stored. */
  get message(): { readonly address: bigint; readonly data: number } {
    const { config } = this.#fn;
    const high = (this.#control & BITS_64) !== 0 ? config.get(this.#at + ADDRESS + 4, 4) : 0;
    return {
      address: (BigInt(high) << 32n) | BigInt(config.get(this.#at + ADDRESS, 4)),
      data: config.get(this.#data, 2),
    };
  }

  /**
   * Raises `vector`; nothing happens while MSI is disabled, a masked vector becomes pending. With
   * fewer vectors enabled than capable, vectors share messages.
   */
  notify(vector: number): void {
    if (!this.enabled) return;
    const count = 2 ** this.#enabledLog2;
    const shared = vector % count;
    if (this.#isMasked(shared)) {
      this.#setPending(shared, true);
      return;
    }
    const { address, data } = this.message;
    const message = data - (data % count) + shared;
    this.#counts.count(shared, sendMessage(this.#fn, address, message));
  }

  #isMasked(vector: number): boolean {
    if (this.#mask === undefined) return false;
    return ((this.#fn.config.get(this.#mask, 4) >> vector) & 1) !== 0;
  }
  #isPending(vector: number): boolean {
    if (this.#mask === undefined) return false;
    return ((this.#fn.config.get(this.#mask + 4, 4) >> vector) & 1) !== 0;
  }
  #setPending(vector: number, pending: boolean): void {
    if (this.#mask === undefined) return;
    const register = this.#mask + 4;
    const bits = this.#fn.config.get(register, 4);
    const bit = 1 << vector;
    this.#fn.config.set(register, 4, pending ? bits | bit : bits & ~bit);
  }

  #written(offset: number, size: number): void {
    if (offset >= this.#at + this.#size || offset + size <= this.#at) return;
    if (this.#enabledLog2 > this.#capable) {
      const kept = this.#control & ~ENABLED_FIELD;
      this.#fn.config.set(this.#at + CONTROL, 2, kept | (this.#capable << ENABLED_SHIFT));
    }
    if (!this.enabled) return;
    this.#fn.setInterrupt(false);
    this.#deliverPending();
  }

  #deliverPending(): void {
    const count = 2 ** this.#enabledLog2;
    for (let vector = 0; vector < 2 ** this.#capable; vector++) {
      if (!this.#isPending(vector) || (vector < count && this.#isMasked(vector))) continue;
      this.#setPending(vector, false);
      if (vector < count) this.notify(vector);
    }
  }

  interrupts(): InterruptSource {
    const vectors = this.#counts.describe(2 ** this.#capable, (vector) => this.#isPending(vector));
    return { kind: 'msi', enabled: this.enabled, vectors };
  }

  reset(): void {
    const { config } = this.#fn;
    config.set(this.#at + CONTROL, 2, this.#control & ~(ENABLE | ENABLED_FIELD));
    config.bytes.fill(0, this.#at + ADDRESS, this.#at + this.#size);
  }

  /** Takes the capability out of the function. */
  close(): void {
    this.#unhook();
    this.#fn.removeCapability(CAPABILITY.MSI, this.#size);
  }
}

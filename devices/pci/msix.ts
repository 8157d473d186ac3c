import { refused } from '../../schema/error.js';
import type { StateValue } from '../core/device.js';
import { MemoryRegion } from '../core/memory-region.js';
import type { MmioOps } from '../core/memory-region.js';
import { bytes, fields } from '../core/saved-state.js';
import type { FunctionPart, PciFunction } from './function.js';
import { InterruptCounts } from './interrupt-counts.js';
import type { InterruptSource } from './interrupt-counts.js';
import { sendMessage } from './msi.js';
import { CAPABILITY } from './registers.js';

/** MSI-X capability; offsets from its start. PCI Local Bus 3.0 §6.8.2. */
const CAPABILITY_SIZE = 12;
const CONTROL = 2;
const TABLE = 4;
const PENDING = 8;
const ENABLE = 0x8000;
const MASK_ALL = 0x4000;

/** One table entry: address, data, vector control. */
const ENTRY_SIZE = 16;
const ENTRY_DATA = 8;
const ENTRY_CONTROL = 12;
const MASKED = 1;

const SMALLEST_BAR = 0x1000;

export interface MsiXOptions {
  /** 1 to 2048. */
  readonly vectors: number;
  /** The BAR that holds nothing but table and pending bits. */
  readonly bar: number;
  /** Offset in configuration space; the first free one by default. */
  readonly at?: number;
}

const powerOfTwoCeil = (value: number): number => 2 ** Math.ceil(Math.log2(value));

const registers = (bytes: Uint8Array, written?: (offset: number) => void): MmioOps => {
  const view = new DataView(bytes.buffer);
  return {
    read: (offset) => BigInt(view.getUint32(offset, true)),
    write: (offset, _size, value) => {
      if (written === undefined) return;
      view.setUint32(offset, Number(value), true);
      written(offset);
    },
  };
};

/**
 * The MSI-X capability of a function, with a BAR of its own.
 *
 * @see reference/pci-and-memory-devices.md §1.6
 */
export class MsiX implements FunctionPart {
  readonly #fn: PciFunction;
  readonly #at: number;
  readonly #bar: number;
  readonly #vectors: number;
  readonly #table: Uint8Array;
  readonly #entries: DataView;
  readonly #pending: Uint8Array;
  readonly #counts = new InterruptCounts();
  readonly #unused = new Set<number>();
  readonly #unhook: readonly (() => void)[];
  /** Enabled and not masked as a whole, when last looked at. */
  #active = false;

  /** @throws QmpError when the number of vectors is out of range */
  constructor(fn: PciFunction, options: MsiXOptions) {
    const { vectors, bar } = options;
    if (vectors < 1 || vectors > 2048 || !Number.isInteger(vectors))
      throw refused('The number of MSI-X vectors is invalid');
    this.#fn = fn;
    this.#vectors = vectors;
    this.#bar = bar;
    this.#table = new Uint8Array(vectors * ENTRY_SIZE);
    this.#entries = new DataView(this.#table.buffer);
    this.#pending = new Uint8Array(8 * Math.ceil(vectors / 64));
    this.#maskAll();
    const pendingAt = Math.max(SMALLEST_BAR / 2, this.#table.length);
    this.#at = fn.addCapability(CAPABILITY.MSIX, CAPABILITY_SIZE, options.at);
    fn.config.set(this.#at + CONTROL, 2, vectors - 1);
    fn.config.setWritable(this.#at + CONTROL, 2, ENABLE | MASK_ALL);
    fn.config.set(this.#at + TABLE, 4, bar);
    fn.config.set(this.#at + PENDING, 4, pendingAt | bar);
    fn.registerBar(bar, this.#region(pendingAt), { type: 'memory' });
    this.#unhook = [
      fn.onConfigWrite(() => this.#controlWritten()),
      fn.onLoad(() => this.#loaded()),
    ];
    fn.addPart('msix', this);
  }

  #region(pendingAt: number): MemoryRegion {
    const reserved = 8 * (Math.floor(this.#vectors / 8) + 1);
    const size = powerOfTwoCeil(Math.max(SMALLEST_BAR, pendingAt + reserved));
    const container = MemoryRegion.container(`${this.#fn.typeName}-msix`, BigInt(size));
    const rules = { valid: { min: 4, max: 8 }, impl: { min: 4, max: 4 } } as const;
    const piece = (name: string, bytes: Uint8Array, ops: MmioOps): MemoryRegion =>
      MemoryRegion.mmio(name, BigInt(bytes.length), ops, rules);
    const table = registers(this.#table, (offset) => {
      if (offset % ENTRY_SIZE === ENTRY_CONTROL) this.#deliver(Math.floor(offset / ENTRY_SIZE));
    });
    container.add(piece('msix-table', this.#table, table), 0n);
    container.add(piece('msix-pba', this.#pending, registers(this.#pending)), BigInt(pendingAt));
    return container;
  }

  get #control(): number {
    return this.#fn.config.get(this.#at + CONTROL, 2);
  }
  get enabled(): boolean {
    return (this.#control & ENABLE) !== 0;
  }
  get vectors(): number {
    return this.#vectors;
  }

  /** Whether `notify(vector)` does anything; every vector is in use at first. */
  setInUse(vector: number, used: boolean): void {
    if (used) this.#unused.delete(vector);
    else {
      this.#unused.add(vector);
      this.#setPending(vector, false);
    }
  }

  /** Raises `vector`; it becomes pending while it, all of them or MSI-X as a whole are masked. */
  notify(vector: number): void {
    if (vector >= this.#vectors || this.#unused.has(vector)) return;
    if (this.#isMasked(vector)) this.#setPending(vector, true);
    else this.#send(vector);
  }

  #send(vector: number): void {
    const entry = vector * ENTRY_SIZE;
    const data = this.#entries.getUint32(entry + ENTRY_DATA, true);
    const address = this.#entries.getBigUint64(entry, true);
    this.#counts.count(vector, sendMessage(this.#fn, address, data));
  }

  #isMasked(vector: number): boolean {
    if ((this.#control & (ENABLE | MASK_ALL)) !== ENABLE) return true;
    return ((this.#table[vector * ENTRY_SIZE + ENTRY_CONTROL] ?? 0) & MASKED) !== 0;
  }
  #isPending(vector: number): boolean {
    return (((this.#pending[vector >> 3] ?? 0) >> (vector & 7)) & 1) !== 0;
  }
  #setPending(vector: number, pending: boolean): void {
    const byte = this.#pending[vector >> 3] ?? 0;
    const bit = 1 << (vector & 7);
    this.#pending[vector >> 3] = pending ? byte | bit : byte & ~bit;
  }
  /** Sends a pending vector that nothing masks any more. */
  #deliver(vector: number): void {
    if (!this.#isPending(vector) || this.#isMasked(vector)) return;
    this.#setPending(vector, false);
    this.#send(vector);
  }

  #controlWritten(): void {
    const wasActive = this.#active;
    this.#active = (this.#control & (ENABLE | MASK_ALL)) === ENABLE;
    if (this.enabled) this.#fn.setInterrupt(false);
    if (!this.#active || wasActive) return;
    for (let vector = 0; vector < this.#vectors; vector++) this.#deliver(vector);
  }
  #loaded(): void {
    this.#active = (this.#control & (ENABLE | MASK_ALL)) === ENABLE;
  }

  #maskAll(): void {
    this.#table.fill(0);
    for (let entry = 0; entry < this.#table.length; entry += ENTRY_SIZE)
      this.#table[entry + ENTRY_CONTROL] = MASKED;
  }

  interrupts(): InterruptSource {
    const vectors = this.#counts.describe(this.#vectors, (vector) => this.#isPending(vector));
    return { kind: 'msi-x', enabled: this.enabled, vectors };
  }

  reset(): void {
    this.#fn.config.set(this.#at + CONTROL, 2, this.#control & ~(ENABLE | MASK_ALL));
    this.#active = false;
    this.#maskAll();
    this.#pending.fill(0);
  }

  save(): StateValue {
    return { table: this.#table.slice(), pending: this.#pending.slice() };
  }
  prepareLoad(state: StateValue | undefined): () => void {
    const { table, pending } = fields({
      table: bytes(this.#table.length),
      pending: bytes(this.#pending.length),
    })(state, 'saved MSI-X vectors');
    return () => {
      this.#table.set(table);
      this.#pending.set(pending);
    };
  }

  /** Takes capability and BAR out of the function. */
  close(): void {
    for (const unhook of this.#unhook) unhook();
    this.#fn.unregisterBar(this.#bar);
    this.#fn.removeCapability(CAPABILITY.MSIX, CAPABILITY_SIZE);
  }
}

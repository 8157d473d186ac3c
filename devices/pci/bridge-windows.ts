import { MemoryRegion } from '../core/memory-region.js';
import type { ConfigSpace } from './config-space.js';
import type { PciFunction } from './function.js';
import { BRIDGE, BRIDGE_CONTROL, CONFIG } from './registers.js';

/** What a bridge passes on, ends inclusive; closed while `limit` is below `base`. */
export interface Window {
  readonly base: bigint;
  readonly limit: bigint;
}

const MEMORY_BITS = 0xfff0;
const IO_BITS = 0xf0;
/** Type nibble: the window has upper halves (64-bit prefetchable memory, 32-bit I/O). */
const WIDE = 0x1;
const ADDRESS_SPACE_SIZE = 1n << 64n;
const IO_SPACE_SIZE = 0x10000n;

const memoryWindow = (config: ConfigSpace, base: number, limit: number): Window => ({
  base: BigInt(config.get(base, 2) & MEMORY_BITS) << 16n,
  limit: (BigInt(config.get(limit, 2) & MEMORY_BITS) << 16n) | 0xfffffn,
});

/**
 * The ranges that a type 1 header holds, whether open or not.
 *
 * @see reference/pci-and-memory-devices.md §1.4
 */
export const decodeWindows = (
  config: ConfigSpace,
): { readonly io: Window; readonly memory: Window; readonly prefetch: Window } => {
  const wideIo = (config.get(BRIDGE.IO_BASE, 1) & 0xf) === WIDE;
  const io = (register: number, upper: number): bigint =>
    (BigInt(config.get(register, 1) & IO_BITS) << 8n) |
    (wideIo ? BigInt(config.get(upper, 2)) << 16n : 0n);
  const low = memoryWindow(config, BRIDGE.PREFETCH_BASE, BRIDGE.PREFETCH_LIMIT);
  const wide = (config.get(BRIDGE.PREFETCH_BASE, 2) & 0xf) === WIDE;
  const upper = (register: number): bigint => (wide ? BigInt(config.get(register, 4)) << 32n : 0n);
  return {
    io: {
      base: io(BRIDGE.IO_BASE, BRIDGE.IO_BASE_UPPER),
      limit: io(BRIDGE.IO_LIMIT, BRIDGE.IO_LIMIT_UPPER) | 0xfffn,
    },
    memory: memoryWindow(config, BRIDGE.MEMORY_BASE, BRIDGE.MEMORY_LIMIT),
    prefetch: {
      base: low.base | upper(BRIDGE.PREFETCH_BASE_UPPER),
      limit: low.limit | upper(BRIDGE.PREFETCH_LIMIT_UPPER),
    },
  };
};

/** Mapped piece of the space behind the bridge, with what it was made from. */
interface Mapped {
  readonly space: MemoryRegion;
  readonly alias: MemoryRegion;
  readonly window: Window;
}

export interface BridgeWindowsOptions {
  /** Whether the bus behind is PCI Express: its bridge control and latency differ. */
  readonly express: boolean;
  /** As QEMU's switch ports: base 0 and limit 0 after reset, which is the lowest piece. */
  readonly startsOpen?: boolean;
}

/**
 * Windows, bus numbers and bus reset of a type 1 header: the part that every bridge composes. The
 * secondary bus is made with `memory` and `io` of this part.
 *
 * @see reference/pci-and-memory-devices.md §1.4
 */
export class BridgeWindows {
  /** The spaces behind the bridge. */
  readonly memory: MemoryRegion;
  readonly io: MemoryRegion;
  readonly #fn: PciFunction;
  readonly #express: boolean;
  readonly #startsOpen: boolean;
  /** I/O, memory, prefetchable memory. */
  readonly #mapped: (Mapped | undefined)[] = [];
  readonly #unhook: readonly (() => void)[];
  #inReset = false;

  constructor(fn: PciFunction, options: BridgeWindowsOptions) {
    this.#fn = fn;
    this.#express = options.express;
    this.#startsOpen = options.startsOpen ?? false;
    this.memory = MemoryRegion.container(`${fn.typeName} memory`, ADDRESS_SPACE_SIZE);
    this.io = MemoryRegion.container(`${fn.typeName} io`, IO_SPACE_SIZE);
    this.#initMasks();
    this.#resetRegisters();
    fn.addPart('bridge', {
      reset: () => this.#reset(),
      update: () => this.update(),
      close: () => this.#close(),
    });
    this.#unhook = [
      fn.onConfigWrite((offset, size) => this.#written(offset, size)),
      fn.onLoad(() => this.#loaded()),
    ];
  }

  #initMasks(): void {
    const { config } = this.#fn;
    config.setWritable(BRIDGE.SECONDARY_LATENCY, 1, this.#express ? 0 : 0xff);
    for (const register of [BRIDGE.IO_BASE, BRIDGE.IO_LIMIT])
      config.setWritable(register, 1, IO_BITS);
    for (const register of [
      BRIDGE.MEMORY_BASE,
      BRIDGE.MEMORY_LIMIT,
      BRIDGE.PREFETCH_BASE,
      BRIDGE.PREFETCH_LIMIT,
    ])
      config.setWritable(register, 2, MEMORY_BITS);
    for (const register of [BRIDGE.PREFETCH_BASE_UPPER, BRIDGE.PREFETCH_LIMIT_UPPER])
      config.setWritable(register, 4, 0xffff_ffff);
    const control = this.#express ? BRIDGE_CONTROL.EXPRESS : BRIDGE_CONTROL.CONVENTIONAL;
    config.setWritable(BRIDGE.CONTROL, 2, control);
    if (!this.#express) config.setClearable(BRIDGE.CONTROL, 2, BRIDGE_CONTROL.DISCARD_STATUS);
  }

  #resetRegisters(): void {
    const { config } = this.#fn;
    for (let offset: number = BRIDGE.PRIMARY_BUS; offset < BRIDGE.IO_BASE; offset++)
      config.set(offset, 1, 0);
    config.set(BRIDGE.IO_BASE, 1, this.#startsOpen ? 0 : IO_BITS);
    config.set(BRIDGE.IO_LIMIT, 1, 0);
    const base = this.#startsOpen ? 0 : MEMORY_BITS;
    config.set(BRIDGE.MEMORY_BASE, 2, base);
    config.set(BRIDGE.MEMORY_LIMIT, 2, 0);
    config.set(BRIDGE.PREFETCH_BASE, 2, base | WIDE);
    config.set(BRIDGE.PREFETCH_LIMIT, 2, WIDE);
    config.set(BRIDGE.PREFETCH_BASE_UPPER, 4, 0);
    config.set(BRIDGE.PREFETCH_LIMIT_UPPER, 4, 0);
    config.set(BRIDGE.CONTROL, 2, 0);
  }

  #reset(): void {
    this.#inReset = false;
    this.#resetRegisters();
    this.update();
  }
  #loaded(): void {
    this.#inReset = this.#resetBit;
    this.update();
  }
  #close(): void {
    for (const unhook of this.#unhook) unhook();
    for (const index of [0, 1, 2] as const) this.#unmap(index);
  }

  get #resetBit(): boolean {
    return (this.#fn.config.get(BRIDGE.CONTROL, 2) & BRIDGE_CONTROL.BUS_RESET) !== 0;
  }

  #written(offset: number, size: number): void {
    const touches = (start: number, end: number): boolean => offset < end && start < offset + size;
    if (
      touches(CONFIG.COMMAND, CONFIG.COMMAND + 2) ||
      touches(BRIDGE.IO_BASE, BRIDGE.IO_LIMIT + 1) ||
      touches(BRIDGE.MEMORY_BASE, BRIDGE.IO_LIMIT_UPPER + 2) ||
      touches(BRIDGE.CONTROL, BRIDGE.CONTROL + 2)
    )
      this.update();
    const wasInReset = this.#inReset;
    this.#inReset = this.#resetBit;
    if (this.#inReset && !wasInReset) this.#fn.secondaryBus?.reset('cold');
  }

  /** Opens and closes the windows as registers, command and power say. */
  update(): void {
    const { io, memory } = this.#fn.powered
      ? this.#fn.commandEnabled
      : { io: false, memory: false };
    const bus = this.#fn.bus;
    const windows = decodeWindows(this.#fn.config);
    this.#map(0, io ? bus?.io : undefined, this.io, windows.io);
    this.#map(1, memory ? bus?.memory : undefined, this.memory, windows.memory);
    this.#map(2, memory ? bus?.memory : undefined, this.memory, windows.prefetch);
  }

  #map(
    index: 0 | 1 | 2,
    space: MemoryRegion | undefined,
    behind: MemoryRegion,
    window: Window,
  ): void {
    const open = space !== undefined && window.limit >= window.base;
    const now = this.#mapped[index];
    if (open && now !== undefined && now.space === space) {
      if (now.window.base === window.base && now.window.limit === window.limit) return;
    }
    this.#unmap(index);
    if (!open) return;
    const size = window.limit - window.base + 1n;
    const alias = MemoryRegion.alias(`${behind.name} window`, behind, window.base, size);
    space.add(alias, window.base, 1);
    this.#mapped[index] = { space, alias, window };
  }

  #unmap(index: 0 | 1 | 2): void {
    const now = this.#mapped[index];
    now?.space.remove(now.alias);
    this.#mapped[index] = undefined;
  }
}

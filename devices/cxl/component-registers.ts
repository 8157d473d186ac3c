import { refused } from '../../schema/error.js';
import type { StateValue } from '../core/device.js';
import { fields, list, part } from '../core/saved-state.js';
import { MemoryRegion } from '../core/memory-region.js';
import { HdmDecoders } from './hdm-decoders.js';
import { Ras, RAS_SIZE } from './ras.js';

/** Which component the registers belong to; decides what capabilities it has. */
export type ComponentKind = 'endpoint' | 'root-port' | 'upstream' | 'downstream' | 'host-bridge';

/** Size of the block that a BAR or the host bridge's range holds. CXL 3.1 §8.2.3. */
const BLOCK_SIZE = 0x1_0000n;
/** CXL.cachemem primary range in it. */
const CACHE_MEM = { base: 0x1000n, size: 0x1000n } as const;

/** Capability headers and what they point to. CXL 3.1 §8.2.4.1. */
const HEADER = { RAS: 0x04, LINK: 0x08, HDM: 0x0c, EXTENDED_SECURITY: 0x10, SNOOP: 0x14 } as const;
const RAS_BASE = 0x080;
const HDM_BASE = 0x128;

/** One capability header: id, version, pointer. */
const header = (id: number, version: number, pointer: number): number =>
  (id | (version << 16) | (pointer << 20)) >>> 0;

/** Entries of the capability array that each component announces, as QEMU counts them. */
const ARRAY_SIZE: Readonly<Record<ComponentKind, number>> = {
  endpoint: 3,
  'root-port': 5,
  upstream: 3,
  downstream: 2,
  'host-bridge': 5,
};
const DECODERS = 4;
const DEVICE_TARGETS = 1;
const ROUTER_TARGETS = 8;

export interface ComponentOptions {
  readonly kind: ComponentKind;
  /** A host bridge with one port: everything passes, no decoders. Asked at each access. */
  readonly passThrough?: () => boolean;
}

/**
 * Component registers of a CXL port, device or host bridge: a block of 64 KiB with capability
 * headers, RAS and HDM decoders. Accesses of 32 bits; wider ones read 0 and write nothing.
 *
 * @see reference/cxl.md §3
 */
export class ComponentRegisters {
  readonly kind: ComponentKind;
  readonly region: MemoryRegion;
  /** Undefined for root and downstream ports. */
  readonly decoders: HdmDecoders | undefined;
  readonly ras: Ras | undefined;
  readonly #passThrough: () => boolean;
  readonly #headers = new Map<number, number>();

  constructor({ kind, passThrough = () => false }: ComponentOptions) {
    this.kind = kind;
    this.#passThrough = passThrough;
    this.decoders = decodersOf(kind);
    this.ras = kind === 'host-bridge' ? undefined : new Ras({ hasErrors: kind === 'endpoint' });
    this.#announce();
    this.region = MemoryRegion.container('component-registers', BLOCK_SIZE);
    const rules = { valid: { min: 4, max: 8 }, impl: { min: 4, max: 8 } } as const;
    const ops = {
      read: (offset: number, size: number) => (size === 4 ? BigInt(this.read(offset)) : 0n),
      write: (offset: number, size: number, value: bigint) => {
        if (size === 4) this.write(offset, Number(value));
      },
    };
    const cacheMem = MemoryRegion.mmio('cache-mem', CACHE_MEM.size, ops, rules);
    this.region.add(cacheMem, CACHE_MEM.base);
  }

  #announce(): void {
    const array = ARRAY_SIZE[this.kind];
    this.#headers.set(0, header(1, 1, (array << 4) | 1));
    if (this.ras !== undefined) this.#headers.set(HEADER.RAS, header(2, 3, RAS_BASE));
    this.#headers.set(HEADER.LINK, header(4, 2, 0x0d8));
    if (this.decoders !== undefined) this.#headers.set(HEADER.HDM, header(5, 3, HDM_BASE));
    if (array < 5) return;
    this.#headers.set(HEADER.EXTENDED_SECURITY, header(6, 1, 0x278));
    this.#headers.set(HEADER.SNOOP, header(8, 1, 0xaa0));
  }

  /** The decoders of a component that must have some. */
  get requiredDecoders(): HdmDecoders {
    if (this.decoders === undefined) throw new Error(`a ${this.kind} has no HDM decoders`);
    return this.decoders;
  }

  /** @param offset a multiple of 4 from the start of the CXL.cachemem registers */
  read(offset: number): number {
    const found = this.#headers.get(offset);
    if (found !== undefined) {
      const hidden = offset === HEADER.HDM && this.#passThrough();
      return hidden ? (found & ~0xffff) >>> 0 : found;
    }
    if (offset >= RAS_BASE && offset < RAS_BASE + RAS_SIZE)
      return (this.ras?.read(offset - RAS_BASE) ?? 0) >>> 0;
    const { decoders } = this;
    if (decoders === undefined || offset < HDM_BASE || offset >= HDM_BASE + decoders.size) return 0;
    const value = decoders.read(offset - HDM_BASE);
    return (offset === HDM_BASE && this.#passThrough() ? withOneTarget(value) : value) >>> 0;
  }

  write(offset: number, value: number): void {
    if (offset >= RAS_BASE && offset < RAS_BASE + RAS_SIZE)
      this.ras?.write(offset - RAS_BASE, value);
    else if (offset >= HDM_BASE) this.decoders?.write(offset - HDM_BASE, value);
  }

  reset(): void {
    this.ras?.reset();
    this.decoders?.reset();
  }

  save(): StateValue {
    return {
      decoders: this.decoders === undefined ? [] : [[...this.decoders.words]],
      ras: this.ras === undefined ? [] : [this.ras.save()],
    };
  }

  /**
   * Checks a saved state.
   *
   * @returns what applies it
   * @throws QmpError when it is not of such a component
   */
  prepareLoad(state: StateValue | undefined): () => void {
    const { decoders, ras } = savedComponent(state, 'saved component registers');
    const has = (part: object | undefined, saved: readonly unknown[]): boolean =>
      saved.length === (part === undefined ? 0 : 1);
    if (!has(this.decoders, decoders) || !has(this.ras, ras))
      throw refused(`saved component registers are not those of a ${this.kind}`);
    const apply = [
      ...decoders.map((words) => this.decoders?.prepareLoad(words)),
      ...ras.map((errors) => this.ras?.prepareLoad(errors)),
    ];
    return () => {
      for (const run of apply) run?.();
    };
  }
}

/** As QEMU: a bridge that passes everything announces one target instead of eight. */
const withOneTarget = (capability: number): number => (capability & ~0xf0) | (DEVICE_TARGETS << 4);

const decodersOf = (kind: ComponentKind): HdmDecoders | undefined => {
  if (kind === 'root-port' || kind === 'downstream') return undefined;
  const device = kind === 'endpoint';
  return new HdmDecoders({
    role: device ? 'device' : 'router',
    decoders: DECODERS,
    targetCount: device ? DEVICE_TARGETS : ROUTER_TARGETS,
  });
};

const savedComponent = fields({ decoders: list(part, 1), ras: list(part, 1) });

import { MemoryRegion } from '../core/memory-region.js';
import type { PciFunction } from '../pci/function.js';
import { NO_VECTOR } from '../virtio/registers.js';
import type { Transport } from '../virtio/transport.js';
import { BAR, LEGACY, LEGACY_CONFIG } from './registers.js';
import type { SharedRegion } from './regions.js';

const SATURATED = 0xffff_ffffn;
const LAST_REGION = 15;

export interface LegacyOptions {
  readonly fn: PciFunction;
  readonly transport: Transport;
  readonly regions: readonly SharedRegion[];
  /** The device configuration begins behind the vectors, if there are any. */
  readonly vectors: number;
}

/**
 * The register layout of the 2010 proposal. Where it has 32 bits and the value more, it reads all
 * ones, and the device configuration tells the value in 64 bits.
 *
 * @see reference/pci-and-memory-devices.md §9.6
 */
export class LegacyRegisters {
  /** Number of the region that MEM_SIZE and MEM_PFN tell of. */
  selected = 0;
  readonly region: MemoryRegion;
  readonly #options: LegacyOptions;
  readonly #config: number;

  constructor(options: LegacyOptions) {
    this.#options = options;
    this.#config = options.vectors > 0 ? LEGACY.QUEUE_VECTOR + 2 : LEGACY.CONFIG_VECTOR;
    this.region = MemoryRegion.mmio(
      'virtio-shmem legacy',
      LEGACY.SIZE,
      {
        read: (offset, size) => this.#read(offset, size),
        write: (offset, _size, value) => this.#write(offset, value),
      },
      { impl: { min: 1, max: 4 } },
    );
  }

  get #region(): SharedRegion | undefined {
    return this.#options.regions.find(({ number }) => number === this.selected);
  }
  get #size(): bigint {
    return this.#region?.size ?? 0n;
  }
  /** Guest-physical; 0 while the BAR decodes nothing, or without such a region. */
  get #address(): bigint {
    const bar = this.#options.fn.bars.find(({ index }) => index === BAR.MEMORY);
    const region = this.#region;
    if (bar === undefined || bar.address < 0n || region === undefined) return 0n;
    return bar.address + region.offset;
  }

  #read(offset: number, size: number): bigint {
    const { transport, vectors } = this.#options;
    if (offset >= this.#config) return this.#readConfig(offset - this.#config, size);
    switch (offset) {
      case LEGACY.DEVICE_FEATURES:
        return transport.offered & SATURATED;
      case LEGACY.DRIVER_FEATURES:
        return transport.driverFeatures & SATURATED;
      case LEGACY.STATUS:
        return BigInt(transport.status);
      case LEGACY.MEM_SEL:
        return BigInt(this.selected);
      case LEGACY.MEM_SIZE:
        return saturate(this.#size);
      case LEGACY.MEM_PFN:
        return saturate(this.#address);
      case LEGACY.CONFIG_VECTOR:
        return BigInt(transport.configVector);
      case LEGACY.QUEUE_VECTOR:
        return vectors > 0 ? BigInt(NO_VECTOR) : 0n;
      default:
        return 0n;
    }
  }

  #readConfig(offset: number, size: number): bigint {
    const bytes = new DataView(new ArrayBuffer(32));
    bytes.setBigUint64(LEGACY_CONFIG.SIZE, this.#size, true);
    bytes.setBigUint64(LEGACY_CONFIG.ADDRESS, this.#address, true);
    if (offset > 16) return 0n;
    return BigInt.asUintN(8 * size, bytes.getBigUint64(offset, true));
  }

  #write(offset: number, value: bigint): void {
    const { transport } = this.#options;
    if (offset === LEGACY.DRIVER_FEATURES) transport.setDriverFeatures(0, value);
    else if (offset === LEGACY.STATUS) transport.setStatus(Number(value & 0xffn));
    else if (offset === LEGACY.MEM_SEL && (value & 0xffffn) <= LAST_REGION)
      this.selected = Number(value & 0xffffn);
    else if (offset === LEGACY.CONFIG_VECTOR && this.#config > offset)
      transport.setConfigVector(Number(value & 0xffffn));
  }
}

const saturate = (value: bigint): bigint => (value > SATURATED ? SATURATED : value);

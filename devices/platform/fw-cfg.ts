import type { DeviceState } from '../core/device.js';
import { MemoryRegion } from '../core/memory-region.js';
import { savedNumber } from './saved-numbers.js';

/** Selector register; the data register is the port above it. */
export const FW_CFG_PORT = 0x510n;

/** Keys of what is offered. QEMU docs/specs/fw_cfg, "Selector (Control) Register". */
const KEY = {
  SIGNATURE: 0x00,
  /** Bit 0: the ports; bit 1, the DMA interface, is not there. */
  ID: 0x01,
  RAM_SIZE: 0x03,
  CPU_COUNT: 0x05,
  CPU_LIMIT: 0x0f,
  FILE_DIRECTORY: 0x19,
} as const;
const ID_PORTS = 1;
/** Bit 14 once asked for writing; it selects the same item. */
const KEY_MASK = 0xbfff;

const littleEndian = (value: bigint, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, at) => Number((value >> BigInt(8 * at)) & 0xffn));

/**
 * The firmware configuration device of pc and q35: small items that firmware and test libraries
 * read byte by byte. It has no files, as there is no firmware.
 *
 * @see reference/pci-and-memory-devices.md §10.4
 */
export class FwCfg {
  /** The two ports. */
  readonly region: MemoryRegion;
  readonly #items: ReadonlyMap<number, Uint8Array>;
  #key = 0;
  #selected: Uint8Array | undefined;
  /** Next byte of the selected item. */
  #at = 0;

  /** @param ramSize bytes of guest memory */
  constructor(ramSize: bigint) {
    this.#items = new Map([
      [KEY.SIGNATURE, new TextEncoder().encode('QEMU')],
      [KEY.ID, littleEndian(BigInt(ID_PORTS), 4)],
      [KEY.RAM_SIZE, littleEndian(ramSize, 8)],
      [KEY.CPU_COUNT, littleEndian(1n, 2)],
      [KEY.CPU_LIMIT, littleEndian(1n, 2)],
      [KEY.FILE_DIRECTORY, littleEndian(0n, 4)],
    ]);
    this.region = MemoryRegion.mmio('fwcfg', 2n, {
      read: (_port, size) => (size === 1 ? BigInt(this.#next()) : 0n),
      write: (_port, size, value) => {
        if (size === 2) this.#select(Number(value));
      },
    });
    this.reset();
  }

  reset(): void {
    this.#select(KEY.SIGNATURE);
  }

  save(): DeviceState {
    return { key: this.#key, at: this.#at };
  }
  /** Checks a saved state and returns what applies it. @throws QmpError when it does not fit */
  prepareLoad(state: DeviceState): () => void {
    const key = savedNumber(state, 'key', 0xffff);
    const at = savedNumber(state, 'at', Number.MAX_SAFE_INTEGER);
    return () => {
      this.#select(key);
      this.#at = at;
    };
  }

  /** A key that nothing has selects nothing, which reads 0. */
  #select(key: number): void {
    this.#key = key;
    this.#selected = this.#items.get(key & KEY_MASK);
    this.#at = 0;
  }

  #next(): number {
    return this.#selected?.[this.#at++] ?? 0;
  }
}

import { CAPABILITY, CONFIG, STATUS } from './registers.js';

export type ConfigAccessSize = 1 | 2 | 4;

const view = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const put = (bytes: Uint8Array, offset: number, size: ConfigAccessSize, value: number): void => {
  for (let i = 0; i < size; i++) bytes[offset + i] = (value >> (8 * i)) & 0xff;
};

/** All-ones of a width: what a read of nothing gives. */
export const allOnes = (size: ConfigAccessSize): number => 2 ** (8 * size) - 1;

const align4 = (value: number): number => Math.ceil(value / 4) * 4;

const EXTENDED_START = 0x100;

/**
 * The bytes of one function's configuration space with a mask of what software may write and one
 * of what a written 1 clears.
 *
 * @see reference/pci-and-memory-devices.md §1.2
 */
export class ConfigSpace {
  readonly size: 256 | 4096;
  readonly bytes: Uint8Array;
  /** Bits that a write stores. */
  readonly wmask: Uint8Array;
  /** Bits that a written 1 clears; never a bit of `wmask`. */
  readonly w1cmask: Uint8Array;
  readonly #view: DataView;
  /** Bytes that a capability owns. */
  readonly #owned: Uint8Array;

  constructor(express: boolean) {
    this.size = express ? 4096 : 256;
    this.bytes = new Uint8Array(this.size);
    this.wmask = new Uint8Array(this.size);
    this.w1cmask = new Uint8Array(this.size);
    this.#owned = new Uint8Array(this.size);
    this.#view = view(this.bytes);
    this.wmask.fill(0xff, CONFIG.HEADER_END);
  }

  get(offset: number, size: ConfigAccessSize): number {
    if (size === 1) return this.#view.getUint8(offset);
    if (size === 2) return this.#view.getUint16(offset, true);
    return this.#view.getUint32(offset, true);
  }
  get64(offset: number): bigint {
    return this.#view.getBigUint64(offset, true);
  }

  /** Stores as the device itself does, whatever the masks say. */
  set(offset: number, size: ConfigAccessSize, value: number): void {
    put(this.bytes, offset, size, value);
  }
  set64(offset: number, value: bigint): void {
    this.#view.setBigUint64(offset, value, true);
  }

  /** Makes exactly the bits of `mask` writable. */
  setWritable(offset: number, size: ConfigAccessSize, mask: number): void {
    put(this.wmask, offset, size, mask);
  }
  setWritable64(offset: number, mask: bigint): void {
    view(this.wmask).setBigUint64(offset, mask, true);
  }
  /** Makes exactly the bits of `mask` clear when a 1 is written. */
  setClearable(offset: number, size: ConfigAccessSize, mask: number): void {
    put(this.w1cmask, offset, size, mask);
  }

  /** A write by software; bytes beyond the end are dropped. */
  write(offset: number, size: ConfigAccessSize, value: number): void {
    for (let i = 0; i < size && offset + i < this.size; i++)
      this.#writeByte(offset + i, (value >> (8 * i)) & 0xff);
  }

  #writeByte(at: number, value: number): void {
    const wmask = this.wmask[at] ?? 0;
    const stored = ((this.bytes[at] ?? 0) & ~wmask) | (value & wmask);
    this.bytes[at] = stored & ~(value & (this.w1cmask[at] ?? 0));
  }

  /** Offset of the first capability of `id`. */
  findCapability(id: number): number | undefined {
    return this.#capabilities().find((at) => this.bytes[at] === id);
  }

  /** Offsets of the standard capabilities in list order. */
  #capabilities(): number[] {
    const found: number[] = [];
    let at = this.bytes[CONFIG.CAPABILITIES] ?? 0;
    while (at >= CONFIG.HEADER_END && found.length < 48) {
      found.push(at);
      at = this.bytes[at + 1] ?? 0;
    }
    return found;
  }

  /**
   * Puts a capability of `size` bytes, read-only so far, at the head of the list.
   *
   * @param at the first free run from 0x40 on by default
   * @returns its offset
   * @throws RangeError when there is no room for it
   */
  addCapability(id: number, size: number, at = this.#freeRun(size)): number {
    const { bytes } = this;
    if (at < CONFIG.HEADER_END || this.#isOwned(at, size) || at + size > EXTENDED_START)
      throw new RangeError(`no room for capability ${String(id)} at offset ${String(at)}`);
    this.#own(at, size);
    bytes[at] = id;
    bytes[at + 1] = bytes[CONFIG.CAPABILITIES] ?? 0;
    bytes[CONFIG.CAPABILITIES] = at;
    this.set(CONFIG.STATUS, 2, this.get(CONFIG.STATUS, 2) | STATUS.CAPABILITY_LIST);
    return at;
  }

  /** Takes the capability out of the list; its bytes are plain storage again. */
  removeCapability(id: number, size: number): void {
    const list = this.#capabilities();
    const index = list.findIndex((at) => this.bytes[at] === id);
    const at = list[index];
    if (at === undefined) return;
    const before = list[index - 1];
    this.bytes[before === undefined ? CONFIG.CAPABILITIES : before + 1] = this.bytes[at + 1] ?? 0;
    const end = at + size;
    this.bytes.fill(0, at, end);
    this.wmask.fill(0xff, at, end);
    this.w1cmask.fill(0, at, end);
    this.#owned.fill(0, at, align4(end));
    if (list.length === 1)
      this.set(CONFIG.STATUS, 2, this.get(CONFIG.STATUS, 2) & ~STATUS.CAPABILITY_LIST);
  }

  /**
   * Appends an extended capability; the first one must lie at 0x100.
   *
   * @param at behind the last one by default
   * @throws RangeError when there is no room for it
   */
  addExtendedCapability(id: number, version: number, size: number, at?: number): number {
    const last = this.#lastExtended();
    const offset = at ?? this.#extendedEnd();
    if (offset % 4 !== 0 || offset + size > this.size || this.#isOwned(offset, size))
      throw new RangeError(`no room for extended capability ${String(id)}`);
    if (last === undefined && offset !== EXTENDED_START)
      throw new RangeError('the first extended capability must be at 0x100');
    this.#own(offset, size);
    this.set(offset, 4, id | (version << 16));
    if (last !== undefined) this.set(last + 2, 2, (this.get(last + 2, 2) & 0xf) | (offset << 4));
    return offset;
  }

  findExtendedCapability(id: number): number | undefined {
    return this.extendedCapabilities().find((at) => this.get(at, 2) === id);
  }

  /** Offsets of the extended capabilities in list order. */
  extendedCapabilities(): number[] {
    if (this.size === 256 || this.get(EXTENDED_START, 4) === 0) return [];
    if (this.#owned[EXTENDED_START] === 0) return [];
    const found: number[] = [];
    for (let at = EXTENDED_START; at !== 0 && found.length < 960;) {
      found.push(at);
      at = (this.get(at + 2, 2) >> 4) & 0xffc;
    }
    return found;
  }

  #lastExtended(): number | undefined {
    return this.extendedCapabilities().at(-1);
  }
  #extendedEnd(): number {
    let end = this.size;
    while (end > EXTENDED_START && this.#owned[end - 1] === 0) end--;
    return Math.max(align4(end), EXTENDED_START);
  }

  #own(at: number, size: number): void {
    this.bytes.fill(0, at, at + size);
    this.wmask.fill(0, at, at + size);
    this.w1cmask.fill(0, at, at + size);
    this.#owned.fill(1, at, align4(at + size));
  }
  #isOwned(at: number, size: number): boolean {
    return this.#owned.subarray(at, at + size).some((byte) => byte !== 0);
  }
  #freeRun(size: number): number {
    for (let at: number = CONFIG.HEADER_END; at + size <= EXTENDED_START; at++)
      if (!this.#isOwned(at, size)) return at;
    throw new RangeError(`no room for a capability of ${String(size)} bytes`);
  }

  /** True when `bytes` are a saved space of such a function: same identity, same capabilities. */
  fits(bytes: Uint8Array): boolean {
    const heads = [...this.#capabilities(), ...this.extendedCapabilities()];
    const fixed = (from: number, to: number): boolean =>
      this.bytes.subarray(from, to).every((byte, i) => byte === bytes[from + i]);
    return (
      bytes.length === this.size &&
      fixed(CONFIG.VENDOR_ID, CONFIG.COMMAND) &&
      fixed(CONFIG.REVISION, CONFIG.CACHE_LINE_SIZE) &&
      fixed(CONFIG.HEADER_TYPE, CONFIG.HEADER_TYPE + 1) &&
      fixed(CONFIG.CAPABILITIES, CONFIG.CAPABILITIES + 1) &&
      heads.every((at) => fixed(at, at < EXTENDED_START ? at + 2 : at + 4))
    );
  }

  /** Type of the PCI Express capability; undefined without one. */
  get portType(): number | undefined {
    const at = this.findCapability(CAPABILITY.EXPRESS);
    return at === undefined ? undefined : (this.get(at + 2, 2) >> 4) & 0xf;
  }
}

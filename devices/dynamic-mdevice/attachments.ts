import { MemoryRegion } from '../core/memory-region.js';
import type { Backing, Piece } from './backing.js';

export interface Place {
  /** First byte in BAR2. */
  readonly barOffset: bigint;
  /** First byte of the host object. */
  readonly offset: bigint;
  readonly size: bigint;
}
interface Attachment extends Place {
  readonly region: MemoryRegion;
  readonly piece: Piece;
}

const end = ({ barOffset, size }: Place): bigint => barOffset + size;

/** Host memory in BAR2: attachments that never overlap, in the order they were made. */
export class Attachments {
  readonly #container: MemoryRegion;
  #list: readonly Attachment[] = [];

  /** @param container BAR2 without its background */
  constructor(container: MemoryRegion) {
    this.#container = container;
  }

  get places(): readonly Place[] {
    return this.#list.map(({ barOffset, offset, size }) => ({ barOffset, offset, size }));
  }
  get count(): number {
    return this.#list.length;
  }
  /** Where the highest one ends; 0 without any. */
  get highestEnd(): bigint {
    return this.#list.reduce((high, place) => (end(place) > high ? end(place) : high), 0n);
  }

  /** `wanted` when there is room, else the lowest gap; undefined when nothing fits. Defects 12, 37 */
  findRoom(size: bigint, wanted: bigint): bigint | undefined {
    const starts = [wanted, 0n, ...this.#list.map(end).sort((a, b) => (a < b ? -1 : 1))];
    return starts.find((barOffset) => this.#isFree({ barOffset, offset: 0n, size }));
  }

  /** Maps and shows host memory. @throws HostError and changes nothing */
  add(place: Place, backing: Backing): void {
    if (!this.#isFree(place)) throw new RangeError('attachments would overlap');
    const piece = backing.piece(place);
    const region = MemoryRegion.ram('dynamic-mdevice attachment', { memory: piece.memory });
    this.#container.add(region, place.barOffset);
    this.#list = [...this.#list, { ...place, region, piece }];
  }

  /** The one made last of those that match. */
  findLast(offset: bigint, size: bigint): Place | undefined {
    return this.#list.findLast((place) => place.offset === offset && place.size === size);
  }

  /** Takes these out of the memory map first, then gives the host's mappings back. Defect 17 */
  remove(places: readonly Place[]): void {
    const gone = this.#list.filter((one) =>
      places.some(({ barOffset }) => barOffset === one.barOffset),
    );
    this.#list = this.#list.filter((one) => !gone.includes(one));
    for (const { region } of gone) this.#container.remove(region);
    for (const { piece } of gone) piece.close();
  }

  /** Writes what the guest side wrote back to the host object. @throws HostError */
  async flush(): Promise<void> {
    await Promise.all(this.#list.map(({ piece }) => piece.flush()));
  }

  #isFree(place: Place): boolean {
    if (end(place) > this.#container.size) return false;
    return this.#list.every(
      (other) => end(other) <= place.barOffset || end(place) <= other.barOffset,
    );
  }
}

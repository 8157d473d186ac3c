import { QmpError, refused } from '../../schema/error.js';
import type { HostMemory } from '../core/host-memory.js';
import type { OwnMemories } from '../core/own-memory.js';
import type { MemdevBackend } from '../core/memdev.js';
import { CAPACITY_UNIT } from './addresses.js';
import { Media } from './media.js';
import { MAX_REGIONS } from './regions.js';
import type { Type3Properties } from './type3-properties.js';

type Backends = Pick<
  Type3Properties,
  | 'volatile-memdev'
  | 'persistent-memdev'
  | 'memdev'
  | 'lsa'
  | 'num-dc-regions'
  | 'volatile-dc-memdev'
>;
const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** What a device does with the memory that it takes. */
export interface Type3Owner {
  readonly path: string;
  readonly memories: OwnMemories;
  /** The dynamic capacity belongs to a pool: it stays where it is when the device moves. */
  readonly sharesDynamic: boolean;
}

/** Names of a device's own memory. */
const NAMES = ['volatile', 'persistent', 'dynamic', 'lsa'] as const;
type Name = (typeof NAMES)[number];

/**
 * The backends of a memory device, taken for it.
 *
 * @see reference/cxl.md §1.6
 */
export class Type3Backends {
  readonly media: Media;
  readonly labels: HostMemory | undefined;
  readonly #owner: Type3Owner;
  readonly #claimed: MemdevBackend[] = [];

  /** @throws QmpError with the texts of §1.6 in their order; nothing stays taken */
  constructor(owner: Type3Owner, given: Backends) {
    this.#owner = owner;
    const stored = checkStatic(given);
    try {
      const volatile = this.#claim('volatile', given['volatile-memdev'], 'volatile memdev');
      const persistent = this.#claim('persistent', stored, 'persistent memdev');
      const dynamic = this.#claimDynamic(given);
      this.labels = this.#claim('lsa', given.lsa, 'lsa');
      this.media = new Media({ volatile, persistent, dynamic });
      checkRegions(this.media, given['num-dc-regions']);
    } catch (error) {
      this.release();
      throw error;
    }
  }

  #claimDynamic(given: Backends): HostMemory | undefined {
    const count = given['num-dc-regions'];
    if (count === 0) return undefined;
    if (count > MAX_REGIONS)
      throw refused(`num-dc-regions must be ${String(MAX_REGIONS)} at most, not ${String(count)}`);
    const backend = given['volatile-dc-memdev'];
    if (backend === undefined) throw refused('dynamic capacity must have a backing device');
    return this.#claim('dynamic', backend, 'dynamic capacity');
  }

  #claim(name: Name, backend: MemdevBackend | undefined, what: string): HostMemory | undefined {
    if (backend === undefined) return undefined;
    const { path, memories, sharesDynamic } = this.#owner;
    try {
      backend.claim(path);
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      throw refused(`memory backend ${backend.id} can't be used multiple times.`, error);
    }
    this.#claimed.push(backend);
    if (backend.memory.size === 0n) throw refused(`${what} must have backing device`);
    const isShared = name === 'dynamic' && sharesDynamic && backend.isNamed;
    return isShared ? memories.borrow(name, backend.memory) : memories.add(name, backend.memory);
  }

  /** Gives the backends back; safe to call twice. */
  release(): void {
    for (const name of NAMES) this.#owner.memories.remove(name);
    for (const backend of this.#claimed.splice(0)) backend.release();
  }
}

/** Rules 1 to 3; returns the backend of the persistent capacity. @throws QmpError */
const checkStatic = (given: Backends): MemdevBackend | undefined => {
  const { memdev, lsa } = given;
  const persistent = given['persistent-memdev'];
  const some = memdev ?? persistent ?? given['volatile-memdev'];
  if (some === undefined && given['num-dc-regions'] === 0)
    throw refused('at least one memdev property must be set');
  if (memdev !== undefined && persistent !== undefined)
    throw refused('[memdev] cannot be used with new [persistent-memdev] property');
  const stored = memdev ?? persistent;
  if (stored !== undefined && lsa === undefined)
    throw refused('lsa property must be set for persistent devices');
  return stored;
};

/** Rules 7 to 9. @throws QmpError */
const checkRegions = ({ dynamicSize, staticSize }: Media, count: number): void => {
  if (count === 0) return;
  const regions = BigInt(count);
  if (dynamicSize % (regions * CAPACITY_UNIT) !== 0n) {
    const length = (dynamicSize + regions - 1n) / regions;
    throw refused(`backend size is not multiple of region len: ${hex(length)}`);
  }
  if (staticSize % CAPACITY_UNIT !== 0n)
    throw refused(`DC region base not aligned to ${hex(CAPACITY_UNIT)}`);
};

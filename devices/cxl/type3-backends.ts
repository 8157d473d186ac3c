import { QmpError, refused } from '../../schema/error.js';
import type { HostMemory } from '../core/host-memory.js';
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

/**
 * The backends of a memory device, taken for it.
 *
 * @see reference/cxl.md §1.6
 */
export class Type3Backends {
  readonly media: Media;
  readonly labels: HostMemory | undefined;
  readonly #claimed: MemdevBackend[] = [];

  /** @throws QmpError with the texts of §1.6 in their order; nothing stays taken */
  constructor(owner: string, given: Backends) {
    const persistent = checkStatic(given);
    try {
      const volatile = this.#claim(owner, given['volatile-memdev'], 'volatile memdev');
      const stored = this.#claim(owner, persistent, 'persistent memdev');
      const dynamic = this.#claimDynamic(owner, given);
      this.labels = this.#claim(owner, given.lsa, 'lsa');
      this.media = new Media({ volatile, persistent: stored, dynamic });
      checkRegions(this.media, given['num-dc-regions']);
    } catch (error) {
      this.release();
      throw error;
    }
  }

  #claimDynamic(owner: string, given: Backends): HostMemory | undefined {
    const count = given['num-dc-regions'];
    if (count === 0) return undefined;
    if (count > MAX_REGIONS)
      throw refused(`num-dc-regions must be ${String(MAX_REGIONS)} at most, not ${String(count)}`);
    const backend = given['volatile-dc-memdev'];
    if (backend === undefined) throw refused('dynamic capacity must have a backing device');
    return this.#claim(owner, backend, 'dynamic capacity');
  }

  #claim(owner: string, backend: MemdevBackend | undefined, what: string): HostMemory | undefined {
    if (backend === undefined) return undefined;
    try {
      backend.claim(owner);
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      throw refused(`memory backend ${backend.id} can't be used multiple times.`, error);
    }
    this.#claimed.push(backend);
    if (backend.memory.size === 0n) throw refused(`${what} must have backing device`);
    return backend.memory;
  }

  /** Gives the backends back; safe to call twice. */
  release(): void {
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

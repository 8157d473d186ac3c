import type { HostMemory } from './host-memory.js';

/** A memory backend as the device that uses it sees it (property type `link<memory-backend>`). */
export interface MemdevBackend {
  /** The user's id; names the backend in error texts. */
  readonly id: string;
  readonly memory: HostMemory;
  /** Whether others can map the same bytes by a name: those of a file that is shared. */
  readonly isNamed: boolean;
  /** Whether somebody has claimed it. */
  readonly inUse: boolean;
  /**
   * Takes the backend for `owner` (a device's QOM path); one owner at a time.
   *
   * @throws QmpError `can't use already busy memdev: ID`
   */
  claim(owner: string): void;
  /** Gives it back; safe when nobody holds it. */
  release(): void;
  /** Writes shared memory back to its file. @throws HostError; see HostMapping.flush */
  flush(): Promise<void>;
}

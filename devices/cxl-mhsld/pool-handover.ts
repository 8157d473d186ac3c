import { QmpError, refused } from '../../schema/error.js';
import type { DeviceState, Log } from '../core/device.js';
import type { Handover } from '../core/handover.js';
import type { Type3State } from '../cxl/type3-state.js';
import { HEADS } from './layout.js';
import type { Pool } from './pool.js';

/** Each one waits as long as a lock is waited for. */
const TAKE_BACK_TRIES = 5;

/** A head while it is attached. */
export interface AttachedHead {
  readonly pool: Pool;
  readonly state: Type3State;
}

/**
 * A head that migrates: its blocks go to the head of the destination, or stay with its number.
 *
 * @see docs/cxl-pools.md
 */
export class PoolHandover implements Handover {
  readonly #head: () => AttachedHead;
  readonly #log: Log;

  /** @param head throws when it is not attached */
  constructor(head: () => AttachedHead, log: Log) {
    this.#head = head;
    this.#log = log;
  }

  offer(): DeviceState {
    const { pool } = this.#head();
    if (pool.isWaiting)
      throw refused(`head ${String(pool.head)} of mhsld state '${pool.name}' is in use`);
    return { pool: pool.name, head: pool.head, blocks: pool.blocks };
  }

  expect({ pool: name, head, blocks }: DeviceState): void {
    const { pool } = this.#head();
    if (name !== pool.name)
      throw refused(`a head of mhsld state '${String(name)}' cannot move to '${pool.name}'`);
    if (typeof head !== 'number' || !Number.isInteger(head) || head < 0 || head >= HEADS)
      throw refused(`mhsld state '${name}' has no head ${String(head)}`);
    if (blocks !== pool.blocks)
      throw refused(
        `mhsld state '${name}' has ${String(pool.blocks)} blocks, not ${String(blocks)}`,
      );
    pool.move.expect(head);
  }

  give(): void {
    this.#head().pool.move.give();
  }
  take(): void {
    this.#head().pool.move.take();
  }

  takeBack(): boolean {
    const { move } = this.#head().pool;
    for (let tries = 0; tries < TAKE_BACK_TRIES; tries++) {
      const result = this.#try(() => move.takeBack());
      if (result !== undefined) return result;
    }
    // Whose it is cannot be told; two machines that both go on would be worse than none.
    this.#log.error({}, 'blocks that were given to another head stay there');
    return false;
  }

  abandon(): void {
    const { move } = this.#head().pool;
    if (!move.isExpecting) return;
    this.#try(() => move.abandon());
    this.#forget();
  }

  letGo(): void {
    this.#try(() => this.#head().pool.move.letGo());
    this.#forget();
  }

  /** Undefined, and told, when the state of the pool is kept locked or damaged. */
  #try<T>(run: () => T): T | undefined {
    try {
      return run();
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      this.#log.warn({ err: error }, 'what the pool says of a migration stays as it is');
      return undefined;
    }
  }

  /** The lists and offers are those of another device now. */
  #forget(): void {
    const { manager, logs } = this.#head().state;
    manager?.capacity.forget();
    logs.forgetGroups();
  }
}

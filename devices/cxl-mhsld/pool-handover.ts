import { QmpError, refused } from '../../schema/error.js';
import type { DeviceState, Log } from '../core/device.js';
import type { Handover } from '../core/handover.js';
import type { Type3State } from '../cxl/type3-state.js';
import { HEADS } from './layout.js';
import type { Pool } from './pool.js';

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
    return this.#head().pool.move.takeBack();
  }

  abandon(): void {
    const { pool } = this.#head();
    if (!pool.move.isExpecting) return;
    try {
      pool.move.abandon();
    } finally {
      this.#forget();
    }
  }

  letGo(): void {
    try {
      this.#head().pool.move.letGo();
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      this.#log.warn({ err: error }, 'blocks migrated, and the pool still tells so');
    }
    this.#forget();
  }

  /** The lists and offers are those of another device now. */
  #forget(): void {
    const { manager, logs } = this.#head().state;
    manager?.capacity.forget();
    logs.forgetGroups();
  }
}

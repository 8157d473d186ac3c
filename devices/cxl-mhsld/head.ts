import { refused } from '../../schema/error.js';
import type { DeviceContext } from '../core/device.js';
import type { CapacityOwnership } from '../cxl/capacity-ownership.js';
import type { Media } from '../cxl/media.js';
import type { Type3State } from '../cxl/type3-state.js';
import { Type3 } from '../cxl/type3.js';
import { Offer } from '../pci/offers.js';
import { multiHeadedInfo } from './commands.js';
import { BLOCK_SIZE, HEADS } from './layout.js';
import { PoolOwnership } from './ownership.js';
import { Pool } from './pool.js';
import { PoolHandover, type AttachedHead } from './pool-handover.js';
import type { MhsldProperties } from './properties.js';

/** Finds the heads of pools among devices. */
export const POOL_HEAD = new Offer<Head>('head of a CXL pool');

const MAX_NAME = 255;

/** @throws QmpError when it cannot be the name of a shared memory object */
const checkName = (name: string | undefined): string => {
  if (name === undefined || name === '') throw refused('mhd-state_file property not set');
  const bad = name.includes('/') || name.includes('\0') || name === '.' || name === '..';
  if (bad) throw refused(`mhd-state_file '${name}' must be a name without a slash`);
  if (Buffer.byteLength(name) > MAX_NAME)
    throw refused(`mhd-state_file must have ${String(MAX_NAME)} bytes at most`);
  return name;
};

/** The part of a head that a memory device of one host does not have: its place in a pool. */
export class Head {
  /** How it migrates. */
  readonly handover: PoolHandover;
  readonly #context: DeviceContext;
  readonly #properties: MhsldProperties;
  #pool: Pool | undefined;
  #ownership: PoolOwnership | undefined;
  #state: Type3State | undefined;
  /** Once it has what it adopts, the head gives it back when it goes; not before. */
  #settled = false;

  constructor(context: DeviceContext, properties: MhsldProperties) {
    this.#context = context;
    this.#properties = properties;
    this.handover = new PoolHandover(() => this.#attachedHead(), context.log);
  }

  /** Whether the device is realized: only then there are pool and ownership. */
  get attached(): boolean {
    return this.#pool !== undefined;
  }
  /** @throws Error when the device is not realized */
  get pool(): Pool {
    if (this.#pool === undefined) throw new Error('head that is not realized');
    return this.#pool;
  }
  /** @throws Error when the device is not realized */
  get ownership(): PoolOwnership {
    if (this.#ownership === undefined) throw new Error('head that is not realized');
    return this.#ownership;
  }

  /**
   * Attaches to the pool.
   *
   * @throws QmpError with the texts of reference/cxl.md §9.3, and our own
   */
  attach(media: Media): CapacityOwnership {
    const properties = this.#properties;
    if (media.dynamicSize === 0n) throw refused('MHSLD does not have dynamic capacity to manage');
    const head = properties['mhd-head'];
    if (head >= HEADS) throw refused('MHD Head ID must be between 0-7');
    const pool = Pool.attach(this.#context.sharedObjects, {
      name: checkName(properties['mhd-state_file']),
      head,
      blocks: Number(media.dynamicSize / BLOCK_SIZE),
      init: properties['mhd-init'],
      adopt: properties['mhd-adopt'],
      hasStatic: media.staticSize > 0n,
      wait: this.#context.awaitsMigration(),
    });
    this.#pool = pool;
    this.#ownership = new PoolOwnership(pool, this.#context.log);
    return this.#ownership;
  }

  /** Takes over what the head owned before it was attached: nothing, unless it adopts. */
  settle(state: Type3State): void {
    const { head, isWaiting } = this.pool;
    const owned = this.ownership.owners().filter(({ heads }) => heads.includes(head));
    if (!isWaiting) state.manager?.capacity.adopt(owned);
    this.#state = state;
    this.#settled = true;
  }

  #attachedHead(): AttachedHead {
    if (this.#state === undefined) throw new Error('head that is not realized');
    return { pool: this.pool, state: this.#state };
  }

  /** Ends a migration that is under way: what was given comes back, unless it was taken. */
  endHandover(): void {
    if (this.#state === undefined) return;
    if (!this.handover.takeBack()) this.handover.letGo();
    this.handover.abandon();
  }

  detach(): void {
    if (this.#settled || !this.#properties['mhd-adopt']) this.#pool?.detach();
    else this.#pool?.leave();
    this.#settled = false;
    this.#state = undefined;
    this.#pool = undefined;
    this.#ownership = undefined;
  }
}

/**
 * Makes one head of a memory device that several hosts share.
 *
 * @see reference/cxl.md §9
 */
export const createHead = (context: DeviceContext, properties: MhsldProperties): Type3 => {
  const head = new Head(context, properties);
  const command = multiHeadedInfo(() => head.pool);
  const device = new Type3(context, properties, {
    sharesDynamic: true,
    ownership: (media) => head.attach(media),
    realized: (state) => head.settle(state),
    hostCommands: [command],
    fabricCommands: [command],
    handover: head.handover,
    endHandover: () => head.endHandover(),
    close: () => head.detach(),
  });
  device.pci.offers.set(POOL_HEAD, head);
  return device;
};

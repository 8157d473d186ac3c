import type { Limits } from '../limits.js';
import type { DeviceEntry } from '../machine/device-entry.js';
import { refused } from '../../schema/error.js';

/** Words for what is done to a device. */
export type Verb = 'saved' | 'loaded';

/** One device that is being saved or loaded. */
export interface Job {
  readonly entry: DeviceEntry;
  /** As the client calls it. */
  readonly name: string;
  /** @throws QmpError when the device has left or was reset, or the machine ends */
  checkDevice(): void;
}

/** The devices of a machine that are being saved or loaded: one job each, not too many at a time. */
export class Jobs {
  readonly #limit: number;
  readonly #busy = new Map<DeviceEntry, Verb>();
  readonly #running = new Set<Promise<unknown>>();
  #closed = false;

  constructor(limits: Limits) {
    this.#limit = limits['state-jobs'];
  }

  /**
   * Runs `work` while the device is held.
   *
   * @throws QmpError when there is work on the device already, or enough elsewhere
   */
  async run<T>(
    verb: Verb,
    { entry, name }: Pick<Job, 'entry' | 'name'>,
    work: (job: Job) => Promise<T>,
  ): Promise<T> {
    const other = this.#busy.get(entry);
    if (other !== undefined) throw refused(`device '${name}' is being ${other} already`);
    if (this.#busy.size >= this.#limit)
      throw refused(
        `${String(this.#busy.size)} devices are being saved or loaded already (limit 'state-jobs')`,
      );
    this.#busy.set(entry, verb);
    const release = entry.activity.hold();
    let reset = false;
    const unhook = entry.activity.onReset(() => (reset = true));
    const checkDevice = (): void => {
      if (!entry.realized) throw refused('it was unplugged meanwhile');
      if (reset) throw refused('it was reset meanwhile');
      if (this.#closed) throw refused('the machine ends');
    };
    const running = work({ entry, name, checkDevice });
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
      this.#busy.delete(entry);
      unhook();
      release();
    }
  }

  /** Ends all jobs, as failures, and waits for that. Safe to call twice. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#running);
  }
}

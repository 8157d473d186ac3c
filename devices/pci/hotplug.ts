import type { Clock } from '../core/clock.js';
import type { HotplugController } from './bus.js';

/** An unplug that the guest has not answered yet. */
export interface PendingUnplug {
  /** Virtual time, in milliseconds, from which on the request may be repeated. */
  readonly expiresMs: bigint;
}

/**
 * True when the guest may be asked again. As QEMU: a request whose time is the present
 * millisecond is over, except at time 0, when nothing has run yet.
 */
export const expired = ({ expiresMs }: PendingUnplug, clock: Clock): boolean => {
  const nowMs = clock.now() / 1_000_000n;
  return expiresMs <= nowMs && nowMs > 0n;
};

/** How a bridge lets devices come and go on its bus; offered by ports and bridges. */
export interface HotplugPort {
  /** False: the bus never takes a device while the machine runs, whoever serves it. */
  readonly hotplug: boolean;
  /** The bridge's own controller. */
  readonly controller: HotplugController | undefined;
  /** Another controller added a device: the slot gets power. */
  powerOn(): void;
}

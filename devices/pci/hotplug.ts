import { refused } from '../../schema/error.js';
import type { Clock } from '../core/clock.js';
import type { StateValue } from '../core/device.js';
import { fields, integer, list, unsigned } from '../core/saved-state.js';
import type { HotplugController, PciBus } from './bus.js';
import type { PciFunction } from './function.js';

const NS_PER_MS = 1_000_000n;

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
  const nowMs = clock.now() / NS_PER_MS;
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

/** Waiting requests as they are saved: by slot and function, with the time that is left. */
export const savePending = (
  pending: ReadonlyMap<PciFunction, PendingUnplug>,
  clock: Clock,
): StateValue[] => {
  const now = clock.now() / NS_PER_MS;
  return [...pending].map(([{ devfn }, { expiresMs }]) => ({
    devfn,
    left: expiresMs > now ? expiresMs - now : 0n,
  }));
};
const savedPending = list(fields({ devfn: integer(0xff), left: unsigned() }), 0x100);

/**
 * Saved requests of the functions of one bus.
 *
 * @throws QmpError when they do not fit
 */
export const loadPending = (
  state: StateValue | undefined,
  { bus, clock, place }: { readonly bus: PciBus; readonly clock: Clock; readonly place: string },
): Map<PciFunction, PendingUnplug> => {
  const now = clock.now() / NS_PER_MS;
  const pending = savedPending(state, place).map(({ devfn, left }) => {
    const fn = bus.function(devfn);
    if (fn === undefined)
      throw refused(`${place} has slot ${String(devfn >> 3)}.${String(devfn & 7)}, which is empty`);
    return [fn, { expiresMs: now + left }] as const;
  });
  return new Map(pending);
};

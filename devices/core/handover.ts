import type { DeviceState } from './device.js';

/**
 * How a device takes part in the migration of its machine to another one of the same host, when both
 * of them share something that only one may have, as blocks of a pool. Exactly one of the two has it
 * at every moment, whoever dies. The order:
 *
 * | source, stopped | destination |
 * | --- | --- |
 * | `offer()` goes along with `save()` | |
 * | | `expect(offer)`, then `load(state)`, which claims nothing; it answers that all is loaded |
 * | `give()`; it tells the destination to go on | |
 * | | `take()`: from here on it is the destination's; it runs and says so |
 * | `letGo()` | |
 *
 * A source that learns of a failure, at any time before it is told that the destination runs, calls
 * `takeBack()`; a destination calls `abandon()`. What both share decides between a `take()` and a
 * `takeBack()` that cross. A migration to a file has no handover: nothing is offered, and `load()`
 * claims what the state has.
 */
export interface Handover {
  /** Source: who has what; changes nothing. @throws QmpError when there is nothing to hand over */
  offer(): DeviceState;
  /**
   * Destination: announces that it waits for what is offered.
   *
   * @throws QmpError when it is not offered to this device; nothing is changed then
   */
  expect(offer: DeviceState): void;
  /**
   * Source: makes over what it has to the destination that waits for it. Its own lists stay as they
   * are until `letGo()`.
   *
   * @throws QmpError when no destination waits; nothing is changed then
   */
  give(): void;
  /** Destination: has what was given, for good. @throws QmpError when the source took it back */
  take(): void;
  /**
   * Source: has everything again as if nothing had been tried. Harmless when nothing was given.
   *
   * @returns false when the destination has taken it and lives: the migration has succeeded
   */
  takeBack(): boolean;
  /** Destination: expects nothing any more. Harmless when it expected nothing. */
  abandon(): void;
  /** Source: the destination runs; the device is left without what it gave. */
  letGo(): void;
}

/** Gives everything, or takes back what was given. @throws QmpError of the device that refused */
export const giveAll = (handovers: readonly Handover[]): void => {
  try {
    for (const handover of handovers) handover.give();
  } catch (error) {
    takeBackAll(handovers);
    throw error;
  }
};

/**
 * Takes everything; the first one decides, as it does for `takeBackAll`.
 *
 * @param handovers in the order of the source
 * @param failed told of others that could not take: their devices go on without
 * @throws QmpError when the source took it back; nothing is taken then
 */
export const takeAll = (
  handovers: readonly Handover[],
  failed: (error: unknown) => void = () => undefined,
): void => {
  const [first, ...others] = handovers;
  first?.take();
  for (const other of others)
    try {
      other.take();
    } catch (error) {
      failed(error);
    }
};

/**
 * Takes everything back, or, when the destination was faster, lets go of it.
 *
 * @param handovers in the order of the destination
 * @returns false when the destination has it: the migration has succeeded
 */
export const takeBackAll = (handovers: readonly Handover[]): boolean => {
  const [first, ...others] = handovers;
  if (first === undefined) return true;
  if (first.takeBack()) {
    for (const other of others) other.takeBack();
    return true;
  }
  for (const handover of handovers) handover.letGo();
  return false;
};

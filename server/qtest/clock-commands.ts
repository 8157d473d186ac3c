import type { VirtualClock } from '../machine/virtual-clock.js';
import type { Command } from './accesses.js';
import { BadRequest } from './words.js';

const LAST_TIME = 2n ** 63n - 1n;

/**
 * The commands that move the virtual clock; none when host time moves it.
 *
 * @see reference/pci-and-memory-devices.md §10.2
 */
export const clockCommands = (clock: VirtualClock): [string, Command][] => {
  if (clock.driver !== 'client') return [];
  const advance = (time: bigint): boolean => {
    const before = clock.now();
    if (time <= LAST_TIME) clock.advance(time);
    return clock.now() > before;
  };
  const next = (): bigint => {
    const { deadline } = clock;
    if (deadline === undefined)
      throw new BadRequest(
        'cannot advance clock to the next deadline because there is no pending deadline',
      );
    return deadline;
  };
  return [
    [
      'clock_step',
      (words) => {
        const time = words.has(1) ? clock.now() + words.signed(1, 'nanoseconds') : next();
        if (!advance(time)) throw new BadRequest('could not advance time');
        return `OK ${String(clock.now())}`;
      },
    ],
    [
      'clock_set',
      (words) => {
        const time = words.signed(1, 'time');
        advance(time);
        return `${clock.now() === time ? 'OK' : 'FAIL'} ${String(clock.now())}`;
      },
    ],
  ];
};

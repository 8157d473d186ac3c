import { Arrival } from '../../server/migration/arrival.js';
import type { Machine } from '../../server/machine/machine.js';

/**
 * Feeds a machine with a stream that nobody answers, in pieces, to its end.
 *
 * @returns why it was refused, with nothing left of it; undefined when the machine runs here
 */
export const arrive = async (machine: Machine, pieces: Iterable<Uint8Array>): Promise<unknown> => {
  let isHere = false;
  const arrival = new Arrival({
    machine,
    answer: () => undefined,
    onActive: () => undefined,
    onCommit: () => (isHere = true),
  });
  try {
    for (const piece of pieces) arrival.push(piece);
    arrival.end();
  } catch (error) {
    // As a destination: what follows COMMIT is not read.
    if (!isHere) {
      await arrival.abandon();
      return error;
    }
  }
  arrival.run();
  return undefined;
};

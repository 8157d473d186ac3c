import { prepareValidation } from '../schema/validate.js';
import type { RootLog } from './log.js';

/**
 * Loads what is loaded on use otherwise, so that starting is short. To be called when the daemon
 * has time: a process that has used up its descriptors can load nothing, and Node remembers that.
 *
 * @throws when something cannot be loaded
 */
export const loadAhead = async (log: RootLog): Promise<void> => {
  prepareValidation();
  log.prepare();
  await import('./migration/source.js');
  await import('./migration/reception.js');
  await import('./migration/ways.js');
  await import('./state-files/rehearsal.js');
  await import('./hmp/monitor.js');
  await import('./transport/tcp.js');
  await import('./transport/terminal.js');
};

import type * as absent from '../../schema/absent.js';
import { QmpError, refused } from '../../schema/error.js';
import type { Handlers } from '../../schema/lang.js';
import type { CommandContext } from './context.js';

const noJob = (): never => {
  throw refused('Job not found');
};
const noBalloon = (): never => {
  throw new QmpError('DeviceNotActive', 'No balloon device has been activated');
};

export const absentHandlers = {
  'query-jobs': () => [],
  'job-pause': noJob,
  'job-resume': noJob,
  'job-cancel': noJob,
  'job-complete': noJob,
  'job-dismiss': noJob,
  'job-finalize': noJob,
  'query-balloon': noBalloon,
  balloon: noBalloon,
  'query-vnc': () => ({ enabled: false }),
  'query-mice': () => [],
  'query-rx-filter': ({ name }) => {
    if (name !== undefined) throw refused(`invalid net client name: ${name}`);
    return [];
  },
  'query-tpm-models': () => [],
  'query-tpm-types': () => [],
} satisfies Handlers<typeof absent, CommandContext>;

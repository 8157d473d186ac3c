import t from 'tap';
import { needsNative } from '../../support/mdevice.js';
import { emptyHost, startHosts } from '../../support/pool-host.js';
import { runVectors } from '../../support/pool-vectors.js';

t.test('heads as processes of their own', needsNative, async (t) =>
  runVectors(t, await startHosts(8, () => emptyHost(t))),
);

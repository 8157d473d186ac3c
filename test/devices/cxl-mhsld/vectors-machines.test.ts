import t from 'tap';
import { needsNative } from '../../support/mdevice.js';
import { hostsOfOneDaemon } from '../../support/pool-host.js';
import { runVectors } from '../../support/pool-vectors.js';

t.test('heads as machines of one daemon', needsNative, async (t) =>
  runVectors(t, await hostsOfOneDaemon(t)),
);

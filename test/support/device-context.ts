import { Activity } from '../../devices/core/activity.js';
import type { DeviceContext } from '../../devices/core/device.js';
import { OwnMemories } from '../../devices/core/own-memory.js';
import { fakeLog } from './pci.js';

const none = (): never => {
  throw new Error('not used');
};

/** What a device is given by tests that need no machine; services that are not given fail on use. */
export const fakeContext = ({
  activity = new Activity(),
  ...given
}: Partial<DeviceContext> = {}): DeviceContext => ({
  id: 'iv1',
  path: '/machine/peripheral/iv1',
  typeName: 'ivshmem-plain',
  log: fakeLog(),
  clock: { now: () => 0n, at: none },
  activity,
  memories: new OwnMemories(activity),
  hostTimer: { after: none },
  hostMemory: {
    pageSize: 4096n,
    anonymous: none,
    open: none,
    create: none,
    createUnnamed: none,
    adopt: none,
  },
  chardevs: { claim: none },
  eventNotifiers: { check: none, adopt: none, discard: none },
  sharedObjects: { open: none, create: none },
  stateTarget: none,
  awaitsMigration: () => false,
  blockMigration: () => () => undefined,
  askGuest: none,
  wakeDriver: () => undefined,
  emit: none,
  ...given,
});

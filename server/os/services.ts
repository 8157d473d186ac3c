import { NativeEventNotifiers } from './event-notifiers.js';
import { NativeHostMemory } from './host-memory.js';
import type { NativeLoader } from './native.js';
import { NativeSharedObjects } from './shared-objects.js';

/** What devices use of the host; one of each serves every machine of a daemon. */
export const hostServices = (native: NativeLoader) => ({
  hostMemory: new NativeHostMemory(native),
  eventNotifiers: new NativeEventNotifiers(native.load),
  sharedObjects: new NativeSharedObjects(native),
});
export type HostServices = Readonly<ReturnType<typeof hostServices>>;
